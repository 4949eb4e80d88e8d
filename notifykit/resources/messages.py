"""Messages: what channel steps produced, what they said, and every attempt to send them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Table, and_, bindparam, literal_column, select, update

from notifykit.clock import micros
from notifykit.errors import InputError, NotFoundError
from notifykit.events import MessageQueued, MessageSkipped
from notifykit.ids import STEP_BITS, number_of, run_and_step, text_of
from notifykit.model import Job
from notifykit.model.codes import AttemptClass, Channel, ChannelCode, JobKind, MessageStatus
from notifykit.model.tables import content, delivery_attempt, event, job, message, run, subscriber
from notifykit.model.tables import workflow as workflow_table
from notifykit.model.trace import line
from notifykit.model.values import Who
from notifykit.resources import versions
from notifykit.resources.pages import Listing, in_order, pages
from notifykit.resources.references import (
    aware,
    channel_code,
    event_row,
    scope_row,
    several,
    status_codes,
    subscriber_key,
    subscriber_row,
    workflow_key,
    workflow_row,
)
from notifykit.results import Attempt, Message, MessageDetails, Page
from notifykit.store import traces
from notifykit.store.claiming import drop
from notifykit.store.endings import JOBS, lock_runs, shown
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Namespace, Unit, query, verb
from notifykit.workflow.definition import Workflow

CHUNK = 1000
"""Messages that are changed together."""
TARGET = 24
"""Characters of an attempt's target that are shown whole."""
BEFORE = timedelta(microseconds=1)


def of_run(table: Table, number: Any) -> Any:
    """That a message belongs to a run, said so that an index finds messages from runs."""
    return and_(number >= table.c.id * 2**STEP_BITS, number < table.c.id * 2**STEP_BITS + 2**STEP_BITS)


RUN = message.c.id.bitwise_rshift(literal_column(str(STEP_BITS)))
"""The run of a message; a literal, for PostgreSQL shifts by its small integers only."""
_FROM_RUNS = run.join(message, of_run(run, message.c.id))
LISTING = Listing(
    message,
    (message.c.id,),
    {
        "environment": message.c.environment == bindparam("environment"),
        "tenant": message.c.tenant == bindparam("tenant"),
        "status": within(message.c.status, "status"),
        "channel": message.c.channel == bindparam("channel"),
        "workflow": message.c.workflow == bindparam("workflow"),
        "since": message.c.created_at >= bindparam("since"),
        "subscriber": run.c.subscriber == bindparam("subscriber"),
        "event": run.c.event == bindparam("event"),
    },
    through={"subscriber": _FROM_RUNS, "event": _FROM_RUNS},
)
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
    .where(within(message.c.id, "ids"))
)
SUMMARIES = Statement(_SUMMARIES)
SUMMARIES_NOW = Statement(_SUMMARIES.with_for_update(read=True, of=message))
"""Of messages that a lock has met: a host's snapshot may be older than they are."""
SAID = Statement(
    select(
        message.c.environment,
        message.c.tenant,
        message.c.content,
        message.c.subject,
        message.c.body,
        message.c.data,
        content.c.subject,
        content.c.body,
        content.c.data,
    )
    .select_from(message)
    .outerjoin(content, content.c.id == message.c.content)
    .where(message.c.id == bindparam("number"))
)
ATTEMPTS = Statement(
    select(
        delivery_attempt.c.attempt,
        delivery_attempt.c.target,
        delivery_attempt.c.integration,
        delivery_attempt.c.outcome,
        delivery_attempt.c.status_code,
        delivery_attempt.c.provider_message_id,
        delivery_attempt.c.response,
        delivery_attempt.c.started_at,
        delivery_attempt.c.finished_at,
    )
    .where(delivery_attempt.c.message == bindparam("number"))
    .order_by(delivery_attempt.c.attempt, delivery_attempt.c.target)
)
CANDIDATES = Statement(
    select(message.c.id, message.c.environment, message.c.tenant, message.c.status, message.c.subscriber)
    .where(within(message.c.id, "ids"))
    .order_by(message.c.id)
    .with_for_update()
)
REACHABLE = Statement(select(subscriber.c.id).where(within(subscriber.c.id, "ids")))
REQUEUE = Statement(
    update(message).where(within(message.c.id, "ids")).values(status=MessageStatus.QUEUED.value, reason=None)
)
TOLD = Statement(
    select(run.c.id).where(run.c.id == bindparam("id"), run.c.trace.like(bindparam("pattern"), escape="!"))
)
"""That a run's trace has a line: what tells of it is true, though the message may have been sent since."""
WILD = str.maketrans({sign: f"!{sign}" for sign in "!%_"})
OTHER_JOBS = Statement(select(job.c.id).where(within(job.c.run, "runs"), job.c.due_at == bindparam("now")))


class Messages(Namespace):
    """What channel steps produced. A door with a tenant's scope sees that tenant's messages only."""

    @query
    def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        channel: Channel | None = None,
        workflow: str | Workflow[Any, ...] | None = None,
        subscriber: Who | None = None,
        transaction_id: str | None = None,
        since: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Message]:
        """One page, newest first.

        Args:
            status: One status or several of `queued`, `sent`, `failed`, `skipped`, `unknown`, `cancelled`.
            channel: Of this channel.
            workflow: Of this workflow.
            subscriber: To this subscriber.
            transaction_id: Of this trigger; given or generated.
            since: Made then or later; aware.
            limit: Messages of the page, 1 to 1000.
            after: `next` or `previous` of an earlier page.

        Raises:
            InputError: A filter names what does not exist, or the limit or cursor is bad.
        """
        unit = self.unit
        return LISTING.page(
            unit,
            lambda ids: in_order(ids, summaries(unit, ids)),
            limit=limit,
            after=after,
            environment=unit.environment,
            tenant=scope_row(unit),
            status=None if status is None else status_codes(status, MessageStatus),
            channel=None if channel is None else channel_code(channel),
            workflow=None if workflow is None else workflow_row(unit, workflow_key(workflow)),
            subscriber=None if subscriber is None else subscriber_row(unit, subscriber_key(subscriber)),
            event=None if transaction_id is None else event_row(unit, transaction_id),
            since=None if since is None else aware(since, "since"),
        )

    def each(self, *, status: str | Sequence[str] | None = None, channel: Channel | None = None) -> Iterator[Message]:
        """Every message that matches, newest first, read page by page."""
        return pages(self.list, status=status, channel=channel)

    @query
    def get(self, message_id: str) -> MessageDetails:
        """One message with its content and attempts.

        Raises:
            NotFoundError: There is none with this id.
        """
        unit, number = self.unit, number_of("msg", message_id)
        said = SAID.row(unit, number=number)
        if said is None or not _in_scope(unit, said[0], said[1], scope_row(unit)):
            raise NotFoundError(f"there is no message {message_id!r}")
        subject, body, data = said[6:9] if said[2] else said[3:6]
        summary = summaries(unit, [number])[number]
        html = (data or {}).get("html") if summary.channel == "email" else None
        return MessageDetails(
            **vars(summary),
            subject=subject,
            body=body,
            html=html,
            data=data or {},
            attempts=tuple(_attempt(*row) for row in ATTEMPTS.rows(unit, number=number)),
        )

    @verb
    def retry(self, messages: str | Message | Iterable[str | Message]) -> int:
        """Queue failed messages, and those whose outcome is unknown, again; they are due now.

        Args:
            messages: Ids or messages, one or many. Those in another state, or whose subscriber is gone, are left alone.

        Returns:
            How many were queued.

        Raises:
            NotFoundError: There is no message with one of the ids.

        Example:
            ```python
            notify.messages.retry(notify.messages.list(status="failed"))
            ```
        """
        ids = iter(sorted({_number(each) for each in several(messages)}))
        queued = 0
        while chunk := list(islice(ids, CHUNK)):
            queued += _retry(self.unit, chunk)
        return queued


def summaries(unit: Unit, ids: Sequence[int]) -> dict[int, Message]:
    """Messages by the ids of their rows."""
    rows = SUMMARIES.rows(unit, ids=ids) if ids else []
    if len(rows) < len(ids) and unit.joined and unit.dialect.locking:
        rows += SUMMARIES_NOW.rows(unit, ids=sorted(set(ids) - {row[0] for row in rows}))
    known = versions.by_id(unit, {row[9] for row in rows})
    return {row[0]: _summary(row, known[row[9]].workflow) for row in rows}


def tell_stopped(unit: Unit, messages: Sequence[int], why: str) -> None:
    """Write and announce that queued messages were stopped.

    Args:
        unit: The unit that stopped them.
        messages: The ids of their rows, ascending.
        why: What stopped them.
    """
    at, rest = micros(unit.now), iter(messages)
    while chunk := list(islice(rest, CHUNK)):
        found = summaries(unit, chunk)
        told = [
            (number >> STEP_BITS, line(at, found[number].step, "message_skipped", "cancelled", {"why": why}))
            for number in chunk
        ]
        traces.append(unit, told)
        if unit.listens("message_skipped"):
            unit.effects.witnesses.append(_witness(*told[0]))
            for number in chunk:
                unit.emit(MessageSkipped.of(found[number], "cancelled"))


def step_id(workflow: Workflow[Any, ...], number: int) -> str:
    """The id of the step that a message belongs to."""
    return workflow.steps[run_and_step(number)[1]].id


def _summary(row: tuple[Any, ...], definition: Workflow[Any, ...]) -> Message:
    number, channel, status, reason, created_at, subscriber_id, key, event_id, given, _, provider = row
    return Message(
        id=text_of("msg", number),
        subscriber_id=shown(subscriber_id),
        workflow=key or definition.key,
        step=step_id(definition, number),
        channel=ChannelCode(channel).word,
        status=MessageStatus(status).word,
        reason=reason,
        provider=provider,
        transaction_id=given or text_of("txn", event_id),
        created_at=created_at,
    )


def _attempt(
    number: int,
    target: str,
    integration: str,
    outcome: int,
    status_code: int | None,
    provider_id: str | None,
    response: str | None,
    started_at: datetime,
    finished_at: datetime | None,
) -> Attempt:
    word = AttemptClass(outcome).word
    return Attempt(
        number=number,
        target=shortened(target),
        integration=integration,
        outcome=word,
        status_code=status_code,
        provider_id=provider_id,
        error=None if word == "sent" else response,
        started_at=started_at,
        finished_at=finished_at,
    )


def shortened(target: str) -> str | None:
    """A device token or address as it is shown: the middle of a long one left out, None for none."""
    return f"{target[:12]}…{target[-6:]}" if len(target) > TARGET else target or None


def _in_scope(unit: Unit, environment: int, tenant: int, scope: int | None) -> bool:
    return environment == unit.environment and scope in {None, tenant}


def _number(given: Any) -> int:
    text = given.id if isinstance(given, Message) else given
    if not isinstance(text, str):
        raise InputError(f"messages: ids of messages are expected, not {type(text).__name__}", field="messages")
    return number_of("msg", text)


def _retry(unit: Unit, ids: Sequence[int]) -> int:
    scope = scope_row(unit)
    lock_runs(unit, [number >> STEP_BITS for number in ids])
    rows = [row for row in CANDIDATES.rows(unit, ids=ids) if _in_scope(unit, row[1], row[2], scope)]
    if missing := set(ids) - {row[0] for row in rows}:
        raise NotFoundError(f"there is no message {text_of('msg', min(missing))!r}")
    final = [row for row in rows if row[3] in {MessageStatus.FAILED, MessageStatus.UNKNOWN}]
    reachable = {row[0] for row in REACHABLE.rows(unit, ids=[row[4] for row in final])} if final else set()
    again = [row[0] for row in final if row[4] in reachable]
    if again:
        REQUEUE.run(unit, ids=again)
        _enqueue(unit, again)
        _tell(unit, again)
    return len(again)


def _enqueue(unit: Unit, messages: Sequence[int]) -> None:
    """One job for each message, due now, with all its attempts before it; their numbers go on in `delivery_attempt`.

    A run that still waits for the outcome goes on waiting: the job that would let it go on has the same id, and goes.
    If another unit has it just now, it will find the message queued.
    """
    runs = sorted({number >> STEP_BITS for number in messages})
    wanted = set(messages)
    drop(unit, [(at, number) for at, number, _, owner in JOBS.rows(unit, runs=runs) if number in wanted and not owner])
    taken = {row[0] for row in OTHER_JOBS.rows(unit, runs=runs, now=unit.now)}
    columns = ("due_at", "id", "kind", "run", "message", "step", "needs", "owner", "attempt", "rescues")
    rows = []
    for number in messages:
        of, step = run_and_step(number)
        due = unit.moment(unit.now - BEFORE if number in taken else unit.now)  # (due_at, id) is the key
        rows.append((due, number, JobKind.DELIVER.value, of, number, step, "", "", 0, 0))
    insert_rows(unit, Job, columns, rows)
    unit.schedule(unit.now)


def _tell(unit: Unit, messages: Sequence[int]) -> None:
    found = summaries(unit, messages)
    at = micros(unit.now)
    told = [(number >> STEP_BITS, line(at, found[number].step, "message_retried")) for number in messages]
    traces.append(unit, told)
    unit.effects.witnesses.append(_witness(*told[0]))
    if unit.listens("message_queued"):
        for number in messages:
            unit.emit(MessageQueued(found[number]))


def _witness(number: int, text: str) -> tuple[Statement, dict[str, Any]]:
    """What finds that a run was told of, if it was."""
    return TOLD, {"id": number, "pattern": f"%{text.translate(WILD)}%"}
