"""What happened, written: one transaction for a whole batch, fenced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, update
from sqlmodel import col

from notifykit.clock import micros
from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.custom import complete
from notifykit.delivery.decisions import Decision
from notifykit.delivery.outcomes import Outcome
from notifykit.events import MessageFailed, MessageSent, MessageSkipped
from notifykit.lifecycle import jobs as claiming
from notifykit.lifecycle import runs as endings
from notifykit.lifecycle import traces
from notifykit.lifecycle.jobs import ClaimedJob, Later
from notifykit.model import DeliveryAttempt, Message
from notifykit.model.codes import AttemptClass, MessageStatus
from notifykit.model.trace import line
from notifykit.settings import LEASE
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit

END = Statement(
    update(Message)
    .where(col(Message.id) == bindparam("row"))
    .values(status=bindparam("status"), reason=bindparam("reason"))
)
SAID: dict[str, Any] = {name: bindparam(name) for name in ("subject", "body", "data")}
KEEP_CONTENT = Statement(update(Message).where(col(Message.id) == bindparam("row")).values(SAID))
END_WITH_CONTENT = Statement(
    update(Message)
    .where(col(Message.id) == bindparam("row"))
    .values(SAID | {"status": bindparam("status"), "reason": bindparam("reason")})
)
ATTEMPT = (
    "message",
    "target",
    "attempt",
    "integration",
    "idempotency_key",
    "outcome",
    "status_code",
    "provider_message_id",
    "response",
    "started_at",
    "finished_at",
)
CLASSES = {
    "sent": AttemptClass.SENT.value,
    "transient": AttemptClass.TRANSIENT.value,
    "permanent": AttemptClass.PERMANENT.value,
    "overdue": AttemptClass.UNKNOWN.value,
}
UNKNOWN = AttemptClass.UNKNOWN.value
KINDS = {
    MessageStatus.SENT: "message_sent",
    MessageStatus.FAILED: "message_failed",
    MessageStatus.SKIPPED: "message_skipped",
    MessageStatus.CANCELLED: "message_skipped",
}


@dataclass(slots=True)
class DeliveryResult:
    """One job and what becomes of it.

    Attributes:
        outcome: How its call ended; None where none was made.
        provider: Who was called: an integration's name, `hook`, or `''`.
    """

    delivery: ClaimedDelivery
    decision: Decision
    outcome: Outcome | None = None
    provider: str = ""

    @property
    def is_unsent(self) -> bool:
        """Whether its call was not made, and may be yet."""
        return self.outcome is not None and self.outcome.ending == "unsent"


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


def record(unit: Unit, entries: Sequence[DeliveryResult], *, wait: bool) -> tuple[Counts, set[ClaimedJob]]:
    """Write what becomes of claimed jobs.

    The jobs are locked first: one that somebody else has taken over meanwhile changes nothing. Then their runs, so that
    nobody stops them meanwhile; a call that was not made changes nothing but its job.

    Args:
        unit: A unit of its own.
        entries: The jobs.
        wait: Wait for jobs and runs that other units have locked; else the jobs keep their claim for longer.

    Returns:
        How many messages ended here, and the jobs that are still to be recorded.
    """
    held, waiting = claiming.held(unit, [entry.delivery.job for entry in entries], wait=wait)
    mine = [entry for entry in entries if entry.delivery.job in held]
    claiming.free(unit, [_later(unit, entry) for entry in mine if entry.is_unsent])
    mine = [entry for entry in mine if not entry.is_unsent]
    locked = endings.lock_runs(unit, [entry.delivery.job.run for entry in mine], wait=wait)
    left = set() if wait else {entry.delivery.job for entry in mine if entry.delivery.job.run not in locked}
    claiming.renew(unit, left, unit.now + LEASE)
    return settle(unit, [entry for entry in mine if entry.delivery.job not in left]), waiting | left


def settle(unit: Unit, entries: Sequence[DeliveryResult]) -> Counts:
    """Write what becomes of jobs that this unit has locked, and their runs.

    Args:
        unit: A unit that may write.
        entries: The jobs.
    """
    claiming.drop(unit, [entry.delivery.job.id for entry in entries if entry.decision.due_at is None])
    claiming.free(unit, [_later(unit, entry) for entry in entries if entry.decision.due_at is not None])
    messages = [entry for entry in entries if entry.delivery.message is not None]
    _attempts(unit, messages)
    _messages(unit, messages)
    traces.append(unit, [(entry.delivery.job.run, _line(unit, entry)) for entry in messages if entry.decision.status])
    called = complete(
        unit, [(entry.delivery, entry.decision, entry.outcome) for entry in entries if entry.delivery.message is None]
    )
    ended = [entry for entry in messages if entry.decision.status]
    resumed = endings.resume(unit, [entry.delivery.job.message for entry in ended if entry.delivery.is_awaited])
    done = [entry.delivery for entry in entries if entry.decision.due_at is None]
    endings.drop_ephemeral(unit, sorted({delivery.job.run for delivery in done if delivery.is_ephemeral}))
    _announce(unit, ended)
    statuses = [entry.decision.status for entry in ended]
    return Counts(statuses.count(MessageStatus.SENT), statuses.count(MessageStatus.FAILED), resumed + called)


def record_unknown(unit: Unit, deliveries: Sequence[ClaimedDelivery]) -> None:
    """Write that the attempt before this one ended in the dark: whoever made it never told how it went.

    Args:
        unit: The unit of the claim.
        deliveries: Claimed jobs, of which those count whose worker was lost in the call.
    """
    rows = []
    for delivery in deliveries:
        if delivery.job.previous_lease is None or delivery.message is None:
            continue
        began = unit.timestamp(delivery.job.previous_lease - LEASE)
        nothing = (None, None, None)
        rows.append((delivery.job.message, "", delivery.number - 1, "", delivery.key, UNKNOWN, *nothing, began, None))
    if rows:
        insert_rows(unit, DeliveryAttempt, ATTEMPT, rows)


def _later(unit: Unit, entry: DeliveryResult) -> Later:
    job, decision = entry.delivery.job, entry.decision
    assert decision.due_at is not None
    unit.schedule(decision.due_at)
    if decision.burned:
        return Later(job, decision.due_at, job.attempt, 0)
    return Later(job, decision.due_at, job.attempt - 1, job.rescues)


def _attempts(unit: Unit, entries: Sequence[DeliveryResult]) -> None:
    rows = [
        (
            entry.delivery.job.message,
            "",
            entry.delivery.number,
            entry.provider,
            entry.delivery.key,
            CLASSES[outcome.ending],
            None,
            outcome.receipt.provider_id,
            outcome.error or None,
            unit.timestamp(outcome.started_at),
            unit.timestamp(outcome.finished_at),
        )
        for entry in entries
        if (outcome := entry.outcome) is not None and outcome.ending in CLASSES
    ]
    if rows:
        insert_rows(unit, DeliveryAttempt, ATTEMPT, rows)


def _messages(unit: Unit, entries: Sequence[DeliveryResult]) -> None:
    changes: dict[Statement, list[dict[str, Any]]] = {END: [], KEEP_CONTENT: [], END_WITH_CONTENT: []}
    for entry in sorted(entries, key=lambda entry: entry.delivery.job.message):
        status, content = entry.decision.status, entry.outcome.content if entry.outcome else None
        values: dict[str, Any] = {"row": entry.delivery.job.message}
        if status is not None:
            values |= {"status": status.value, "reason": entry.decision.reason}
        if content is not None:
            values |= {name: content.get(name) for name in SAID}
            changes[KEEP_CONTENT if status is None else END_WITH_CONTENT].append(values)
        elif status is not None:
            changes[END].append(values)
    for statement, rows in changes.items():
        statement.many(unit, rows)


def _line(unit: Unit, entry: DeliveryResult) -> str:
    status, reason = entry.decision.status, entry.decision.reason
    if status not in KINDS:  # an unknown outcome is told by its attempt
        return ""
    data = {"attempt": entry.delivery.number, "provider": entry.provider} if entry.provider else None
    return line(micros(unit.now), entry.delivery.step.id, KINDS[status], reason, data)


def _announce(unit: Unit, entries: Sequence[DeliveryResult]) -> None:
    heard = {status for status, name in KINDS.items() if unit.listens(name)}
    for entry in entries:
        if entry.decision.status in heard:
            unit.emit(_event(entry))


def _event(entry: DeliveryResult) -> MessageSent | MessageFailed | MessageSkipped:
    status, reason = entry.decision.status, entry.decision.reason
    assert status is not None
    message = entry.delivery.shown(status, reason, entry.provider or None)
    if status is MessageStatus.SENT:
        assert entry.outcome is not None
        return MessageSent(message, entry.outcome.receipt)
    if status is MessageStatus.FAILED:
        return MessageFailed(message, reason or "")
    return MessageSkipped.of(message, reason or "")
