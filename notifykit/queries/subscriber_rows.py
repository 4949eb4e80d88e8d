"""Subscribers in bulk: read, merged and written by the same few statements for one and for thousands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Column, bindparam, delete, select, update

from notifykit.model import Subscriber as SubscriberRow
from notifykit.model import SubscriberChannel as ChannelRow
from notifykit.model.tables import subscriber, subscriber_channel
from notifykit.queries.subscriber_fields import (
    FIELDS,
    PLACES,
    ROW,
    TOKENS,
    GivenChannel,
    GivenSubscriber,
    Row,
    merge,
    token_hash,
)
from notifykit.results import SubscriberChannel
from notifykit.store.rows import ensure_rows, renew_rows
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

COLUMNS: tuple[Column[Any], ...] = tuple(subscriber.c[name] for name in ROW)
"""The columns of a `subscriber_fields.Row`, for the statements of other rooms."""

_NAMED = select(*COLUMNS).where(
    subscriber.c.environment == bindparam("environment"), any_of(subscriber.c.subscriber_id, "keys")
)
FIND = Statement(_NAMED)
LOCK = Statement(select(*COLUMNS).where(any_of(subscriber.c.id, "ids")).order_by(subscriber.c.id).with_for_update())
UPDATE = Statement(
    update(subscriber)
    .where(subscriber.c.id == bindparam("row"))
    .values({name: bindparam(f"new_{name}", type_=subscriber.c[name].type) for name in (*FIELDS, "updated_at")})
)
_CHANNELS = select(
    subscriber_channel.c.id,
    subscriber_channel.c.subscriber,
    subscriber_channel.c.provider,
    subscriber_channel.c.integration,
    subscriber_channel.c.token_hash,
    subscriber_channel.c.credentials,
).order_by(subscriber_channel.c.id)
_OF_THESE = any_of(subscriber_channel.c.subscriber, "subscribers")
FIND_CHANNELS = Statement(_CHANNELS.where(_OF_THESE))
LOCK_CHANNELS = Statement(_CHANNELS.where(any_of(subscriber_channel.c.id, "ids")).with_for_update())
LOCK_ALL_CHANNELS = Statement(_CHANNELS.where(_OF_THESE).with_for_update())
"""Locks the gaps between them too on MariaDB, so only where all of them matter: a new device would wait."""
CHANNEL = ("subscriber", "provider", "integration", "token_hash")
DROP_CHANNELS = Statement(delete(subscriber_channel).where(any_of(subscriber_channel.c.id, "ids")))
UPDATE_CHANNEL = Statement(
    update(subscriber_channel)
    .where(subscriber_channel.c.id == bindparam("row"))
    .values(credentials=bindparam("new_credentials", type_=subscriber_channel.c.credentials.type))
)

Place = tuple[int, str, str]
"""A subscriber's id, a provider and an integration."""


@dataclass(slots=True)
class State:
    """One subscriber on its way into the database.

    Attributes:
        row: As it will be; its id is 0 until it has one.
        stored: As it is stored, or None.
        given: What is not yet saved, in order: merged anew where another process inserts the same id first.
        created: The last `save_many` inserted it.
    """

    row: Row
    stored: Row | None
    given: list[GivenSubscriber] = field(default_factory=list)
    created: bool = False

    def take(self, given: GivenSubscriber) -> None:
        """Lay what a call says over the row."""
        self.row = merge(self.row, given)
        if not given.is_bare:
            self.given.append(given)


def state_of(key: str, stored: Row | None) -> State:
    """The state of one subscriber id before anything is given."""
    return State(merge(stored, GivenSubscriber(key)), stored)


def load_many(unit: Unit, keys: Collection[str]) -> dict[str, Row]:
    """Rows by subscriber id, in the order of `COLUMNS`; unknown ids are left out."""
    if not keys:
        return {}
    return {row[1]: row for row in FIND.rows(unit, environment=unit.environment, keys=keys)}


def save_many(unit: Unit, states: Collection[State]) -> None:
    """Write what differs from what is stored; afterwards every state has its id, and is as stored.

    New rows come first, in the order of their keys, and only then are others locked, in the order of their ids: the
    other way round two processes could wait for each other. What is given is laid over the row as it is locked, so
    nothing that another process wrote since it was read is lost; a row that is gone since is made anew.
    """
    new = _insert(unit, [state for state in states if state.stored is None])
    if unit.dialect.locking:
        new += _insert(unit, _lock(unit, [state for state in states if state.given and not state.created]))
    touched = _save_channels(unit, states) - {state.row[0] for state in new if state.created}
    changed = [state for state in states if state.row != state.stored or state.row[0] in touched]
    changed.sort(key=lambda state: state.row[0])
    UPDATE.many(unit, [_changes(state.row, unit) for state in changed])
    for state in states:
        state.stored = state.row
        state.given.clear()


def channels_of(unit: Unit, subscribers: Sequence[int]) -> dict[int, tuple[SubscriberChannel, ...]]:
    """Where push and chat reach subscribers, by the ids of their rows; a provider's device tokens are in one list."""
    if not subscribers:
        return {}
    gathered: dict[Place, dict[str, Any]] = {}
    for _, pk, provider, integration, token, credentials in FIND_CHANNELS.rows(unit, subscribers=subscribers):
        place = gathered.setdefault((pk, provider, integration), {})
        tokens = place.get(TOKENS, []) + credentials.get(TOKENS, []) if token else place.get(TOKENS)
        place |= credentials
        if tokens is not None:
            place[TOKENS] = tokens
    found: dict[int, tuple[SubscriberChannel, ...]] = {}
    for (pk, provider, integration), credentials in sorted(gathered.items(), key=lambda each: each[0]):
        found[pk] = (*found.get(pk, ()), SubscriberChannel(provider, integration or None, credentials))
    return found


def _insert(unit: Unit, states: Iterable[State]) -> list[State]:
    if not (new := sorted(states, key=lambda state: state.row[1])):
        return []
    columns = ("id", "environment", "subscriber_id", *FIELDS, "created_at", "updated_at")
    now = unit.timestamp(unit.now)
    for state, number in zip(new, unit.ids(len(new)), strict=True):
        state.row, state.created = (number, *state.row[1:]), True
    rows = [(row[0], unit.environment, *row[1:-1], _json(row[-1]), now, now) for row in (state.row for state in new)]
    ensure_rows(unit, SubscriberRow, columns, rows, key=("environment", "subscriber_id"))
    there = load_many(unit, [state.row[1] for state in new]) if unit.dialect.locking else {}
    for state in new:
        found = there.get(state.row[1], state.row)
        state.stored = found
        if found[0] != state.row[0]:
            state.created, state.row = False, found
    return new


def _lock(unit: Unit, states: list[State]) -> list[State]:
    """Lock rows, and merge into them as they are now; those that are gone."""
    if not states:
        return []
    there = {row[0]: row for row in LOCK.rows(unit, ids=sorted(state.row[0] for state in states))}
    newer = [(row[0],) for state in states if (row := there.get(state.row[0])) and row != state.stored]
    renew_rows(unit, SubscriberRow, ("id",), sorted(newer))
    for state in states:
        state.stored = there.get(state.row[0])
        state.row = reduce(merge, state.given, state.stored or state_of(state.row[1], None).row)
    return [state for state in states if state.stored is None]


def _changes(row: Row, unit: Unit) -> dict[str, Any]:
    changes = {f"new_{name}": row[PLACES[name]] for name in FIELDS}
    return changes | {"row": row[0], "new_updated_at": unit.now}


@dataclass(slots=True)
class Wanted:
    """What the channels given for one place come to, in their order."""

    credentials: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, None] = field(default_factory=dict)
    cleared: bool = False
    is_base: bool = False

    def take(self, given: GivenChannel) -> None:
        """Add one given channel."""
        self.credentials |= given.credentials
        if given.tokens == ():
            self.cleared, self.tokens = True, {}
        self.tokens |= dict.fromkeys(given.tokens or ())
        self.is_base |= bool(given.credentials) or not given.tokens


def _save_channels(unit: Unit, states: Iterable[State]) -> set[int]:
    """Write the given channels: tokens united, other credentials merged by key; the subscribers that it changed."""
    wanted: dict[Place, Wanted] = {}
    for state in states:
        for given in state.given:
            for channel in given.channels:
                wanted.setdefault((state.row[0], channel.provider, channel.integration), Wanted()).take(channel)
    if not wanted:
        return set()
    rows = FIND_CHANNELS.rows(unit, subscribers=sorted({pk for pk, _, _ in wanted}))
    if unit.is_external and unit.dialect.locking:
        rows = _as_they_are(unit, rows, {pk for (pk, _, _), want in wanted.items() if want.cleared})
    stored: dict[Place, dict[str, tuple[int, dict[str, Any]]]] = {}
    for number, *place, token, credentials in rows:
        stored.setdefault((place[0], place[1], place[2]), {})[token] = (number, credentials)
    return _write_channels(unit, wanted, stored)


def _as_they_are(unit: Unit, rows: Sequence[tuple[Any, ...]], cleared: set[int]) -> list[tuple[Any, ...]]:
    """Channels of subscribers that are locked, past the snapshot of a host's transaction."""
    shown = {row[0]: row for row in rows}
    now = {row[0]: row for row in LOCK_CHANNELS.rows(unit, ids=sorted(shown))} if shown else {}
    if cleared:
        now |= {row[0]: row for row in LOCK_ALL_CHANNELS.rows(unit, subscribers=sorted(cleared))}
    newer = [(number,) for number, row in now.items() if shown.get(number) != row]
    renew_rows(unit, ChannelRow, ("id",), newer)
    return list(now.values())


def _write_channels(
    unit: Unit, wanted: dict[Place, Wanted], stored: dict[Place, dict[str, tuple[int, dict[str, Any]]]]
) -> set[int]:
    dropped: list[int] = []
    changed: list[dict[str, Any]] = []
    added: list[tuple[Any, ...]] = []
    touched: set[int] = set()
    for place, want in sorted(wanted.items()):
        there = stored.get(place, {})
        before = len(dropped) + len(changed) + len(added)
        tokens = {token_hash(token): token for token in want.tokens}
        if want.cleared:
            dropped += [number for digest, (number, _) in there.items() if digest and digest not in tokens]
        added += [(*place, digest, {TOKENS: [token]}) for digest, token in tokens.items() if digest not in there]
        if "" in there:
            number, credentials = there[""]
            if credentials | want.credentials != credentials:
                changed.append({"row": number, "new_credentials": credentials | want.credentials})
        elif want.is_base:
            added.append((*place, "", want.credentials))
        if len(dropped) + len(changed) + len(added) > before:
            touched.add(place[0])
    if dropped:
        DROP_CHANNELS.run(unit, ids=dropped)
    UPDATE_CHANNEL.many(unit, sorted(changed, key=lambda change: change["row"]))
    if added:
        rows = [(number, *row[:-1], _json(row[-1])) for number, row in zip(unit.ids(len(added)), added, strict=True)]
        rows.sort(key=lambda row: row[1:-1])
        ensure_rows(unit, ChannelRow, ("id", *CHANNEL, "credentials"), rows, key=CHANNEL)
        if unit.is_external and unit.dialect.locking:
            _merge_met(unit, {(row[1], row[2], row[3]): row[0] for row in rows if not row[4]}, wanted)
    return touched


def _merge_met(unit: Unit, added: dict[Place, int], wanted: dict[Place, Wanted]) -> None:
    """Lay credentials over those that the insert has met, which the snapshot of a host's transaction did not show."""
    found = FIND_CHANNELS.rows(unit, subscribers=sorted({pk for pk, _, _ in added})) if added else []
    changes = []
    for number, pk, provider, integration, token, credentials in found:
        place = (pk, provider, integration)
        if not token and added.get(place, number) != number:
            changes.append({"row": number, "new_credentials": credentials | wanted[place].credentials})
    UPDATE_CHANNEL.many(unit, changes)


def _json(value: Any) -> str | None:
    return None if value is None else to_json(value).decode()
