"""Topics: named groups of subscribers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

from sqlalchemy import bindparam, delete, func, select

from notifykit.errors import ConflictError, NotFoundError
from notifykit.model import Topic as TopicRow
from notifykit.model import TopicMember
from notifykit.model.subscriber import EPHEMERAL
from notifykit.model.tables import subscriber, topic, topic_member
from notifykit.model.values import Who
from notifykit.queries.references import as_list, key_text, subscriber_key
from notifykit.resources.pages import Listing, in_order, pages
from notifykit.results import Page, TopicDetails
from notifykit.store.rows import ensure_rows
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Namespace, Unit, query, verb

CHUNK = 5000
"""Ids that are looked up together."""

FIND = Statement(
    select(topic.c.id)
    .where(topic.c.environment == bindparam("environment"), topic.c.key == bindparam("key"))
    .with_for_update()
)
"""Locks the topic: members are not added to one that is being deleted."""
LOOK = Statement(
    select(topic.c.id).where(topic.c.environment == bindparam("environment"), topic.c.key == bindparam("key"))
)
LOAD = Statement(
    select(
        topic.c.id,
        topic.c.key,
        topic.c.name,
        select(func.count()).select_from(topic_member).where(topic_member.c.topic == topic.c.id).scalar_subquery(),
        topic.c.created_at,
    ).where(any_of(topic.c.id, "ids"))
)
KNOWN = Statement(
    select(subscriber.c.subscriber_id, subscriber.c.id).where(
        subscriber.c.environment == bindparam("environment"), any_of(subscriber.c.subscriber_id, "keys")
    )
)
REMOVE = Statement(
    delete(topic_member).where(
        topic_member.c.topic == bindparam("row"), any_of(topic_member.c.subscriber, "subscribers")
    )
)
EMPTY = Statement(delete(topic_member).where(topic_member.c.topic == bindparam("row")))
DROP = Statement(delete(topic).where(topic.c.id == bindparam("row")))
LISTING = Listing(
    topic, (topic.c.created_at, topic.c.id), {"environment": topic.c.environment == bindparam("environment")}
)
NAMES = Statement(select(subscriber.c.id, subscriber.c.subscriber_id).where(any_of(subscriber.c.id, "ids")))
MEMBERS = Listing(topic_member, (topic_member.c.subscriber,), {"topic": topic_member.c.topic == bindparam("topic")})


class Topics(Namespace):
    """Named groups of subscribers."""

    @verb
    def create(self, key: str, *, name: str | None = None) -> None:
        """Create a topic.

        Args:
            key: 1 to 255 characters, trimmed.
            name: For people.

        Raises:
            ConflictError: The key exists.
        """
        text = key_text(key, "key")
        label = None if name is None else key_text(name, "name")
        if not _create(self.unit, text, label)[1]:
            raise ConflictError(f"there is a topic {text!r} already")

    @verb
    def add(self, key: str, subscribers: Iterable[Who]) -> Mapping[Literal["added", "failed"], Sequence[str]]:
        """Add members; an unknown topic is created if at least one of them is a known subscriber.

        Args:
            key: The topic's key.
            subscribers: Subscriber ids, or objects with a `subscriber_id`.

        Returns:
            Under `added` who is a member now, under `failed` who is no known subscriber.

        Example:
            ```python
            notify.topics.add("newsletter", ["ada", "grace"])
            ```
        """
        text = key_text(key, "key")
        added: list[str] = []
        failed: list[str] = []
        row: int | None = None
        for keys in _chunks(subscribers):
            known = dict(KNOWN.rows(self.unit, environment=self.unit.environment, keys=keys))
            added += [each for each in keys if each in known]
            failed += [each for each in keys if each not in known]
            if known:
                row = row or _create(self.unit, text, None)[0]
                rows = [(row, number) for number in sorted(known.values())]
                key_columns = ("topic", "subscriber")
                ensure_rows(self.unit, TopicMember, key_columns, rows, key=key_columns)
        return {"added": added, "failed": failed}

    @verb
    def remove(self, key: str, subscribers: Iterable[Who]) -> int:
        """Remove members; who is none is ignored.

        Returns:
            How many memberships ended.

        Raises:
            NotFoundError: There is no such topic.
        """
        row, removed = _existing(self.unit, key), 0
        for keys in _chunks(subscribers):
            known = [pk for _, pk in KNOWN.rows(self.unit, environment=self.unit.environment, keys=keys)]
            removed += REMOVE.run(self.unit, row=row, subscribers=known) if known else 0
        return removed

    @query
    def get(self, key: str) -> TopicDetails:
        """One topic.

        Raises:
            NotFoundError: There is none with this key.
        """
        return _load(self.unit, [_existing(self.unit, key, LOOK)])[0]

    @query
    def list(self, *, limit: int = 50, after: str | None = None) -> Page[TopicDetails]:
        """One page, newest first.

        Args:
            limit: Topics of the page, 1 to 1000.
            after: `next` or `previous` of an earlier page.
        """
        unit = self.unit
        return LISTING.page(unit, lambda ids: _load(unit, ids), limit=limit, after=after, environment=unit.environment)

    def members(self, key: str) -> Iterator[str]:
        """Every member's subscriber id, read page by page.

        Raises:
            NotFoundError: There is no such topic; raised by the first step of the iteration.
        """
        return pages(self.member_page, key=key)

    @query
    def member_page(self, key: str, *, limit: int = 50, after: str | None = None) -> Page[str]:
        """One page of the members' subscriber ids.

        Args:
            key: The topic's key.
            limit: Members of the page, 1 to 1000.
            after: `next` or `previous` of an earlier page.

        Raises:
            NotFoundError: There is no such topic.
        """
        unit, row = self.unit, _existing(self.unit, key, LOOK)
        return MEMBERS.page(unit, lambda ids: _names(unit, ids), limit=limit, after=after, topic=row)

    @verb
    def delete(self, key: str) -> None:
        """Delete a topic and its memberships.

        Raises:
            NotFoundError: There is no such topic.
        """
        row = _existing(self.unit, key)
        EMPTY.run(self.unit, row=row)
        DROP.run(self.unit, row=row)


def _existing(unit: Unit, key: str, find: Statement = FIND) -> int:
    text = key_text(key, "key")
    found = find.row(unit, environment=unit.environment, key=text)
    if found is None:
        raise NotFoundError(f"there is no topic {text!r}")
    return int(found[0])


def _create(unit: Unit, key: str, name: str | None) -> tuple[int, bool]:
    """The id of a topic, and whether it is new."""
    whose = {"environment": unit.environment, "key": key}
    if LOOK.row(unit, **whose) and (found := FIND.row(unit, **whose)):  # the first one may show what is gone since
        return int(found[0]), False
    columns = ("id", "environment", "key", "name", "created_at")
    (number,) = unit.ids(1)
    row = (number, unit.environment, key, name, unit.timestamp(unit.now))
    ensure_rows(unit, TopicRow, columns, [row], key=("environment", "key"))
    there = _existing(unit, key)
    return there, there == number


def _chunks(subscribers: Iterable[Who]) -> Iterator[list[str]]:
    """Distinct subscriber ids in the order given."""
    rest = iter(dict.fromkeys(subscriber_key(who, f"subscribers.{at}") for at, who in enumerate(as_list(subscribers))))
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _load(unit: Unit, ids: Sequence[int]) -> list[TopicDetails]:
    rows = {number: TopicDetails(*cells) for number, *cells in LOAD.rows(unit, ids=ids)}
    return in_order(ids, rows)


def _names(unit: Unit, ids: Sequence[int]) -> list[str]:
    names: dict[int, Any] = dict(NAMES.rows(unit, ids=ids))
    return [names[number] for number in ids if number in names and not names[number].startswith(EPHEMERAL)]
