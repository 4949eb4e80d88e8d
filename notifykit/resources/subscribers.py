"""Subscribers: people (and things) that can be told something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import bindparam, delete, select

from notifykit.errors import InputError, NotFoundError
from notifykit.lifecycle.runs import SUBSCRIBER_DELETED, end_runs
from notifykit.model.subscriber import EPHEMERAL
from notifykit.model.tables import preference, subscriber, subscriber_channel, topic_member
from notifykit.model.values import UNSET, Json, Unset
from notifykit.queries.references import ABSENT, key_text, subscriber_row
from notifykit.queries.subscriber_fields import GivenSubscriber, parse, parse_many
from notifykit.queries.subscriber_rows import COLUMNS, State, channels_of, load_many, save_many, state_of
from notifykit.resources.pages import Listing, in_order, pages
from notifykit.results import BulkUpsert, Page, Problem, Subscriber
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Namespace, Unit, query, verb

CHUNK = 1000
"""Subscribers of a bulk that are written together."""

LOAD = Statement(
    select(*COLUMNS, subscriber.c.created_at, subscriber.c.updated_at).where(any_of(subscriber.c.id, "ids"))
)
LISTING = Listing(
    subscriber,
    (subscriber.c.created_at, subscriber.c.id),
    {
        "environment": subscriber.c.environment == bindparam("environment"),
        "listed": subscriber.c.subscriber_id.not_like(EPHEMERAL + "%"),
    },
)
LOCK = Statement(
    select(subscriber.c.id)
    .where(subscriber.c.environment == bindparam("environment"), subscriber.c.subscriber_id == bindparam("key"))
    .with_for_update()
)
FORGET = tuple(
    Statement(delete(column.table).where(column == bindparam("row")))
    for column in (topic_member.c.subscriber, subscriber_channel.c.subscriber, preference.c.subject, subscriber.c.id)
)
"""What goes with a subscriber, and the subscriber."""


class Subscribers(Namespace):
    """People (and things) that can be told something."""

    @verb
    def upsert(
        self,
        subscriber_id: str,
        *,
        email: str | Unset | None = UNSET,
        phone: str | Unset | None = UNSET,
        first_name: str | Unset | None = UNSET,
        last_name: str | Unset | None = UNSET,
        avatar: str | Unset | None = UNSET,
        locale: str | Unset | None = UNSET,
        timezone: str | Unset | None = UNSET,
        data: Json | Unset | None = UNSET,
        channels: Iterable[Json] | Unset = UNSET,
    ) -> Subscriber:
        """Create or update a subscriber. Left out keeps, `None` clears.

        Args:
            subscriber_id: The host's own id of the subscriber: 1 to 255 characters, trimmed.
            email: Where e-mail goes: one `local@domain`.
            phone: Where SMS goes.
            first_name: Given name.
            last_name: Family name.
            avatar: URL of a picture.
            locale: Such as `en_GB`.
            timezone: Such as `Europe/Paris`.
            data: Facts of the host's own; replaces what is stored as a whole.
            channels: Push and chat addresses: `{"provider": ..., "credentials": {...}}`, with an `integration` if the
                provider has several. Credentials are merged by key, device tokens added; an empty list of them clears.

        Returns:
            The subscriber as stored.

        Raises:
            InputError: A value is refused; nothing is written.

        Example:
            ```python
            notify.subscribers.upsert("ada", email="ada@example.com", first_name="Ada")
            ```
        """
        facts = {
            "email": email,
            "phone": phone,
            "first_name": first_name,
            "last_name": last_name,
            "avatar": avatar,
            "locale": locale,
            "timezone": timezone,
            "data": data,
            "channels": channels,
        }
        (state,) = _save(self.unit, [parse(subscriber_id, facts)]).values()
        return _load(self.unit, [state.row[0]])[0]

    @verb
    def bulk_upsert(self, subscribers: Iterable[Json]) -> BulkUpsert:
        """Create or update many in one transaction.

        Args:
            subscribers: Mappings as in a trigger request: `subscriberId` or `subscriber_id`, and fields in either
                spelling. Null clears `email` and keeps every other field. A repeated id is created, then updated.

        Returns:
            How many were created and updated, and by position those with a bad value, which are left out.

        Example:
            ```python
            notify.subscribers.bulk_upsert([{"subscriberId": "ada", "email": "ada@example.com"}])
            ```
        """
        created = updated = 0
        failed: dict[int, Problem] = {}
        rest, start = _iterated(subscribers), 0
        while chunk := list(islice(rest, CHUNK)):
            found = parse_many(chunk)
            failed |= {start + at: bad[0] for at, bad in enumerate(found) if isinstance(bad, list)}
            good = [each for each in found if isinstance(each, GivenSubscriber)]
            fresh = sum(state.created for state in _save(self.unit, good).values())
            created, updated, start = created + fresh, updated + len(good) - fresh, start + len(chunk)
        return BulkUpsert(created, updated, failed)

    @query
    def get(self, subscriber_id: str) -> Subscriber:
        """One subscriber.

        Raises:
            NotFoundError: There is none with this id.
        """
        found = self.find(subscriber_id)
        if found is None:
            raise NotFoundError(f"there is no subscriber {subscriber_id!r}")
        return found

    @query
    def find(self, subscriber_id: str) -> Subscriber | None:
        """One subscriber, or None."""
        number = subscriber_row(self.unit, key_text(subscriber_id, "subscriber_id"))
        return None if number == ABSENT else _load(self.unit, [number])[0]

    @query
    def list(self, *, limit: int = 50, after: str | None = None, total: bool = False) -> Page[Subscriber]:
        """One page, newest first.

        Args:
            limit: Subscribers of the page, 1 to 1000.
            after: `next` or `previous` of an earlier page.
            total: Count all subscribers too.
        """
        unit = self.unit
        return LISTING.page(
            unit,
            lambda ids: _load(unit, ids),
            limit=limit,
            after=after,
            total=total,
            environment=unit.environment,
            listed=True,
        )

    def each(self) -> Iterator[Subscriber]:
        """Every subscriber, newest first, read page by page."""
        return pages(self.list)

    @verb
    def delete(self, subscriber_id: str) -> None:
        """Delete a subscriber with memberships, preferences and channels; open runs end as cancelled.

        Messages stay as history, without a subscriber and outside every inbox.

        Raises:
            NotFoundError: There is none with this id.
        """
        unit = self.unit
        found = LOCK.row(unit, environment=unit.environment, key=key_text(subscriber_id, "subscriber_id"))
        if found is None:
            raise NotFoundError(f"there is no subscriber {subscriber_id!r}")
        (number,) = found
        end_runs(unit, reason=SUBSCRIBER_DELETED, subscriber=number)
        for statement in FORGET:
            statement.run(unit, row=number)
        unit.stop(subscribers=[number])


def _iterated(subscribers: Any) -> Iterator[Any]:
    if isinstance(subscribers, (str, bytes, Mapping)) or not isinstance(subscribers, Iterable):
        raise InputError("subscribers: mappings in a list or another iterable are expected", field="subscribers")
    return iter(subscribers)


def _save(unit: Unit, given: Sequence[GivenSubscriber]) -> dict[str, State]:
    keys = {each.subscriber_id for each in given}
    stored = load_many(unit, keys)
    states = {key: state_of(key, stored.get(key)) for key in keys}
    for each in given:
        states[each.subscriber_id].take(each)
    save_many(unit, states.values())
    return states


def _load(unit: Unit, ids: Sequence[int]) -> list[Subscriber]:
    """Subscribers by the ids of their rows, in that order."""
    rows = {row[0]: row for row in LOAD.rows(unit, ids=ids)}
    channels = channels_of(unit, ids)
    return [_subscriber(row, channels.get(row[0], ())) for row in in_order(ids, rows)]


def _subscriber(row: tuple[Any, ...], channels: tuple[Any, ...]) -> Subscriber:
    _, key, email, phone, first_name, last_name, avatar, locale, timezone, data, created_at, updated_at = row
    return Subscriber(
        subscriber_id=key,
        email=email,
        phone=phone,
        first_name=first_name,
        last_name=last_name,
        avatar=avatar,
        locale=locale,
        timezone=timezone,
        data=data or {},
        channels=channels,
        created_at=created_at,
        updated_at=updated_at,
    )
