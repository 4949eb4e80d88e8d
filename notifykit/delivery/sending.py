"""The call to the outside: the one thing that exists twice, for calls that block and for calls that are awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Any

from notifykit.clock import monotonic
from notifykit.delivery.calls import Call, CallInput
from notifykit.delivery.outcomes import Outcome, classify, is_awaitable, receipt_of
from notifykit.delivery.routing import Function
from notifykit.errors import PermanentDeliveryError
from notifykit.lifecycle import jobs
from notifykit.settings import LEASE
from notifykit.texts import error_text
from notifykit.unit_of_work.unit import Unit

RunInThread = Callable[..., Awaitable[Any]]

NOT_OURS = (GeneratorExit, asyncio.CancelledError)
"""What ends something else than this process where a function that blocks raises it: a failure as any other."""


def send(call: Call) -> Outcome:
    """Make a call, and wait for its end.

    Args:
        call: What to call with what.

    Returns:
        How it ended; whatever the function raises is an outcome, but for what stops the process (`KeyboardInterrupt`,
        `SystemExit`), which leaves the job to its lease.
    """
    started = call.gate.clock.now()
    ready = _started(call, started)
    if isinstance(ready, Outcome):
        return ready
    try:
        answer = call.sender.send(ready.argument)
        if is_awaitable(answer):
            _discard(answer)
            raise PermanentDeliveryError(f"{_name(call.sender.send)} is async: it needs an `AsyncEngine`")
        return _answered(call, ready, started, answer)
    except (Exception, *NOT_OURS) as error:
        return _failed(call, ready, started, error)


async def send_async(call: Call, run_in_thread: RunInThread) -> Outcome:
    """Make a call, and await its end.

    Args:
        call: What to call with what.
        run_in_thread: Runs a function that blocks beside the loop: `await run_in_thread(function, *arguments)`.

    Returns:
        As `send`; a cancelled task leaves the job to its lease.
    """
    started = call.gate.clock.now()
    ready = _started(call, started)
    if isinstance(ready, Outcome):
        return ready
    function = call.sender.send
    try:
        if call.sender.is_inline or is_async(function):
            answer, error = function(ready.argument), None
        else:
            answer, error = await run_in_thread(_caught, function, ready.argument)
        if error is not None:
            return _failed(call, ready, started, error)
        if is_awaitable(answer):
            answer = await answer
        return _answered(call, ready, started, answer)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _failed(call, ready, started, error)  # what the function awaited was cancelled, not this drain
    except Exception as error:
        return _failed(call, ready, started, error)


def _caught(function: Function, argument: Any) -> tuple[Any, BaseException | None]:
    """Call a function in a thread; what it raises comes back as a value."""
    try:
        return function(argument), None
    except (Exception, *NOT_OURS) as error:  # a future that were to hold a StopIteration would never end
        return None, error


def is_async(function: Function) -> bool:
    """Whether calling a function gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _started(call: Call, now: datetime) -> CallInput | Outcome:
    """What the call is made with, as it has started; its outcome where it has not."""
    call.since = monotonic()
    if not call.gate.is_open():
        return Outcome("not_started", now, now)
    try:
        ready = call.prepare()
    except Exception as error:
        return Outcome("render_failed", now, now, error=error_text(error))
    return ready if call.start() else Outcome("not_started", now, now)


def _answered(call: Call, ready: CallInput, started: datetime, answer: Any) -> Outcome:
    call.seconds = monotonic() - call.since
    result = None if call.parse is None else call.parse(answer)
    receipt = receipt_of(answer)
    return Outcome(
        "sent",
        started,
        call.gate.clock.now(),
        receipt=receipt,
        result=result,
        status_code=receipt.status_code,
        content=ready.content,
    )


def _failed(call: Call, ready: CallInput, started: datetime, error: BaseException) -> Outcome:
    call.seconds = monotonic() - call.since
    now = call.gate.clock.now()
    failure = classify(error, now)
    return Outcome(
        failure.kind,
        started,
        now,
        error=failure.error,
        retry_after=failure.retry_after,
        status_code=failure.status_code,
        content=ready.content,
    )


def _discard(answer: Any) -> None:
    if inspect.iscoroutine(answer):
        answer.close()


def _name(function: Function) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def renew_leases(calls: Collection[Call], unit: Unit) -> None:
    """Renew the leases of calls that take long, so that nobody else makes them beside."""
    jobs.renew(unit, [call.delivery.job for call in calls], unit.now + LEASE)
