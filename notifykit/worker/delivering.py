"""The part of a drain that claims calls and makes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from notifykit.delivery.calls import Call
from notifykit.delivery.claim import ClaimRequest, ClaimResult, claim
from notifykit.delivery.defer import defer
from notifykit.delivery.record import Counts
from notifykit.delivery.retry import retry_at
from notifykit.lifecycle.jobs import ClaimedJob, WorkFilter, due_calls
from notifykit.queries.versions import newer
from notifykit.settings import FRUITLESS_CLAIMS, LOST_FIRST_EVERY
from notifykit.texts import error_text, log
from notifykit.unit_of_work.unit import Unit
from notifykit.worker.commands import RunInUnit, SendCalls
from notifykit.worker.drain_state import DrainState, Steps, check, logger, needs, within_budget
from notifykit.worker.recording import record_ended


def deliver(state: DrainState) -> Steps[None]:
    """Claim and call until nothing is left to call, or runs can go on because of it."""
    resumed, fruitless = state.counts.resumed, 0
    while resumed == state.counts.resumed and state.has_time and fruitless < FRUITLESS_CLAIMS:
        before, calls = state.done, list[Call]()
        if len(state.under_way) < state.concurrency:  # beside calls that take all threads more could only wait
            room = state.sizer.limit(state.concurrency - len(state.under_way), state.runtime.chunk)
            calls = (yield from _claim(state, room)).calls
        if state.under_way:
            yield from send(state, calls)
        elif state.done == before:
            return
        fruitless = 0 if state.done > before else fruitless + 1


def send(state: DrainState, calls: Sequence[Call]) -> Steps[None]:
    """Make calls, and record those that have ended.

    Args:
        state: The drain.
        calls: The calls to start, beside those that are under way.
    """
    state.sending = command = SendCalls(calls, [call for call, _ in state.unrecorded])
    yield command
    state.keep_ended()
    yield from record_ended(state)
    made = [call.seconds for call, outcome in command.ended if outcome.kind != "not_started"]
    state.sizer.record(len(made), sum(made))
    state.done += len(made)


def _claim(state: DrainState, limit: int) -> Steps[ClaimResult]:
    """Claim jobs; one by one where that fails, so that none holds up the others."""
    request = _request(state, limit)
    try:
        claimed = (yield from within_budget(state, partial(claim, request=request))) or ClaimResult()
    except Exception as error:
        check(error)
        claimed = yield from _claim_each(state, limit)
    state.counts += claimed.counts
    state.waiting_for += claimed.waiting_for
    # What waits for a provider is due again in a minute; a drain that takes longer must end all the same.
    state.done += claimed.without_call - len(claimed.deferred & state.deferred)
    state.deferred |= claimed.deferred
    state.under_way.update(claimed.calls)
    state.open_claim = ""
    return claimed


def _claim_each(state: DrainState, limit: int) -> Steps[ClaimResult]:
    whole = ClaimResult()
    for lost in (False, True):
        jobs: list[ClaimedJob] = yield RunInUnit(partial(_due, state.only, limit, lost))
        for job in jobs:
            request = replace(_request(state, 1), only=WorkFilter(job=job.id))
            try:
                claimed: ClaimResult = yield RunInUnit(partial(claim, request=request))
                whole.add(claimed)
                state.under_way.update(claimed.calls)
            except Exception as error:
                check(error)
                log(logger, logging.ERROR, "a job cannot be claimed; it is tried again later", error=error)
                ended: Counts | None = yield RunInUnit(partial(_defer, job, error_text(error)))
                state.counts += ended or Counts()
                state.done += ended is not None
    return whole


def _request(state: DrainState, limit: int) -> ClaimRequest:
    state.open_claim = state.runtime.next_claim()
    state.claims += 1
    return ClaimRequest(
        state.open_claim,
        state.router,
        limit,
        at_once=max(state.concurrency - len(state.under_way), 1),
        since=state.runtime.stops.last,
        deadline=state.deadline,
        only=state.only,
        lost_first=state.claims % LOST_FIRST_EVERY == 0,
    )


def _due(only: WorkFilter, limit: int, lost: bool, unit: Unit) -> list[ClaimedJob]:
    return due_calls(unit, needs=needs(unit), limit=limit, only=only, without=newer(unit), lost=lost)


def _defer(job: ClaimedJob, problem: str, unit: Unit) -> Counts | None:
    return defer(unit, job, retry_at(unit.now, job.id, job.attempt), problem)
