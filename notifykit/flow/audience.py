"""The audience of a chunk: who each event goes to; each subscriber, tenant and actor as of its event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sqlalchemy import bindparam, select, update

from notifykit.clock import micros
from notifykit.flow.intake import FIND_TENANTS, Request, TenantRow
from notifykit.flow.recipients import Direct, Named
from notifykit.ids import text_of
from notifykit.model.subscriber import UNLISTED
from notifykit.model.tables import subscriber, tenant, topic, topic_member
from notifykit.model.trace import line
from notifykit.model.values import Json, Topic
from notifykit.resources.subscriber_fields import GivenSubscriber, Row
from notifykit.resources.subscriber_rows import COLUMNS, State, load_many, save_many, state_of
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Unit

FIND_TOPICS = Statement(
    select(topic.c.key, topic.c.id).where(topic.c.environment == bindparam("environment"), within(topic.c.key, "keys"))
)
FIRST_MEMBERS = Statement(
    select(topic_member.c.topic, topic_member.c.subscriber)
    .where(within(topic_member.c.topic, "topics"))
    .order_by(topic_member.c.topic, topic_member.c.subscriber)
    .limit(bindparam("most"))
)
NEXT_MEMBERS = Statement(
    select(topic_member.c.subscriber, topic_member.c.topic)
    .where(within(topic_member.c.topic, "topics"), topic_member.c.subscriber > bindparam("last"))
    .order_by(topic_member.c.subscriber, topic_member.c.topic)
    .limit(bindparam("most"))
)
NEXT_OF_ONE = Statement(
    select(*COLUMNS)
    .join_from(topic_member, subscriber, subscriber.c.id == topic_member.c.subscriber)
    .where(topic_member.c.topic == bindparam("topic"), topic_member.c.subscriber > bindparam("last"))
    .order_by(topic_member.c.subscriber)
    .limit(bindparam("most"))
)
NEXT_OF_ALL = Statement(
    select(*COLUMNS)
    .where(
        subscriber.c.environment == bindparam("environment"),
        subscriber.c.id > bindparam("last"),
        subscriber.c.subscriber_id.not_like(UNLISTED + "%"),
    )
    .order_by(subscriber.c.id)
    .limit(bindparam("most"))
)
BY_ROW = Statement(select(*COLUMNS).where(within(subscriber.c.id, "ids")))
UPDATE_TENANT = Statement(
    update(tenant)
    .where(tenant.c.id == bindparam("number"))
    .values(name=bindparam("new_name"), data=bindparam("new_data"), updated_at=bindparam("now"))
)

PRELOADED = 8
"""Members read at once for all topics of a chunk, as a multiple of the chunk; larger topics go page by page."""


@dataclass(slots=True)
class Member:
    """One recipient of one event: the subscriber as of the event, and a payload of its own where it has one."""

    person: Row
    payload: Json | None = None


@dataclass(slots=True)
class People:
    """Subscribers that a chunk names, as they stand in the order of its triggers.

    Attributes:
        states: By subscriber id.
        rows: Members of small topics, by row id.
    """

    unit: Unit
    states: dict[str, State] = field(default_factory=dict)
    rows: dict[int, Row] = field(default_factory=dict)

    def load(self, requests: Sequence[Request], named: Iterable[Iterable[Named]]) -> None:
        """Read, and make where they are unknown, all subscribers that the requests name.

        A new one is inserted before anything is laid over it: whoever comes first, the row that is there counts. In a
        rehearsal it gets an id below 0 instead.
        """
        given = [one for many in named for one in many]
        actors = [request.actor for request in requests if request.actor is not None]
        keys = {one if isinstance(one, str) else one.subscriber_id for one in (*given, *actors)}
        keys |= {one.subscriber_id for request in requests for one in request.audience.addresses}
        found = load_many(self.unit, keys - self.states.keys())
        fresh = {key: state_of(key, found.get(key)) for key in keys - self.states.keys()}
        new = [state for state in fresh.values() if state.stored is None]
        if self.unit.dry:
            for at, state in enumerate(new, len(self.states) + 1):
                state.row = (-at, *state.row[1:])
        elif new:
            save_many(self.unit, new)
        self.states.update(fresh)

    def named(self, one: str | Direct | GivenSubscriber) -> Row:
        """A subscriber as of now, what is given laid over."""
        if isinstance(one, str):
            return self.states[one].row
        state = self.states[one.subscriber_id]
        given = one if isinstance(one, GivenSubscriber) else one.given
        if given is not None and not given.is_bare:
            state.take(GivenSubscriber(one.subscriber_id, given.fields, given.channels))
        return state.row

    def member(self, number: int) -> Row | None:
        """A member of a small topic as of now, by row id."""
        row = self.rows.get(number)
        state = self.states.get(row[1]) if row else None
        return row if state is None else state.row

    def save(self) -> None:
        """Write what differs from what is stored."""
        if not self.unit.dry:
            save_many(self.unit, [state for state in self.states.values() if state.given])


@dataclass(slots=True)
class Topics:
    """The topics of a chunk: ids by key, and the members of those that are small, by topic id."""

    ids: dict[str, int] = field(default_factory=dict)
    members: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def load(cls, unit: Unit, requests: Sequence[Request]) -> Topics:
        """Find the topics of the requests, and read the members of the small ones in one query."""
        keys = {one.key for request in requests for one in request.audience.topics}
        if not keys:
            return cls()
        found = cls(dict(FIND_TOPICS.rows(unit, environment=unit.environment, keys=sorted(keys))))
        if found.ids:
            most = unit.chunk * PRELOADED
            rows = FIRST_MEMBERS.rows(unit, topics=sorted(found.ids.values()), most=most)
            read = {number: [who for _, who in pairs] for number, pairs in groupby(rows, key=lambda row: row[0])}
            if len(rows) == most:
                cut = rows[-1][0]
                found.members = {number: who for number, who in read.items() if number < cut}
            else:
                found.members = {number: read.get(number, []) for number in found.ids.values()}
        return found

    def are_small(self, request: Request) -> bool:
        """Whether all members of the request's topics have been read."""
        return all(self.ids[one.key] in self.members for one in request.audience.topics if one.key in self.ids)


def load_members(unit: Unit, people: People, topics: Topics, requests: Sequence[Request]) -> None:
    """Read the rows of the members of small topics that are not known yet."""
    wanted = {who for one in _known_topics(topics, requests) for who in topics.members.get(one, ())}
    wanted -= {state.row[0] for state in people.states.values()}
    if wanted:
        people.rows = {row[0]: row for row in BY_ROW.rows(unit, ids=sorted(wanted))}
    people.rows |= {state.row[0]: state.row for state in people.states.values()}


def _known_topics(topics: Topics, requests: Sequence[Request]) -> set[int]:
    return {topics.ids[one.key] for request in requests for one in request.audience.topics if one.key in topics.ids}


def trace_topics(unit: Unit, topics: Topics, request: Request) -> None:
    """Note unknown topics on the event; they are no error (D9)."""
    for one in request.audience.topics:
        if one.key not in topics.ids:
            request.lines.append(line(micros(unit.now), None, "topic_unknown", None, {"topic": one.key}))


def address_only(requests: Sequence[Request], numbers: Iterator[int]) -> None:
    """Give addresses without a subscriber an id that nothing else can have."""
    for request in requests:
        request.audience.addresses = [
            Direct(f"{UNLISTED}{next(numbers):x}", one.given, one.payload) for one in request.audience.addresses
        ]


def small_audience(people: People, topics: Topics, request: Request, actor: int) -> list[Member]:
    """Everybody that an event of a normal size goes to; direct ones first, nobody twice."""
    audience = request.audience
    members = [
        Member(people.named(one), None if isinstance(one, str) else one.payload) for one in audience.named.values()
    ]
    members += [Member(people.named(one), one.payload) for one in audience.addresses]
    if audience.topics:
        seen = {member.person[0] for member in members}
        for one in audience.topics:
            for number in topics.members.get(topics.ids.get(one.key, 0), ()):
                person = people.member(number)
                if person is None or number in seen or number == actor or person[1] in one.exclude:
                    continue
                seen.add(number)
                members.append(Member(person))
    return members


def pages(unit: Unit, topics: Topics, request: Request, actor: int, direct: set[int]) -> Iterator[list[Member]]:
    """Topics of any size, or everyone, page by page; without the actor and those served directly."""
    source = _everyone(unit) if request.audience.everyone else _members(unit, topics, request.audience.topics)
    for page in source:
        yield [Member(person) for person in page if person[0] != actor and person[0] not in direct]


def _everyone(unit: Unit) -> Iterator[list[Row]]:
    last = 0
    while page := NEXT_OF_ALL.rows(unit, environment=unit.environment, last=last, most=unit.chunk):
        last = page[-1][0]
        yield page


def _members(unit: Unit, topics: Topics, wanted: Sequence[Topic]) -> Iterator[list[Row]]:
    """Members of topics by row id; one of several topics is there if one of them does not exclude it."""
    excluded: dict[int, set[str]] = {}
    for one in wanted:
        if one.key in topics.ids:
            number = topics.ids[one.key]
            excluded[number] = excluded[number] & set(one.exclude) if number in excluded else set(one.exclude)
    if len(excluded) == 1:
        ((number, left_out),) = excluded.items()
        yield from _members_of_one(unit, number, left_out)
    elif excluded:
        yield from _members_of_many(unit, excluded)


def _members_of_one(unit: Unit, number: int, left_out: set[str]) -> Iterator[list[Row]]:
    last = 0
    while page := NEXT_OF_ONE.rows(unit, topic=number, last=last, most=unit.chunk):
        last = page[-1][0]
        yield [person for person in page if person[1] not in left_out] if left_out else page


def _members_of_many(unit: Unit, excluded: dict[int, set[str]]) -> Iterator[list[Row]]:
    last, most = 0, max(unit.chunk, len(excluded) + 1)
    while pairs := NEXT_MEMBERS.rows(unit, topics=sorted(excluded), last=last, most=most):
        if len(pairs) == most:  # the last subscriber's topics may go on behind the page
            pairs = [pair for pair in pairs if pair[0] != pairs[-1][0]]
        last = pairs[-1][0]
        belongs = {who: {number for _, number in group} for who, group in groupby(pairs, key=lambda pair: pair[0])}
        rows = sorted(BY_ROW.rows(unit, ids=list(belongs)))
        yield [person for person in rows if any(person[1] not in excluded[number] for number in belongs[person[0]])]


@dataclass(slots=True)
class Tenants:
    """The tenants of a chunk as they stand in the order of its triggers."""

    rows: dict[str, TenantRow] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, unit: Unit, requests: Sequence[Request]) -> Tenants:
        """Read the tenants that the requests name."""
        keys = {request.tenant[0] for request in requests if request.tenant}
        if not keys:
            return cls()
        rows = FIND_TENANTS.rows(unit, environment=unit.environment, keys=sorted(keys))
        return cls({key: TenantRow(number, key, name, data) for key, number, name, data in rows})

    def of(self, request: Request) -> TenantRow | None:
        """The tenant of an event, what it gives laid over."""
        if request.tenant is None:
            return None
        identifier, changes = request.tenant
        row = self.rows[identifier]
        if any(getattr(row, name) != value for name, value in changes.items()):
            row = self.rows[identifier] = TenantRow(
                row.id, identifier, changes.get("name", row.name), changes.get("data", row.data)
            )
            self.changed.add(identifier)
        return row

    def save(self, unit: Unit) -> None:
        """Write those that were changed."""
        rows = [self.rows[key] for key in sorted(self.changed)]
        UPDATE_TENANT.many(
            unit, [{"number": row.id, "new_name": row.name, "new_data": row.data, "now": unit.now} for row in rows]
        )
        self.changed.clear()


def shown_transaction(request: Request) -> str:
    """The transaction id of a stored request, as it is shown outside."""
    return request.transaction_id or text_of("txn", request.event)
