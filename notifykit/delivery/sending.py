"""The call to the outside: the one thing that exists twice, for calls that block and for calls that are awaited."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from notifykit.clock import Clock, monotonic
from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.outcomes import Outcome, classify, is_awaitable, receipt_of
from notifykit.errors import PermanentDeliveryError
from notifykit.lifecycle import jobs as claiming
from notifykit.model.codes import Channel
from notifykit.providers import Integration
from notifykit.settings import BEGINS_WITHIN, LEASE
from notifykit.texts import error_text
from notifykit.unit_of_work.stops import Stops
from notifykit.unit_of_work.unit import Unit

Function = Callable[[Any], Any]
InThread = Callable[..., Awaitable[Any]]

HOOK = "hook"
CAPTURED = "outbox"
"""Who sent it, where no integration did: `Message.provider`."""


@dataclass(slots=True)
class Sender:
    """Who serves a channel.

    Attributes:
        name: Under which its attempts are recorded.
        send: What is called with the message.
        quick: It neither blocks nor waits, so it is called where we are.
    """

    name: str
    send: Function
    quick: bool = False


@dataclass(slots=True)
class Senders:
    """Who serves which channel in this process: the sandbox's outbox, else a hook, else the first integration.

    Attributes:
        hooks: Functions of the host by channel.
        integrations: Configured providers, in the order given.
        outbox: What the sandbox captures messages with.
    """

    hooks: Mapping[Channel, Function]
    integrations: Iterable[Integration] = ()
    outbox: Function | None = None

    def of(self, channel: Channel) -> Sender | None:
        """Who serves a channel, or None."""
        if self.outbox is not None:
            return Sender(CAPTURED, self.outbox, quick=True)
        if channel in self.hooks:
            return Sender(HOOK, self.hooks[channel])
        serving = (each for each in self.integrations if channel in each.channels)
        return next((Sender(each.name, each.send) for each in serving), None)


@dataclass(slots=True)
class Rendered:
    """What a function is called with, and what was rendered for it."""

    argument: Any
    content: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Window:
    """The time in which the calls of one claim may begin; those that have not by then are given back.

    Attributes:
        clock: The engine's clock.
        lease_until: From then on the jobs may be somebody else's.
        stops: Whom this process stops.
        since: The last number of `stops` that the claim has seen.
        deadline: From then on (`clock.monotonic`) the budget of the drain is spent; the first call begins in any case.
        closes: From then on (`clock.monotonic`) what was looked at when it was claimed is too old.
        is_used: A call has begun in it.
        lock: Held while it is decided whether a call begins.
    """

    clock: Clock
    lease_until: datetime
    stops: Stops = field(default_factory=Stops)
    since: int = 0
    deadline: float | None = None
    closes: float | None = None
    is_used: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """The claim is committed."""
        self.closes = monotonic() + BEGINS_WITHIN

    @property
    def is_late(self) -> bool:
        """Whether what was looked at when it was claimed is too old."""
        return self.closes is not None and monotonic() >= self.closes

    def is_open(self) -> bool:
        """Whether one more call may begin."""
        is_spent = self.is_used and self.deadline is not None and monotonic() >= self.deadline
        return not self.is_late and not is_spent and self.clock.now() < self.lease_until


@dataclass(slots=True, eq=False)
class Call:
    """One call to make.

    Attributes:
        delivery: The job that it is made for.
        sender: Whom to call.
        prepare: Makes what it is called with; renders.
        window: When it may begin.
        check: Makes a custom step's result of what was answered; raises `PermanentDeliveryError` where it is none.
        since: When it was its turn, by `clock.monotonic`.
        has_begun: It was made, or is under way.
        is_revoked: It may not begin any more.
        seconds: How long it took, with what is rendered for it.
    """

    delivery: ClaimedDelivery
    sender: Sender
    prepare: Callable[[], Rendered]
    window: Window
    check: Callable[[Any], Mapping[str, Any] | None] | None = None
    since: float = 0.0
    has_begun: bool = False
    is_revoked: bool = False
    seconds: float = 0.0

    def unsent(self) -> Outcome:
        """The outcome of a call that was not made."""
        now = self.window.clock.now()
        return Outcome("unsent", now, now)

    def begin(self) -> bool:
        """Begin, unless somebody in this process has stopped it since the claim; whether it does."""
        window, facts = self.window, self.delivery.facts
        with window.lock:
            spared = window.stops.spares(facts.run, facts.subscriber_row, window.since)
            self.has_begun = spared and not self.is_revoked
            window.is_used = window.is_used or self.has_begun
        return self.has_begun

    def revoke(self) -> bool:
        """Let it not begin any more; whether it had not."""
        with self.window.lock:
            self.is_revoked = not self.has_begun
        return self.is_revoked


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
    started = call.window.clock.now()
    ready = _ready(call, started)
    if isinstance(ready, Outcome):
        return ready
    try:
        answer = call.sender.send(ready.argument)
        if is_awaitable(answer):
            _discard(answer)
            raise PermanentDeliveryError(f"{_name(call.sender.send)} is async: it needs an `AsyncEngine`")
        return _answered(call, ready, started, answer)
    except (Exception, *NOT_OURS) as error:
        return _raised(call, ready, started, error)


async def send_async(call: Call, in_thread: InThread) -> Outcome:
    """Make a call, and await its end.

    Args:
        call: What to call with what.
        in_thread: Runs a function that blocks in the engine's worker thread: `await in_thread(function, *arguments)`.

    Returns:
        As `make`; a cancelled task leaves the job to its lease.
    """
    started = call.window.clock.now()
    ready = _ready(call, started)
    if isinstance(ready, Outcome):
        return ready
    send = call.sender.send
    try:
        inline = call.sender.quick or is_async(send)
        answer, error = (send(ready.argument), None) if inline else await in_thread(_tried, send, ready.argument)
        if error is not None:
            return _raised(call, ready, started, error)
        if is_awaitable(answer):
            answer = await answer
        return _answered(call, ready, started, answer)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _raised(call, ready, started, error)  # what the function awaited was cancelled, not this drain
    except Exception as error:
        return _raised(call, ready, started, error)


def _tried(send: Function, argument: Any) -> tuple[Any, BaseException | None]:
    """Call a function in a thread; what it raises comes back as a value."""
    try:
        return send(argument), None
    except (Exception, *NOT_OURS) as error:  # a future that were to hold a StopIteration would never end
        return None, error


def is_async(function: Function) -> bool:
    """Whether calling a function gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _ready(call: Call, now: datetime) -> Rendered | Outcome:
    """What the call is made with; from here on it has begun."""
    call.since = monotonic()
    if not call.window.is_open():
        return Outcome("unsent", now, now)
    try:
        ready = call.prepare()
    except Exception as error:
        return Outcome("unrendered", now, now, error=error_text(error))
    return ready if call.begin() else Outcome("unsent", now, now)


def renew(calls: Collection[Call], unit: Unit) -> None:
    """Renew the leases of calls that take long, so that nobody else makes them beside."""
    until = unit.now + LEASE
    claiming.renew(unit, [call.delivery.job for call in calls], until)


def overdue(call: Call, seconds: float) -> Outcome:
    """The outcome of a call whose end nobody waits for any more."""
    now = call.window.clock.now()
    call.seconds = seconds
    return Outcome("overdue", now - timedelta(seconds=seconds), now, error=f"no answer within {seconds:g} seconds")


def _answered(call: Call, ready: Rendered, started: datetime, answer: Any) -> Outcome:
    call.seconds = monotonic() - call.since
    result = None if call.check is None else call.check(answer)
    receipt = receipt_of(answer)
    return Outcome("sent", started, call.window.clock.now(), receipt=receipt, result=result, content=ready.content)


def _raised(call: Call, ready: Rendered, started: datetime, error: BaseException) -> Outcome:
    call.seconds = monotonic() - call.since
    now = call.window.clock.now()
    ending, text, after = classify(error, now)
    return Outcome(ending, started, now, error=text, retry_after=after, content=ready.content)


def _discard(answer: Any) -> None:
    if inspect.iscoroutine(answer):
        answer.close()


def _name(function: Function) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
