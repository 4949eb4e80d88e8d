"""Executions: the lines of traces and the attempts to send, as one story in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple, cast

from sqlalchemy import ColumnElement, bindparam, select

from notifykit.ids import run_and_step, transaction_id
from notifykit.model.codes import AttemptClass, RunStatus
from notifykit.model.subscriber import public_id
from notifykit.model.tables import delivery_attempt, event, run, subscriber
from notifykit.model.trace import Line, lines
from notifykit.model.values import Who
from notifykit.queries import versions
from notifykit.queries.messages import of_run
from notifykit.queries.references import event_row, subscriber_key, subscriber_row
from notifykit.resources.messages import shortened
from notifykit.results import Execution, ExecutionKind
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Namespace, Unit, query

FILTERS: dict[str, ColumnElement[bool]] = {
    "event": run.c.event == bindparam("event"),
    "subscriber": run.c.subscriber == bindparam("subscriber"),
}
EVENT = (event.c.id, event.c.transaction_id, event.c.created_at, event.c.recipients, event.c.errors, event.c.trace)
EVENTS = {
    "one": Statement(
        select(*EVENT).where(event.c.environment == bindparam("environment"), event.c.id == bindparam("event"))
    ),
    "every": Statement(select(*EVENT).where(event.c.environment == bindparam("environment")).order_by(event.c.id)),
}
AFTERWARDS = frozenset({"message_sent", "message_failed", "message_skipped", "message_retried"})
"""What a line can say of a message that was queued before."""
OUTCOMES = frozenset({"message_sent", "message_failed"})
"""Lines that an attempt led to: it stands before them, also where no time passed between."""


class Attempted(NamedTuple):
    """One row of `delivery_attempt`, beside the version that names its step."""

    run: int
    version: int
    message: int
    number: int
    target: str
    integration: str
    outcome: int
    status_code: int | None
    provider_id: str | None
    response: str | None
    started_at: datetime


class Executions(Namespace):
    """What happened to runs, step by step."""

    @query
    def list(self, *, transaction_id: str | None = None, subscriber: Who | None = None) -> Sequence[Execution]:
        """The lines of the trace, oldest first; attempts to send among them.

        Args:
            transaction_id: Of this trigger; given or generated. Its own lines come with it.
            subscriber: Of this subscriber's runs only.

        Returns:
            The lines. Without any argument those of everything in the environment: meant for tests.

        Example:
            ```python
            for line in notify.executions.list(transaction_id=result.transaction_id, subscriber="ada"):
                print(line.at, line.step, line.kind, line.reason)
            ```
        """
        unit = self.unit
        given: dict[str, int] = {}
        if transaction_id is not None:
            given["event"] = event_row(unit, transaction_id)
        if subscriber is not None:
            given["subscriber"] = subscriber_row(unit, subscriber_key(subscriber))
        found = [] if subscriber is not None else list(_of_events(unit, given))
        found += _of_runs(unit, given)
        return sorted(found, key=lambda execution: execution.at)


def _of_events(unit: Unit, given: dict[str, int]) -> Iterator[Execution]:
    statement = EVENTS["one" if "event" in given else "every"]
    for number, given_id, at, recipients, errors, trace in statement.rows(unit, environment=unit.environment, **given):
        shown_id = transaction_id(given_id, number)
        yield _execution(shown_id, "", Line(at, None, "event_processed", None, {"recipients": recipients}))
        for field, message, recipient in errors or ():
            said = {"field": field} | ({} if recipient is None else {"recipient": recipient})
            yield _execution(shown_id, "", Line(at, None, "recipient_refused", message, said))
        for each in lines(trace):
            yield _execution(shown_id, "", each)


def _of_runs(unit: Unit, given: dict[str, int]) -> Iterator[Execution]:
    names = frozenset(given)
    attempts = _attempts(unit, names, given)
    for number, event_id, given_id, subscriber_id, trace, status, reason, finished_at in _runs(names).rows(
        unit, environment=unit.environment, **given
    ):
        story = list(lines(trace))
        if finished_at is not None:
            story.insert(_end(story, finished_at), Line(finished_at, None, f"run_{RunStatus(status).word}", reason, {}))
        for each in merged(story, attempts.get(number, ())):
            yield _execution(transaction_id(given_id, event_id), public_id(subscriber_id), each)


def _end(story: Sequence[Line], finished_at: datetime) -> int:
    """Where a run's end stands among its lines: before what became of its queued messages later."""
    queued: set[str | None] = set()
    for place, each in enumerate(story):
        if each.at > finished_at or (each.at == finished_at and each.step in queued and each.kind in AFTERWARDS):
            return place
        if each.kind == "message_queued":
            queued.add(each.step)
    return len(story)


def merged(trace: Iterable[Line], attempts: Iterable[Line]) -> list[Line]:
    """A run's lines with its attempts put in: by time, and before the outcome that they led to.

    Args:
        trace: The run's lines as written.
        attempts: Its attempts, in order, as lines of kind `attempt`.
    """
    story = list(trace)
    last: dict[str | None, tuple[int, Line]] = {}
    for attempt in attempts:
        place, before = last.get(attempt.step, (-1, None))
        place += 1
        if before is not None and _is_next(before, attempt):
            place += any(_is_outcome(before, line) for line in story[place : place + 1])
        while place < len(story) and not _comes_before(attempt, story[place]):
            place += 1
        story.insert(place, attempt)
        last[attempt.step] = (place, attempt)
    return story


def _is_next(before: Line, attempt: Line) -> bool:
    """Whether the call before ended the message, and this one came of a retry."""
    return before.reason not in {"transient", "unknown"} and attempt.data["number"] > before.data["number"]


def _is_outcome(attempt: Line, line: Line) -> bool:
    return line.step == attempt.step and line.kind in OUTCOMES


def _comes_before(attempt: Line, line: Line) -> bool:
    return attempt.at < line.at or (attempt.at == line.at and _is_outcome(attempt, line))


@cache
def _runs(names: frozenset[str]) -> Statement:
    return Statement(
        select(
            run.c.id,
            event.c.id,
            event.c.transaction_id,
            subscriber.c.subscriber_id,
            run.c.trace,
            run.c.status,
            run.c.reason,
            run.c.finished_at,
        )
        .select_from(run)
        .join(event, event.c.id == run.c.event)
        .outerjoin(subscriber, subscriber.c.id == run.c.subscriber)
        .where(run.c.environment == bindparam("environment"), *(FILTERS[name] for name in sorted(names)))
        .order_by(run.c.id)
    )


@cache
def _attempted(names: frozenset[str]) -> Statement:
    return Statement(
        select(
            run.c.id,
            event.c.version,
            delivery_attempt.c.message,
            delivery_attempt.c.attempt,
            delivery_attempt.c.target,
            delivery_attempt.c.integration,
            delivery_attempt.c.outcome,
            delivery_attempt.c.status_code,
            delivery_attempt.c.provider_message_id,
            delivery_attempt.c.response,
            delivery_attempt.c.started_at,
        )
        .select_from(run)
        .join(event, event.c.id == run.c.event)
        .join(delivery_attempt, of_run(run, delivery_attempt.c.message))
        .where(run.c.environment == bindparam("environment"), *(FILTERS[name] for name in sorted(names)))
        .order_by(delivery_attempt.c.message, delivery_attempt.c.attempt, delivery_attempt.c.target)
    )


def _attempts(unit: Unit, names: frozenset[str], given: dict[str, int]) -> dict[int, list[Line]]:
    """The attempts of each run, as lines."""
    rows = [Attempted(*row) for row in _attempted(names).rows(unit, environment=unit.environment, **given)]
    known = versions.by_id(unit, {row.version for row in rows})
    found: dict[int, list[Line]] = {}
    for row in rows:
        step = known[row.version].workflow.steps[run_and_step(row.message)[1]].id
        found.setdefault(row.run, []).append(_line(row, step))
    return found


def _line(row: Attempted, step: str) -> Line:
    word = AttemptClass(row.outcome).word
    said = {
        "number": row.number,
        "integration": row.integration or None,
        "target": shortened(row.target),
        "status_code": row.status_code,
        "provider_id": row.provider_id,
        "error": None if word == "sent" else row.response,
    }
    data = {name: value for name, value in said.items() if value is not None}
    return Line(row.started_at, step, "attempt", word, data)


def _execution(transaction_id: str, subscriber_id: str, each: Line) -> Execution:
    at, step, kind, reason, data = each
    return Execution(transaction_id, subscriber_id, step, cast("ExecutionKind", kind), reason, at, data)
