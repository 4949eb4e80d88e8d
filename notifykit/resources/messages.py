"""Messages: what channel steps produced, what they said, and every attempt to send them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import bindparam, select

from notifykit.errors import InputError, NotFoundError
from notifykit.ids import decode_id
from notifykit.lifecycle.retrying import retry
from notifykit.model.codes import AttemptClass, Channel, MessageStatus
from notifykit.model.tables import content, delivery_attempt, message, run
from notifykit.model.values import Who
from notifykit.queries.messages import of_run, summaries
from notifykit.queries.references import (
    as_list,
    channel_code,
    event_row,
    in_scope,
    require_aware,
    scope_row,
    status_codes,
    subscriber_key,
    subscriber_row,
    workflow_key,
    workflow_row,
)
from notifykit.resources.pages import Listing, in_order, pages
from notifykit.results import Attempt, Message, MessageDetails, Page
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Namespace, query, verb
from notifykit.workflow.definition import Workflow

CHUNK = 1000
"""Messages that are changed together."""
TARGET = 24
"""Characters of an attempt's target that are shown whole."""


_FROM_RUNS = run.join(message, of_run(run, message.c.id))
LISTING = Listing(
    message,
    (message.c.id,),
    {
        "environment": message.c.environment == bindparam("environment"),
        "tenant": message.c.tenant == bindparam("tenant"),
        "status": any_of(message.c.status, "status"),
        "channel": message.c.channel == bindparam("channel"),
        "workflow": message.c.workflow == bindparam("workflow"),
        "since": message.c.created_at >= bindparam("since"),
        "subscriber": run.c.subscriber == bindparam("subscriber"),
        "event": run.c.event == bindparam("event"),
    },
    through={"subscriber": _FROM_RUNS, "event": _FROM_RUNS},
)
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


class Messages(Namespace):
    """What channel steps produced. A notifier with a tenant's scope sees that tenant's messages only."""

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
            since=None if since is None else require_aware(since, "since"),
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
        unit, number = self.unit, decode_id("msg", message_id)
        said = SAID.row(unit, number=number)
        if said is None or not in_scope(unit, said[0], said[1], scope_row(unit)):
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
        ids = iter(sorted({_number(each) for each in as_list(messages)}))
        queued = 0
        while chunk := list(islice(ids, CHUNK)):
            queued += retry(self.unit, chunk)
        return queued


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


def _number(given: Any) -> int:
    text = given.id if isinstance(given, Message) else given
    if not isinstance(text, str):
        raise InputError(f"messages: ids of messages are expected, not {type(text).__name__}", field="messages")
    return decode_id("msg", text)
