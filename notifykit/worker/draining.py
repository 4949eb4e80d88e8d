"""Due work: what can advance is advanced, what is to be sent is sent, until nothing is due any more.

Written once, as a generator that says what is to be done next; the notifiers do it, blocking or awaited.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from notifykit.clock import monotonic
from notifykit.delivery import claim as claims
from notifykit.delivery.claim import Batch, Claimant, claim
from notifykit.delivery.decisions import after_call
from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.record import Counts, DeliveryResult, record
from notifykit.delivery.retry import back_off
from notifykit.delivery.sending import Call, Senders
from notifykit.delivery.waiting import waiting_for
from notifykit.errors import InputError, StorageError
from notifykit.flow import due
from notifykit.flow.due import Advanced, advance_due
from notifykit.lifecycle.jobs import (
    ClaimedJob,
    DueAdvance,
    WorkFilter,
    due_advances,
    due_calls,
    give_back,
    is_due,
    next_due,
    note_begun,
)
from notifykit.queries.references import ABSENT, event_row
from notifykit.queries.versions import newer
from notifykit.results import DrainReport, TriggerResult
from notifykit.settings import ATTEMPTS
from notifykit.store.error_mapping import is_crowded, is_of_the_work
from notifykit.texts import error_text, log
from notifykit.unit_of_work.runtime import Runtime
from notifykit.unit_of_work.unit import Unit
from notifykit.worker.pace import Pace
from notifykit.worker.work import Options, Send, Work

T = TypeVar("T")

logger = logging.getLogger("notifykit.worker")

Ended = Sequence[tuple[Call, Outcome]]

LOST_FIRST = 16
"""One claim in so many looks first at jobs whose worker was lost."""
GRACE = 1.0
"""Seconds for which a drain whose budget is spent waits to record what was sent; then the next drain does."""
NOT_STORED = "what was answered to %s cannot be stored; only how it ended is kept"
FORGOTTEN = "%s has ended as %s, which could not be recorded before its engine closed; it may be sent again"
FRUITLESS = 100
"""Claims in a row whose calls were all given back, after which a drain leaves it at that."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left when nothing more can be done now."""

    waiting_for: Mapping[str, int]
    next_due: datetime | None


def drain(
    runtime: Runtime[Any], pace: Pace, only: TriggerResult | None, options: Options
) -> Generator[Work[Any] | Send, Any, DrainReport]:
    """Do everything that is due now.

    Args:
        runtime: The engine's.
        pace: How quick its calls to the outside are.
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
        event = yield Work(partial(_event, _transaction_id(only)), write=False)
        if event == ABSENT:
            return DrainReport()
    return (yield from _Drain(runtime, pace, WorkFilter(event), deadline, options.concurrency).work())


def finish(runtime: Runtime[Any]) -> Generator[Work[Any] | Send, Any, None]:
    """Record what drains before could not, at the end of an engine; what cannot be within the grace is logged.

    Args:
        runtime: The engine's.
    """
    yield from _Drain(runtime, Pace(), WorkFilter(), monotonic(), 1).finish()


class _Drain:
    """One drain under way."""

    def __init__(
        self, runtime: Runtime[Any], pace: Pace, only: WorkFilter, deadline: float | None, concurrency: int
    ) -> None:
        self.runtime = runtime
        self.pace = pace
        self.senders = Senders(runtime.hooks, runtime.integrations, runtime.outbox)
        self.only = only
        self.deadline = deadline
        self.concurrency = concurrency
        self.advanced = 0
        self.counts = Counts()
        self.done = 0
        self.put_off: set[int] = set()
        self.waiting: Counter[str] = Counter()
        self.claims = 0
        self.claiming = ""
        self.under_way: set[Call] = set()
        self.sent = Send()
        self.unrecorded: Ended = ()

    def work(self) -> Generator[Work[Any] | Send, Any, DrainReport]:
        """Do what is due; whatever stops that, calls that have not begun are given back."""
        self.unrecorded, self.runtime.unrecorded = self.runtime.unrecorded, []
        try:
            return (yield from self._work())
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._stop()
            raise
        finally:
            self.runtime.unrecorded += [*self.unrecorded, *self.sent.ended]

    def finish(self) -> Generator[Work[Any] | Send, Any, None]:
        """Record how calls ended, and make none."""
        self.unrecorded, self.runtime.unrecorded = self.runtime.unrecorded, []
        end = monotonic() + GRACE
        try:
            yield from self._record()
            while self.unrecorded and monotonic() < end:
                yield from self._record()  # it does not wait on servers: a run may be locked by who closes
        except Exception as error:  # an engine can be closed whatever has become of its database
            log(logger, logging.ERROR, "how calls ended could not be recorded", error=error)
        finally:
            self.runtime.unrecorded += self.unrecorded
        for call, outcome in self.unrecorded:
            logger.error(FORGOTTEN, call.delivery.key, outcome.ending)

    def _work(self) -> Generator[Work[Any] | Send, Any, DrainReport]:
        """Advance, then send until that makes more to advance or nothing is left to send; all over again until done."""
        yield from self._record()
        while True:
            before, rest = self.done, None
            if self._goes_on():
                look = yield from self._bounded(self._look, write=False)
                advances, calls, rest = look or (False, False, None)
                if advances:
                    yield from self._advance()
                if advances or calls or self.under_way:
                    yield from self._deliver()
            if self.done > before and self._goes_on():
                continue
            if self.under_way:
                yield from self._send(())
                continue
            if self.unrecorded and self.deadline is None:
                yield from self._record(wait=True)
                continue
            if rest is None:
                wanted = self._rest if self._goes_on() else self._left
                rest = yield from self._bounded(wanted, write=False)
            return self._report(rest or Rest(self.waiting, self.runtime.clock.now()))

    def _bounded(self, call: Callable[[Unit], T], *, write: bool = True) -> Generator[Work[Any], Any, T | None]:
        """Work that waits for others no longer than the budget lasts; None where they were in the way until then."""
        try:
            done: T = yield Work(call, write, self.deadline)
        except StorageError as error:
            if self.deadline is None or not is_crowded(error):
                raise
            logger.info("a drain ends with its budget: %s", error)
            return None
        return done

    # -- runs that go on

    def _advance(self) -> Generator[Work[Any], Any, None]:
        """Move a chunk of runs on; one by one where that fails, so that none holds up the others."""
        try:
            self._moved((yield from self._bounded(partial(self._advance_due, self.only))))
            return
        except Exception as error:
            self._check(error)
        jobs: list[DueAdvance] = yield Work(self._due_advances, write=True)
        for job in jobs:
            if not self._goes_on():
                return
            try:
                self._moved((yield Work(partial(self._advance_due, WorkFilter(job=job.id)))))
            except Exception as error:
                self._check(error)
                log(logger, logging.ERROR, "a run cannot go on; it is tried again later", error=error)
                self.done += yield Work(partial(self._defer_run, job, error_text(error)))

    def _moved(self, advanced: Advanced | None) -> None:
        if advanced is not None:
            self.advanced += advanced.runs
            self.done += advanced.jobs

    def _advance_due(self, only: WorkFilter, unit: Unit) -> Advanced:
        return advance_due(unit, limit=unit.chunk, only=only)

    def _due_advances(self, unit: Unit) -> list[DueAdvance]:
        return due_advances(unit, needs=_needs(unit), limit=unit.chunk, only=self.only, without=newer(unit))

    def _defer_run(self, job: DueAdvance, problem: str, unit: Unit) -> bool:
        return due.defer(unit, job, _again(unit, job.id, job.attempt + 1), problem)

    # -- calls

    def _deliver(self) -> Generator[Work[Any] | Send, Any, None]:
        """Claim and call until nothing is left to call, or runs can go on because of it."""
        resumed, fruitless = self.counts.resumed, 0
        while resumed == self.counts.resumed and self._goes_on() and fruitless < FRUITLESS:
            before, calls = self.done, list[Call]()
            if len(self.under_way) < self.concurrency:  # beside calls that take all threads more could only wait
                room = self.pace.limit(self.concurrency - len(self.under_way), self.runtime.chunk)
                calls = (yield from self._claim(room)).calls
            if self.under_way:
                yield from self._send(calls)
            elif self.done == before:
                return
            fruitless = 0 if self.done > before else fruitless + 1

    def _claim(self, limit: int) -> Generator[Work[Any], Any, Batch]:
        """Claim jobs; one by one where that fails, so that none holds up the others."""
        by = self._claimant(limit)
        try:
            batch = (yield from self._bounded(partial(claim, by=by))) or Batch()
        except Exception as error:
            self._check(error)
            batch = yield from self._claim_each(limit)
        self.counts += batch.counts
        self.waiting += batch.waiting
        # What waits for a provider is due again in a minute; a drain that takes longer must end all the same.
        self.done += batch.settled - len(batch.deferred & self.put_off)
        self.put_off |= batch.deferred
        self.under_way.update(batch.calls)
        self.claiming = ""
        return batch

    def _claim_each(self, limit: int) -> Generator[Work[Any], Any, Batch]:
        whole = Batch()
        for lost in (False, True):
            jobs: list[ClaimedJob] = yield Work(partial(self._due_calls, limit, lost))
            for job in jobs:
                by = replace(self._claimant(1), only=WorkFilter(job=job.id))
                try:
                    batch: Batch = yield Work(partial(claim, by=by))
                    whole.add(batch)
                    self.under_way.update(batch.calls)
                except Exception as error:
                    self._check(error)
                    log(logger, logging.ERROR, "a job cannot be claimed; it is tried again later", error=error)
                    ended = yield Work(partial(self._defer_job, job, error_text(error)))
                    self.counts += ended or Counts()
                    self.done += ended is not None
        return whole

    def _claimant(self, limit: int) -> Claimant:
        at_once = max(self.concurrency - len(self.under_way), 1)
        self.claiming = self.runtime.next_claim()
        self.claims += 1
        return Claimant(
            self.claiming,
            self.senders,
            limit,
            at_once,
            self.runtime.stops.last,
            self.deadline,
            self.only,
            lost_first=self.claims % LOST_FIRST == 0,
        )

    def _due_calls(self, limit: int, lost: bool, unit: Unit) -> list[ClaimedJob]:
        return due_calls(unit, needs=_needs(unit), limit=limit, only=self.only, without=newer(unit), lost=lost)

    def _defer_job(self, job: ClaimedJob, problem: str, unit: Unit) -> Counts | None:
        return claims.defer(unit, job, _again(unit, job.id, job.attempt), problem)

    def _send(self, calls: Sequence[Call]) -> Generator[Work[Any] | Send, Any, None]:
        """Make calls, and record those that have ended."""
        self.sent = send = Send(calls, [call for call, _ in self.unrecorded])
        yield send
        self._heard()
        yield from self._record()
        made = [call.seconds for call, outcome in send.ended if outcome.ending != "unsent"]
        self.pace.note(len(made), sum(made))
        self.done += len(made)

    def _record(self, wait: bool = False) -> Generator[Work[Any], Any, None]:
        """Record how calls ended; one by one where that fails, so that what cannot be kept costs one job only.

        Args:
            wait: Wait for runs that others have locked; else what became of theirs is recorded later.
        """
        if not self.unrecorded:
            return
        try:
            yield from self._recorded(self.unrecorded, wait)
            return
        except Exception as error:
            if self._is_in_the_way(error):
                return
            if not _is_crowded(error):
                self._check(error)
        in_the_way = None
        for call, outcome in list(self.unrecorded):
            try:
                yield from self._recorded([(call, outcome)], wait)
            except Exception as error:
                if _is_crowded(error):
                    in_the_way = error  # it is kept, and so are the others that are still to come
                    continue
                self._check(error)
                log(logger, logging.ERROR, NOT_STORED, call.delivery.key, error=error)
                yield from self._recorded([(call, outcome.bare(error_text(error)))], wait)
        if in_the_way is not None and self.deadline is None:
            raise in_the_way

    def _is_in_the_way(self, error: Exception) -> bool:
        """Whether one writer keeps everything from being recorded; the next drain does it, where this has a budget."""
        whole = _is_crowded(error) and not self.runtime.database.dialect.locking
        return whole and self.deadline is not None

    def _recorded(self, ended: Ended, wait: bool) -> Generator[Work[Any], Any, None]:
        counts, left = yield Work(partial(_record, ended, wait), deadline=self._last_moment, is_last=True)
        self.counts += counts
        done = {call.delivery.job for call, _ in ended} - left
        self.unrecorded = [each for each in self.unrecorded if each[0].delivery.job not in done]

    @property
    def _last_moment(self) -> float | None:
        """Until when others are waited for to record what was sent."""
        return None if self.deadline is None else max(self.deadline, monotonic() + GRACE)

    def _heard(self) -> None:
        """Keep how calls ended until it is recorded."""
        ended, self.sent = self.sent.ended, Send()
        self.unrecorded = [*self.unrecorded, *ended]
        self.under_way.difference_update(call for call, _ in ended)

    def _stop(self) -> Generator[Work[Any] | Send, Any, None]:
        """Stop: calls that have not begun go back, what is known of the others is recorded or kept."""
        self._heard()
        for call in self.under_way:
            call.revoke()
        try:
            if self.under_way:
                self.sent = Send(stops=True)
                yield self.sent
                self._heard()
            if self.unrecorded or self.under_way or self.claiming:
                self.unrecorded = yield Work(self._let_go, deadline=self._last_moment, is_last=True)
        except Exception as error:  # what stopped the drain is what its caller is to hear of
            log(logger, logging.ERROR, "how calls ended could not be recorded yet", error=error)

    def _let_go(self, unit: Unit) -> Ended:
        back = [(call, call.unsent()) for call in self.under_way if not call.has_begun]
        note_begun(unit, [call.delivery.job for call in self.under_way if call.has_begun])
        if self.claiming:
            give_back(unit, self.claiming)
        _, waiting = _record([*self.unrecorded, *back], False, unit)
        return [each for each in self.unrecorded if each[0].delivery.job in waiting]

    # -- the end

    def _check(self, error: Exception) -> None:
        """Let an error pass that does not lie in the work: other work would fail as well."""
        if not is_of_the_work(error):
            raise error

    def _look(self, unit: Unit) -> tuple[bool, bool, Rest | None]:
        """Whether runs are due to go on, and calls to be made; where none are, what is left."""
        due = is_due(unit, needs=_needs(unit), only=self.only, without=newer(unit))
        return (*due, None if any(due) or self.under_way or self.unrecorded else self._rest(unit))

    def _rest(self, unit: Unit) -> Rest:
        return Rest(waiting_for(unit, self.senders, self.only.event), _next_due(unit))

    def _left(self, unit: Unit) -> Rest:
        """The rest after the budget is spent: nobody counts what may be millions of jobs."""
        return Rest(self.waiting, _next_due(unit))

    def _goes_on(self) -> bool:
        """Whether the budget lasts; something is done in any case."""
        return self.deadline is None or not self.done or monotonic() < self.deadline

    def _report(self, rest: Rest) -> DrainReport:
        return DrainReport(self.advanced, self.counts.sent, self.counts.failed, dict(rest.waiting_for), rest.next_due)


def _record(ended: Ended, wait: bool, unit: Unit) -> tuple[Counts, set[ClaimedJob]]:
    entries = [
        DeliveryResult(call.delivery, decision, outcome, call.sender.name)
        for call, outcome in ended
        if (decision := after_call(call.delivery, outcome, unit.now)) is not None
    ]
    note_begun(unit, [call.delivery.job for call, outcome in ended if outcome.ending == "abandoned"])
    return record(unit, entries, wait=wait)


def _is_crowded(error: Exception) -> bool:
    """Whether others were in the way, so that what was to be recorded is kept."""
    return isinstance(error, StorageError) and is_crowded(error)


def _again(unit: Unit, job: int, attempt: int) -> datetime | None:
    """When to try again what could not even begin; None where it has been tried often enough."""
    return unit.now + back_off(job, attempt) if attempt < ATTEMPTS else None


def _needs(unit: Unit) -> list[str]:
    return sorted(unit.registry.functions())


def _next_due(unit: Unit) -> datetime | None:
    return next_due(unit, _needs(unit), newer(unit))


def _transaction_id(only: Any) -> str:
    if not isinstance(only, TriggerResult):
        raise InputError(f"only: the result of a trigger is expected, not {type(only).__name__}", field="only")
    return only.transaction_id


def _event(transaction_id: str, unit: Unit) -> int:
    return event_row(unit, transaction_id) if transaction_id else ABSENT
