"""Messages as verbs and observers see them, by the ids of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, and_, literal_column, select

from notifykit.ids import STEP_BITS, encode_id, run_and_step, transaction_id
from notifykit.model.codes import ChannelCode, MessageStatus
from notifykit.model.subscriber import public_id
from notifykit.model.tables import delivery_attempt, event, message, run, subscriber
from notifykit.model.tables import workflow as workflow_table
from notifykit.queries import versions
from notifykit.results import Message
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow


def of_run(table: Table, number: Any) -> Any:
    """That a message belongs to a run, said so that an index finds messages from runs."""
    return and_(number >= table.c.id * 2**STEP_BITS, number < table.c.id * 2**STEP_BITS + 2**STEP_BITS)


RUN = message.c.id.bitwise_rshift(literal_column(str(STEP_BITS)))
"""The run of a message; a literal, for PostgreSQL shifts by its small integers only."""
_PROVIDER = (
    select(delivery_attempt.c.integration)
    .where(delivery_attempt.c.message == message.c.id)
    .order_by(delivery_attempt.c.attempt.desc(), delivery_attempt.c.outcome, delivery_attempt.c.target)
    .limit(1)
    .scalar_subquery()
)
_SUMMARIES = (
    select(
        message.c.id,
        message.c.channel,
        message.c.status,
        message.c.reason,
        message.c.created_at,
        subscriber.c.subscriber_id,
        workflow_table.c.key,
        event.c.id,
        event.c.transaction_id,
        event.c.version,
        _PROVIDER,
    )
    .select_from(message)
    .join(run, run.c.id == RUN)
    .join(event, event.c.id == run.c.event)
    .outerjoin(workflow_table, workflow_table.c.id == message.c.workflow)
    .outerjoin(subscriber, subscriber.c.id == message.c.subscriber)
    .where(any_of(message.c.id, "ids"))
)
SUMMARIES = Statement(_SUMMARIES)
SUMMARIES_NOW = Statement(_SUMMARIES.with_for_update(read=True, of=message))
"""Of messages that a lock has met: a host's snapshot may be older than they are."""


def summaries(unit: Unit, ids: Sequence[int]) -> dict[int, Message]:
    """Messages by the ids of their rows."""
    rows = SUMMARIES.rows(unit, ids=ids) if ids else []
    if len(rows) < len(ids) and unit.is_external and unit.dialect.locking:
        rows += SUMMARIES_NOW.rows(unit, ids=sorted(set(ids) - {row[0] for row in rows}))
    known = versions.by_id(unit, {row[9] for row in rows})
    return {row[0]: _summary(row, known[row[9]].workflow) for row in rows}


def step_id(workflow: Workflow[Any, ...], number: int) -> str:
    """The id of the step that a message belongs to."""
    return workflow.steps[run_and_step(number)[1]].id


def _summary(row: tuple[Any, ...], definition: Workflow[Any, ...]) -> Message:
    number, channel, status, reason, created_at, subscriber_id, key, event_id, given, _, provider = row
    return Message(
        id=encode_id("msg", number),
        subscriber_id=public_id(subscriber_id),
        workflow=key or definition.key,
        step=step_id(definition, number),
        channel=ChannelCode(channel).word,
        status=MessageStatus(status).word,
        reason=reason,
        provider=provider,
        transaction_id=transaction_id(given, event_id),
        created_at=created_at,
    )
