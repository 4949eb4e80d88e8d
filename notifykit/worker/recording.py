"""The part of a drain that records how calls ended, also where it is stopped."""

from __future__ import annotations

import logging
from functools import partial

from notifykit.clock import monotonic
from notifykit.delivery.decisions import after_call
from notifykit.delivery.record import Counts, DeliveryResult, record
from notifykit.errors import StorageError
from notifykit.lifecycle.jobs import ClaimedJob, give_back, note_begun
from notifykit.settings import RECORD_GRACE
from notifykit.store.error_mapping import is_crowded
from notifykit.texts import error_text, log
from notifykit.unit_of_work.unit import Unit
from notifykit.worker.commands import EndedCalls, RunInUnit, SendCalls
from notifykit.worker.drain_state import DrainState, Steps, check, logger

NOT_STORED = "what was answered to %s cannot be stored; only how it ended is kept"
FORGOTTEN = "%s has ended as %s, which could not be recorded before its engine closed; it may be sent again"


def record_ended(state: DrainState, wait: bool = False) -> Steps[None]:
    """Record how calls ended; one by one where that fails, so that what cannot be kept costs one job only.

    Args:
        state: The drain.
        wait: Wait for runs that others have locked; else what became of theirs is recorded later.
    """
    if not state.unrecorded:
        return
    try:
        yield from _record(state, state.unrecorded, wait)
        return
    except Exception as error:
        if _stops_everything(state, error):
            return
        if not _is_crowded(error):
            check(error)
    yield from _record_each(state, wait)


def _record_each(state: DrainState, wait: bool) -> Steps[None]:
    crowded = None
    for call, outcome in list(state.unrecorded):
        try:
            yield from _record(state, [(call, outcome)], wait)
        except Exception as error:
            if _is_crowded(error):
                crowded = error  # it is kept, and so are the others that are still to come
                continue
            check(error)
            log(logger, logging.ERROR, NOT_STORED, call.delivery.key, error=error)
            yield from _record(state, [(call, outcome.without_answer(error_text(error)))], wait)
    if crowded is not None and state.deadline is None:
        raise crowded


def record_at_close(state: DrainState) -> Steps[None]:
    """Record how calls ended before an engine closes; what cannot be within the grace is logged.

    Args:
        state: A drain of which nothing else is wanted.
    """
    end = monotonic() + RECORD_GRACE
    try:
        yield from record_ended(state)
        while state.unrecorded and monotonic() < end:
            yield from record_ended(state)  # it does not wait on servers: a run may be locked by who closes
    except Exception as error:  # an engine can be closed whatever has become of its database
        log(logger, logging.ERROR, "how calls ended could not be recorded", error=error)
    for call, outcome in state.unrecorded:
        logger.error(FORGOTTEN, call.delivery.key, outcome.kind)


def stop(state: DrainState) -> Steps[None]:
    """Stop a drain: calls that have not started go back, what is known of the others is recorded or kept."""
    state.keep_ended()
    for call in state.under_way:
        call.revoke()
    try:
        if state.under_way:
            state.sending = SendCalls(stops=True)
            yield state.sending
            state.keep_ended()
        if state.unrecorded or state.under_way or state.open_claim:
            release = partial(_release, state)
            state.unrecorded = yield RunInUnit(release, deadline=state.record_until, is_last=True)
    except Exception as error:  # what stopped the drain is what its caller is to hear of
        log(logger, logging.ERROR, "how calls ended could not be recorded yet", error=error)


def _release(state: DrainState, unit: Unit) -> EndedCalls:
    """Give back what has not started, and record what is known; what others have locked is still to be recorded."""
    back = [(call, call.not_started()) for call in state.under_way if not call.has_started]
    note_begun(unit, [call.delivery.job for call in state.under_way if call.has_started])
    if state.open_claim:
        give_back(unit, state.open_claim)
    _, waiting = _write([*state.unrecorded, *back], False, unit)
    return [each for each in state.unrecorded if each[0].delivery.job in waiting]


def _record(state: DrainState, ended: EndedCalls, wait: bool) -> Steps[None]:
    counts, left = yield RunInUnit(partial(_write, ended, wait), deadline=state.record_until, is_last=True)
    state.counts += counts
    done = {call.delivery.job for call, _ in ended} - left
    state.unrecorded = [each for each in state.unrecorded if each[0].delivery.job not in done]


def _write(ended: EndedCalls, wait: bool, unit: Unit) -> tuple[Counts, set[ClaimedJob]]:
    results = [
        DeliveryResult(call.delivery, decision, outcome, call.sender.name)
        for call, outcome in ended
        if (decision := after_call(call.delivery, outcome, unit.now)) is not None
    ]
    note_begun(unit, [call.delivery.job for call, outcome in ended if outcome.kind == "abandoned"])
    return record(unit, results, wait=wait)


def _stops_everything(state: DrainState, error: Exception) -> bool:
    """Whether one writer keeps everything from being recorded; the next drain does it, where this has a budget."""
    is_one_writer = not state.runtime.database.dialect.locking
    return _is_crowded(error) and is_one_writer and state.deadline is not None


def _is_crowded(error: Exception) -> bool:
    """Whether others were in the way, so that what was to be recorded is kept."""
    return isinstance(error, StorageError) and is_crowded(error)
