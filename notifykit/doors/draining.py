"""Due work: what can advance is advanced, what is to be sent is sent, until nothing is due any more.

Written once, as a generator that says what is to be done next; the doors do it, blocking or awaited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from notifykit.clock import monotonic
from notifykit.delivery.claim import Batch, claim
from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.record import Entry, Tally, record
from notifykit.delivery.rulings import after_call
from notifykit.delivery.sending import Call, Senders
from notifykit.delivery.waiting import waiting_for
from notifykit.doors.runtime import Runtime
from notifykit.errors import InputError
from notifykit.flow.due import advance_due
from notifykit.resources.references import ABSENT, event_row
from notifykit.resources.versions import newer
from notifykit.results import DrainReport, TriggerResult
from notifykit.settings import CLAIM, LEASE
from notifykit.store.claiming import next_due
from notifykit.store.unit import Unit

T = TypeVar("T")

QUICK = 0.25
SLOW = LEASE.total_seconds() / 4
"""Seconds that the calls of one claim take."""


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """Something to do in a unit of its own; what it returns is sent back in."""

    call: Callable[[Unit], T]


@dataclass(frozen=True, slots=True)
class Send:
    """Calls to make outside any transaction, one after the other; `outcomes` is sent back in, one for each call.

    Attributes:
        calls: The calls.
        outcomes: The driver appends how each ended, so that they are known even where it is stopped in between.
    """

    calls: Sequence[Call]
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left when nothing more can be done now."""

    waiting_for: Mapping[str, int]
    next_due: datetime | None


def drain(
    runtime: Runtime[Any], only: TriggerResult | None, seconds: float | None
) -> Generator[Work[Any] | Send, Any, DrainReport]:
    """Do everything that is due now.

    Args:
        runtime: The engine's.
        only: Do only the work of this trigger.
        seconds: Stop after this time; at least one chunk of work is done.

    Returns:
        What was done.

    Raises:
        InputError: An argument is none of these.
    """
    deadline = _deadline(seconds)
    event = None
    if only is not None:
        event = yield Work(partial(_event, _transaction_id(only)))
        if event == ABSENT:
            return DrainReport()
    return (yield from _Drain(runtime, event, deadline).work())


class _Drain:
    """One drain under way."""

    def __init__(self, runtime: Runtime[Any], event: int | None, deadline: float | None) -> None:
        self.runtime = runtime
        self.senders = Senders(runtime.hooks, runtime.integrations, runtime.outbox)
        self.event = event
        self.deadline = deadline
        self.limit = CLAIM
        self.advanced = 0
        self.tally = Tally()
        self.put_off: set[int] = set()
        self.waiting: Counter[str] = Counter()

    def work(self) -> Generator[Work[Any] | Send, Any, DrainReport]:
        """Advance, then send until that makes more to advance or nothing is left to send; all over again until done."""
        while True:
            advanced: int = yield Work(lambda unit: advance_due(unit, limit=unit.chunk, event=self.event))
            self.advanced += advanced
            rest, resumed = None, self.tally.resumed
            while rest is None and resumed == self.tally.resumed and not self._is_spent():
                batch, rest = yield Work(self._claim)
                self._count(batch)
                if batch.calls:
                    yield from self._send(batch)
            if self._is_spent():
                return self._report((yield Work(self._left)))
            if rest is not None and not advanced and resumed == self.tally.resumed:
                return self._report(rest)

    def _claim(self, unit: Unit) -> tuple[Batch, Rest | None]:
        batch = claim(
            unit, self.senders, owner=self.runtime.owner, limit=self.limit, event=self.event, deadline=self.deadline
        )
        # What waits for a provider is due again in a minute; a drain that takes longer must end all the same.
        stalled = len(batch.put_off & self.put_off) == batch.claimed
        return batch, self._rest(unit) if stalled else None

    def _count(self, batch: Batch) -> None:
        """Keep what a claim came to: once it is committed, for a unit may be done again."""
        self.tally += batch.tally
        self.waiting += batch.waiting
        self.put_off |= batch.put_off

    def _send(self, batch: Batch) -> Generator[Work[Any] | Send, Any, None]:
        send, started = Send([call for _, call in batch.calls]), monotonic()
        try:
            outcomes = yield send
        except GeneratorExit:
            raise
        except BaseException:
            yield Work(partial(self._record, batch, send.outcomes))
            raise
        self._adapt(monotonic() - started)
        self.tally += yield Work(partial(self._record, batch, outcomes))

    def _adapt(self, seconds: float) -> None:
        """Claim more at once of what is quick, less of what is slow: a crash leaves the whole batch uncertain."""
        if seconds < QUICK:
            self.limit = min(self.limit * 2, self.runtime.chunk)
        elif seconds > SLOW:
            self.limit = max(self.limit // 2, 1)

    def _record(self, batch: Batch, outcomes: Sequence[Outcome], unit: Unit) -> Tally:
        entries = [
            Entry(task, ruling, outcome, call.sender.name)
            for (task, call), outcome in zip(batch.calls, outcomes, strict=False)
            if (ruling := after_call(task, outcome, unit.now)) is not None
        ]
        return record(unit, self.runtime.owner, entries)

    def _rest(self, unit: Unit) -> Rest:
        return Rest(waiting_for(unit, self.senders, self.event), _next_due(unit))

    def _left(self, unit: Unit) -> Rest:
        """The rest after the budget is spent: nobody counts what may be millions of jobs."""
        return Rest(self.waiting, _next_due(unit))

    def _is_spent(self) -> bool:
        return self.deadline is not None and monotonic() >= self.deadline

    def _report(self, rest: Rest) -> DrainReport:
        return DrainReport(self.advanced, self.tally.sent, self.tally.failed, dict(rest.waiting_for), rest.next_due)


def _next_due(unit: Unit) -> datetime | None:
    return next_due(unit, sorted(unit.registry.functions()), newer(unit))


def _deadline(seconds: Any) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise InputError(f"seconds: a number that is not negative is expected, not {seconds!r}", field="seconds")
    return monotonic() + seconds


def _transaction_id(only: Any) -> str:
    if not isinstance(only, TriggerResult):
        raise InputError(f"only: the result of a trigger is expected, not {type(only).__name__}", field="only")
    return only.transaction_id


def _event(transaction_id: str, unit: Unit) -> int:
    return event_row(unit, transaction_id) if transaction_id else ABSENT
