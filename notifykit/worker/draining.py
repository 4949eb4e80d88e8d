"""Due work: what can advance is advanced, what is to be sent is sent, until nothing is due any more.

Written once, as a generator of commands; the workers carry them out, blocking or awaited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from notifykit.clock import monotonic
from notifykit.delivery.waiting import waiting_for
from notifykit.errors import InputError
from notifykit.lifecycle.jobs import WorkFilter, is_due, next_due
from notifykit.queries.references import ABSENT, event_row
from notifykit.queries.versions import newer
from notifykit.results import DrainReport, TriggerResult
from notifykit.unit_of_work.runtime import Runtime
from notifykit.unit_of_work.unit import Unit
from notifykit.worker.advancing import advance_runs
from notifykit.worker.claim_sizer import ClaimSizer
from notifykit.worker.commands import DrainOptions, RunInUnit
from notifykit.worker.delivering import deliver, send
from notifykit.worker.drain_state import DrainState, Steps, needs, within_budget
from notifykit.worker.recording import record_at_close, record_ended, stop


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left when nothing more can be done now."""

    waiting_for: Mapping[str, int]
    next_due: datetime | None


def drain(
    runtime: Runtime[Any], sizer: ClaimSizer, only: TriggerResult | None, options: DrainOptions
) -> Steps[DrainReport]:
    """Do everything that is due now.

    Args:
        runtime: The engine's.
        sizer: How many calls one claim takes.
        only: Do only the work of this trigger.
        options: How.

    Returns:
        What was done.

    Raises:
        InputError: `only` is no result of a trigger.
    """
    deadline = None if options.seconds is None else monotonic() + options.seconds
    event = None
    if only is not None:
        event = yield RunInUnit(partial(_event, _transaction_id(only)), write=False)
        if event == ABSENT:
            return DrainReport()
    return (yield from _drain(DrainState(runtime, sizer, WorkFilter(event), deadline, options.concurrency)))


def finish(runtime: Runtime[Any]) -> Steps[None]:
    """Record what drains before could not, at the end of an engine; what cannot be within the grace is logged.

    Args:
        runtime: The engine's.
    """
    state = DrainState(runtime, ClaimSizer(), WorkFilter(), deadline=monotonic())
    state.unrecorded, runtime.unrecorded = runtime.unrecorded, []
    try:
        yield from record_at_close(state)
    finally:
        runtime.unrecorded += state.unrecorded


def _drain(state: DrainState) -> Steps[DrainReport]:
    """Do what is due; whatever stops that, calls that have not started are given back."""
    runtime = state.runtime
    state.unrecorded, runtime.unrecorded = runtime.unrecorded, []
    try:
        return (yield from _work(state))
    except GeneratorExit:
        raise
    except BaseException:
        yield from stop(state)
        raise
    finally:
        runtime.unrecorded += [*state.unrecorded, *state.sending.ended]


def _work(state: DrainState) -> Steps[DrainReport]:
    """Advance, then send until that makes more to advance or nothing is left to send; all over again until done."""
    yield from record_ended(state)
    while True:
        before, remaining = state.done, None
        if state.has_time:
            remaining = yield from _work_once(state)
        if state.done > before and state.has_time:
            continue
        if state.under_way:
            yield from send(state, ())
            continue
        if state.unrecorded and state.deadline is None:
            yield from record_ended(state, wait=True)
            continue
        if remaining is None:
            look = _remaining if state.has_time else _next
            remaining = yield from within_budget(state, partial(look, state), write=False)
        return _report(state, remaining or Remaining(state.waiting_for, state.runtime.clock.now()))


def _work_once(state: DrainState) -> Steps[Remaining | None]:
    """Do what is due just now; what is left where nothing is."""
    look = yield from within_budget(state, partial(_look, state), write=False)
    advances, calls, remaining = look or (False, False, None)
    if advances:
        yield from advance_runs(state)
    if advances or calls or state.under_way:
        yield from deliver(state)
    return remaining


def _look(state: DrainState, unit: Unit) -> tuple[bool, bool, Remaining | None]:
    """Whether runs are due to go on, and calls to be made; where none are, what is left."""
    advances, calls = is_due(unit, needs=needs(unit), only=state.only, without=newer(unit))
    is_idle = not (advances or calls or state.under_way or state.unrecorded)
    return advances, calls, _remaining(state, unit) if is_idle else None


def _remaining(state: DrainState, unit: Unit) -> Remaining:
    return Remaining(waiting_for(unit, state.router, state.only.event), _next_due(unit))


def _next(state: DrainState, unit: Unit) -> Remaining:
    """What is left after the budget is spent: nobody counts what may be millions of jobs."""
    return Remaining(state.waiting_for, _next_due(unit))


def _next_due(unit: Unit) -> datetime | None:
    return next_due(unit, needs(unit), newer(unit))


def _report(state: DrainState, remaining: Remaining) -> DrainReport:
    counts = state.counts
    return DrainReport(state.advanced, counts.sent, counts.failed, dict(remaining.waiting_for), remaining.next_due)


def _transaction_id(only: Any) -> str:
    if not isinstance(only, TriggerResult):
        raise InputError(f"only: the result of a trigger is expected, not {type(only).__name__}", field="only")
    return only.transaction_id


def _event(transaction_id: str, unit: Unit) -> int:
    return event_row(unit, transaction_id) if transaction_id else ABSENT
