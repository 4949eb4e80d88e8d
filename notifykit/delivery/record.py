"""What happened, written: one transaction for a whole batch, fenced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, update
from sqlmodel import col

from notifykit.clock import micros
from notifykit.delivery.attempts import Attempted, record_attempts
from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.custom import complete
from notifykit.delivery.decisions import Decision
from notifykit.delivery.outcomes import Outcome
from notifykit.events import MessageFailed, MessageSent, MessageSkipped
from notifykit.lifecycle import jobs, runs, traces
from notifykit.lifecycle.jobs import ClaimedJob, Later
from notifykit.model import Message
from notifykit.model.codes import MessageStatus
from notifykit.model.trace import line
from notifykit.settings import LEASE
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit

END = Statement(
    update(Message)
    .where(col(Message.id) == bindparam("row"))
    .values(status=bindparam("status"), reason=bindparam("reason"))
)
CONTENT: dict[str, Any] = {name: bindparam(name) for name in ("subject", "body", "data")}
KEEP_CONTENT = Statement(update(Message).where(col(Message.id) == bindparam("row")).values(CONTENT))
END_WITH_CONTENT = Statement(
    update(Message)
    .where(col(Message.id) == bindparam("row"))
    .values(CONTENT | {"status": bindparam("status"), "reason": bindparam("reason")})
)
KINDS = {
    MessageStatus.SENT: "message_sent",
    MessageStatus.FAILED: "message_failed",
    MessageStatus.SKIPPED: "message_skipped",
    MessageStatus.CANCELLED: "message_skipped",
}
"""The lines that traces and observers get; an unknown outcome is told by its attempt."""


@dataclass(slots=True)
class DeliveryResult:
    """One job and what becomes of it.

    Attributes:
        outcome: How its call ended; None where none was made.
        sender: Who was called: an integration's name, `hook`, or `''`.
    """

    delivery: ClaimedDelivery
    decision: Decision
    outcome: Outcome | None = None
    sender: str = ""

    @property
    def is_not_started(self) -> bool:
        """Whether its call was not made, and may be yet."""
        return self.outcome is not None and self.outcome.kind == "not_started"


@dataclass(slots=True)
class Counts:
    """How many messages ended.

    Attributes:
        resumed: Runs that go on because of it.
    """

    sent: int = 0
    failed: int = 0
    resumed: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(self.sent + other.sent, self.failed + other.failed, self.resumed + other.resumed)


def record(unit: Unit, results: Sequence[DeliveryResult], *, wait: bool) -> tuple[Counts, set[ClaimedJob]]:
    """Write what becomes of claimed jobs.

    The jobs are locked first: one that somebody else has taken over meanwhile changes nothing. Then their runs, so that
    nobody stops them meanwhile; a call that was not made changes nothing but its job.

    Args:
        unit: A unit of its own.
        results: The jobs.
        wait: Wait for jobs and runs that other units have locked; else the jobs keep their claim for longer.

    Returns:
        How many messages ended here, and the jobs that are still to be recorded.
    """
    held, waiting = jobs.held(unit, [result.delivery.job for result in results], wait=wait)
    mine = [result for result in results if result.delivery.job in held]
    jobs.free(unit, [_later(unit, result) for result in mine if result.is_not_started])
    mine = [result for result in mine if not result.is_not_started]
    locked = runs.lock_runs(unit, [result.delivery.job.run for result in mine], wait=wait)
    left = set() if wait else {result.delivery.job for result in mine if result.delivery.job.run not in locked}
    jobs.renew(unit, left, unit.now + LEASE)
    return write_results(unit, [result for result in mine if result.delivery.job not in left]), waiting | left


def write_results(unit: Unit, results: Sequence[DeliveryResult]) -> Counts:
    """Write what becomes of jobs that this unit has locked, and their runs.

    Args:
        unit: A unit that may write.
        results: The jobs.
    """
    jobs.drop(unit, [result.delivery.job.id for result in results if result.decision.due_at is None])
    jobs.free(unit, [_later(unit, result) for result in results if result.decision.due_at is not None])
    messages = [result for result in results if result.delivery.message is not None]
    record_attempts(unit, [Attempted(each.delivery, each.outcome, each.sender) for each in messages if each.outcome])
    _update_messages(unit, messages)
    ended = [result for result in messages if result.decision.status]
    traces.append(unit, [(result.delivery.job.run, _line(unit, result)) for result in ended])
    called = complete(
        unit, [(each.delivery, each.decision, each.outcome) for each in results if each.delivery.message is None]
    )
    resumed = runs.resume(unit, [result.delivery.job.message for result in ended if result.delivery.is_awaited])
    done = [result.delivery for result in results if result.decision.due_at is None]
    runs.drop_ephemeral(unit, sorted({delivery.job.run for delivery in done if delivery.is_ephemeral}))
    _announce(unit, ended)
    statuses = [result.decision.status for result in ended]
    return Counts(statuses.count(MessageStatus.SENT), statuses.count(MessageStatus.FAILED), resumed + called)


def _later(unit: Unit, result: DeliveryResult) -> Later:
    job, decision = result.delivery.job, result.decision
    assert decision.due_at is not None
    unit.schedule(decision.due_at)
    if decision.counts_as_attempt:
        return Later(job, decision.due_at, job.attempt, 0)
    return Later(job, decision.due_at, job.attempt - 1, job.rescues)


def _update_messages(unit: Unit, results: Sequence[DeliveryResult]) -> None:
    changes: dict[Statement, list[dict[str, Any]]] = {END: [], KEEP_CONTENT: [], END_WITH_CONTENT: []}
    for result in sorted(results, key=lambda result: result.delivery.job.message):
        status, content = result.decision.status, result.outcome.content if result.outcome else None
        values: dict[str, Any] = {"row": result.delivery.job.message}
        if status is not None:
            values |= {"status": status.value, "reason": result.decision.reason}
        if content is not None:
            values |= {name: content.get(name) for name in CONTENT}
            changes[KEEP_CONTENT if status is None else END_WITH_CONTENT].append(values)
        elif status is not None:
            changes[END].append(values)
    for statement, rows in changes.items():
        statement.many(unit, rows)


def _line(unit: Unit, result: DeliveryResult) -> str:
    status, reason = result.decision.status, result.decision.reason
    if status not in KINDS:
        return ""
    data = {"attempt": result.delivery.number, "provider": result.sender} if result.sender else None
    return line(micros(unit.now), result.delivery.step.id, KINDS[status], reason, data)


def _announce(unit: Unit, results: Sequence[DeliveryResult]) -> None:
    heard = {status for status, name in KINDS.items() if unit.listens(name)}
    for result in results:
        if result.decision.status in heard:
            unit.emit(_event(result))


def _event(result: DeliveryResult) -> MessageSent | MessageFailed | MessageSkipped:
    status, reason = result.decision.status, result.decision.reason
    assert status is not None
    message = result.delivery.shown(status, reason, result.sender or None)
    if status is MessageStatus.SENT:
        assert result.outcome is not None
        return MessageSent(message, result.outcome.receipt)
    if status is MessageStatus.FAILED:
        return MessageFailed(message, reason or "")
    return MessageSkipped.of(message, reason or "")
