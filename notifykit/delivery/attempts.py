"""Attempts: one row for each call and target, numbered from 1 within a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlmodel import col

from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.outcomes import Outcome
from notifykit.model import DeliveryAttempt
from notifykit.model.codes import AttemptClass
from notifykit.queries.subscriber_fields import token_hash
from notifykit.settings import KEY_LENGTH, LEASE
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

LAST_NUMBERS = Statement(
    select(col(DeliveryAttempt.message), func.max(DeliveryAttempt.attempt))
    .where(any_of(DeliveryAttempt.message, "ids"))
    .group_by(col(DeliveryAttempt.message))
)
CLASSES = {
    "sent": AttemptClass.SENT.value,
    "transient": AttemptClass.TRANSIENT.value,
    "permanent": AttemptClass.PERMANENT.value,
    "timed_out": AttemptClass.UNKNOWN.value,
}
"""The outcomes of calls that were made; no others are recorded."""
UNKNOWN = AttemptClass.UNKNOWN.value


class AttemptRow(NamedTuple):
    """One row of `delivery_attempt`, its times encoded."""

    message: int
    target: str
    attempt: int
    integration: str
    idempotency_key: str
    outcome: int
    status_code: int | None
    provider_message_id: str | None
    response: str | None
    started_at: Any
    finished_at: Any


class Attempted(NamedTuple):
    """One call that was made.

    Attributes:
        sender: Who was called: an integration's name, or `hook`.
    """

    delivery: ClaimedDelivery
    outcome: Outcome
    sender: str


def last_numbers(unit: Unit, messages: Sequence[int]) -> dict[int, int]:
    """The number of the last attempt of each message that has one."""
    return dict(LAST_NUMBERS.rows(unit, ids=messages)) if messages else {}


def record_attempts(unit: Unit, attempted: Sequence[Attempted]) -> None:
    """Write the attempts of calls; all targets of a message share the outcome of its call.

    Args:
        unit: A unit that may write, which has fenced the jobs.
        attempted: Calls for messages; those that were not made leave no row.
    """
    rows = [
        AttemptRow(
            message=delivery.job.message,
            target=target,
            attempt=delivery.number,
            integration=sender,
            idempotency_key=delivery.key,
            outcome=CLASSES[outcome.kind],
            status_code=outcome.status_code,
            provider_message_id=outcome.receipt.provider_id,
            response=outcome.error or None,
            started_at=unit.timestamp(outcome.started_at),
            finished_at=unit.timestamp(outcome.finished_at),
        )
        for delivery, outcome, sender in attempted
        if outcome.kind in CLASSES
        for target in stored_targets(delivery)
    ]
    if rows:
        insert_rows(unit, DeliveryAttempt, AttemptRow._fields, rows)


def record_unknown(unit: Unit, deliveries: Sequence[ClaimedDelivery]) -> None:
    """Write that the attempt before this one ended in the dark: whoever made it never told how it went.

    Args:
        unit: The unit of the claim.
        deliveries: Claimed jobs, of which those count whose worker was lost in the call.
    """
    rows = [
        AttemptRow(
            message=delivery.job.message,
            target=target,
            attempt=delivery.number - 1,
            integration="",
            idempotency_key=delivery.key,
            outcome=UNKNOWN,
            status_code=None,
            provider_message_id=None,
            response=None,
            started_at=unit.timestamp(delivery.job.previous_lease - LEASE),
            finished_at=None,
        )
        for delivery in deliveries
        if delivery.job.previous_lease is not None and delivery.message is not None
        for target in stored_targets(delivery)
    ]
    if rows:
        insert_rows(unit, DeliveryAttempt, AttemptRow._fields, rows)


def stored_targets(delivery: ClaimedDelivery) -> list[str]:
    """The targets of a delivery's attempts as they are stored, each once; `''` where there is none.

    One e-mail goes to all its addresses in one message, so that the first of them stands for it. What is longer than a
    key has room for is stored as its hash.
    """
    addresses = delivery.addresses or ("",)
    if delivery.message is not None and delivery.message.channel_name == "email":
        addresses = addresses[:1]
    return list(dict.fromkeys(each if len(each) <= KEY_LENGTH else token_hash(each) for each in addresses))
