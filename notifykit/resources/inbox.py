"""The inbox of one subscriber: in-app messages, what was read of them, and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    bindparam,
    func,
    literal_column,
    select,
)

from notifykit.errors import InputError, NotFoundError, nearest
from notifykit.ids import decode_id, encode_id, transaction_id
from notifykit.model.subscriber import public_id
from notifykit.model.tables import content, event, message, run, subscriber, tenant
from notifykit.model.values import M, Who
from notifykit.queries import versions
from notifykit.queries.messages import RUN, step_id
from notifykit.queries.references import (
    ABSENT,
    as_list,
    scope_row,
    subscriber_key,
    subscriber_row,
    workflow_key,
    workflow_row,
)
from notifykit.resources.marks import ARCHIVED, CHUNK, IN_APP, MARKS, MINE, READ, SCOPED, SCOPES, SEEN, mark
from notifykit.resources.pages import Listing, in_order
from notifykit.results import InboxMessage, Page
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Namespace, Unit, UnitSource, query, verb
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import StoredVersion

Mark = Literal["read", "unread", "seen", "unseen", "archived", "unarchived"]
MarkAll = Literal["read", "unread", "seen", "unseen", "archived"]

UNREAD = (READ.is_(None), ARCHIVED.is_(None))
UNSEEN = (SEEN.is_(None), ARCHIVED.is_(None))

LISTING = Listing(
    message,
    (message.c.feed_at, message.c.id),
    {
        "subscriber": message.c.subscriber == bindparam("subscriber"),
        "in_app": IN_APP,
        "tenant": SCOPED,
        "workflow": message.c.workflow == bindparam("workflow"),
        "read": READ.is_not(None),
        "unread": READ.is_(None),
        "seen": SEEN.is_not(None),
        "unseen": SEEN.is_(None),
        "archived": ARCHIVED.is_not(None),
        "unarchived": ARCHIVED.is_(None),
    },
)

ACTOR = subscriber.alias("actor")
LOAD = Statement(
    select(
        message.c.id,
        message.c.subject,
        message.c.body,
        message.c.cta,
        message.c.data,
        message.c.content,
        content.c.subject,
        content.c.body,
        content.c.cta,
        content.c.data,
        run.c.payload,
        event.c.payload,
        event.c.id,
        event.c.transaction_id,
        event.c.version,
        ACTOR.c.subscriber_id,
        ACTOR.c.first_name,
        ACTOR.c.last_name,
        ACTOR.c.avatar,
        tenant.c.identifier,
        message.c.seen_at,
        message.c.read_at,
        message.c.archived_at,
        message.c.created_at,
    )
    .select_from(message)
    .join(run, run.c.id == RUN)
    .join(event, event.c.id == run.c.event)
    .outerjoin(content, content.c.id == message.c.content)
    .outerjoin(ACTOR, ACTOR.c.id == event.c.actor)
    .outerjoin(tenant, tenant.c.id == message.c.tenant)
    .where(any_of(message.c.id, "ids"))
)


def _counting(*state: ColumnElement[bool], capped: bool) -> Select[Any]:
    rows: Select[Any] = select(literal_column("1")).select_from(message).where(*MINE, *state)
    if not capped:
        return rows.with_only_columns(func.count(), maintain_column_froms=True)
    return select(func.count()).select_from(rows.limit(bindparam("cap", type_=Integer)).subquery())


COUNTS = {
    (state, capped, scoped): Statement(_counting(*conditions, *only, capped=capped))
    for state, conditions in (("unread", UNREAD), ("unseen", UNSEEN))
    for capped in (False, True)
    for scoped, only in SCOPES.items()
}


class Inbox(Namespace):
    """The in-app messages of one subscriber, of one tenant inside `scoped(tenant=)`; none for an unknown subscriber."""

    def __init__(self, context: UnitSource | None, subscriber: Who) -> None:
        """Stand somewhere.

        Args:
            context: Where units come from.
            subscriber: Whose inbox: a subscriber id or an object with a `subscriber_id`.

        Raises:
            InputError: It is neither.
        """
        super().__init__(context)
        self.subscriber_id = subscriber_key(subscriber)

    @query
    def list(
        self,
        *,
        workflow: Workflow[M, ...] | str | None = None,
        read: bool | None = None,
        seen: bool | None = None,
        archived: bool = False,
        limit: int = 20,
        after: str | None = None,
    ) -> Page[InboxMessage[M]]:
        """One page of the inbox, newest first; later messages do not move it.

        Args:
            workflow: Of this workflow; a definition with a model makes the payloads that model.
            read: Only what was read, or only what is unread.
            seen: Only what was seen, or only what is unseen.
            archived: What was archived, instead of what was not.
            limit: Messages of the page, 1 to 1000.
            after: `next` or `previous` of an earlier page.

        Raises:
            InputError: What is unread and archived is asked for, or a filter, the limit or the cursor is bad.
            PayloadError: A stored payload does not fit the definition's model; list without it.

        Example:
            ```python
            for message in notify.inbox("ada").list(workflow=shipped, read=False):
                print(message.body, message.payload.order)
            ```
        """
        if archived and read is False:
            raise InputError("read: archiving implies reading, so nothing is both unread and archived", field="read")
        unit = self.unit
        definition = workflow if isinstance(workflow, Workflow) else None
        return LISTING.page(
            unit,
            lambda ids: _load(unit, ids, definition),
            limit=limit,
            after=after,
            subscriber=subscriber_row(unit, self.subscriber_id),
            in_app=True,
            tenant=scope_row(unit),
            workflow=None if workflow is None else workflow_row(unit, workflow_key(workflow)),
            **_state("read", "unread", read),
            **_state("seen", "unseen", seen),
            **_state("archived", "unarchived", archived),
        )

    @query
    def unread_count(self, *, cap: int | None = None) -> int:
        """How many are unread and not archived.

        Args:
            cap: Stop counting there: an inbox that shows `99+` needs no more.
        """
        return self._count("unread", cap)

    @query
    def unseen_count(self, *, cap: int | None = None) -> int:
        """How many are unseen and not archived.

        Args:
            cap: Stop counting there.
        """
        return self._count("unseen", cap)

    @verb
    def mark(self, how: Mark, messages: str | Iterable[str]) -> int:
        """Mark messages.

        Reading implies seeing, archiving both; marking unread takes a message out of the archive.

        Args:
            how: `read`, `unread`, `seen`, `unseen`, `archived` or `unarchived`.
            messages: Ids; those that are not in this inbox are ignored.

        Returns:
            How many changed.

        Example:
            ```python
            notify.inbox("ada").mark("read", message.id)
            ```
        """
        _check(how, MARKS)
        given = list(dict.fromkeys(_numbers(messages)))
        scope = self._scope()
        ids, changed = iter(given), 0
        while scope and (chunk := list(islice(ids, CHUNK))):
            changed += mark(self.unit, how, scope | {"ids": chunk})
        return changed

    @verb
    def mark_all(self, how: MarkAll) -> int:
        """Mark everything that is not archived.

        Args:
            how: `read`, `unread`, `seen`, `unseen` or `archived`.

        Returns:
            How many changed.
        """
        _check(how, [name for name in MARKS if name != "unarchived"])
        scope = self._scope()
        return mark(self.unit, how, scope) if scope else 0

    def _count(self, state: str, cap: Any) -> int:
        if cap is not None and (not isinstance(cap, int) or isinstance(cap, bool) or cap < 1):
            raise InputError(f"cap: a number from 1 on is expected, not {cap!r}", field="cap")
        scope = self._scope()
        if not scope:
            return 0
        found = COUNTS[state, cap is not None, "tenant" in scope].row(self.unit, cap=cap, **scope)
        return int(found[0]) if found else 0

    def _scope(self) -> dict[str, Any]:
        """Whose messages, and of which tenant; empty where there can be none."""
        scope = {"subscriber": subscriber_row(self.unit, self.subscriber_id)}
        if (of := scope_row(self.unit)) is not None:
            scope["tenant"] = of
        return {} if ABSENT in scope.values() else scope


def _state(yes: str, no: str, wanted: bool | None) -> dict[str, bool]:
    if wanted is not None and not isinstance(wanted, bool):
        raise InputError(f"{yes}: True, False or None is expected, not {wanted!r:.40}", field=yes)
    return {} if wanted is None else {yes if wanted else no: True}


def _check(how: str, valid: Iterable[str]) -> None:
    if how not in valid:
        raise InputError(f"how: {how!r} is not a way to mark messages.{nearest(str(how), valid)}", field="how")


def _numbers(messages: Any) -> Iterator[int]:
    for text in as_list(messages):
        if not isinstance(text, str):
            raise InputError(f"messages: ids of messages are expected, not {type(text).__name__}", field="messages")
        try:
            yield decode_id("msg", text)
        except NotFoundError:
            continue


def _load(unit: Unit, ids: Sequence[int], definition: Workflow[Any, ...] | None) -> list[InboxMessage[Any]]:
    """Messages by the ids of their rows, in that order."""
    rows = LOAD.rows(unit, ids=ids)
    known = versions.by_id(unit, {row[14] for row in rows})
    return in_order(ids, {row[0]: _message(row, known[row[14]], definition) for row in rows})


def _message(row: tuple[Any, ...], version: StoredVersion, definition: Workflow[Any, ...] | None) -> InboxMessage[Any]:
    number, *own, shared = row[:6]
    subject, body, cta, data = row[6:10] if shared else own
    payload = row[10] if row[10] is not None else row[11]
    event_id, given = row[12:14]
    links = cta or {}
    redirect = links.get("redirect") or {}
    identifier, seen_at, read_at, archived_at, created_at = row[19:]
    return InboxMessage(
        id=encode_id("msg", number),
        subject=subject,
        body=body or "",
        payload=payload if definition is None else definition.deserialize(payload),
        data=data or {},
        transaction_id=transaction_id(given, event_id),
        workflow=version.workflow.key,
        step=step_id(version.workflow, number),
        tags=tuple(version.workflow.tags),
        actor=_actor(*row[15:19]),
        tenant=identifier,
        redirect=redirect.get("url"),
        redirect_target=redirect.get("target"),
        primary=links.get("primary"),
        secondary=links.get("secondary"),
        seen_at=seen_at,
        read_at=read_at,
        archived_at=archived_at,
        created_at=created_at,
    )


def _actor(key: str | None, first_name: str | None, last_name: str | None, avatar: str | None) -> dict[str, Any] | None:
    if key is None:
        return None
    name = " ".join(filter(None, (first_name, last_name)))
    return {"subscriber_id": public_id(key), "name": name or None, "avatar": avatar}
