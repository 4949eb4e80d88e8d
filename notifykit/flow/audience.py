"""The audience of a chunk: who each event goes to; each subscriber, tenant and actor as of its event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import bindparam, select

from notifykit.clock import micros
from notifykit.flow.pending_trigger import Direct, Named, PendingTrigger
from notifykit.flow.run_columns import EventContext, RunColumns
from notifykit.model.subscriber import EPHEMERAL
from notifykit.model.tables import subscriber, topic, topic_member
from notifykit.model.trace import line
from notifykit.model.values import Topic
from notifykit.queries.subscriber_fields import GivenSubscriber, Row
from notifykit.queries.subscriber_rows import COLUMNS, State, load_many, save_many, state_of
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

FIND_TOPICS = Statement(
    select(topic.c.key, topic.c.id).where(topic.c.environment == bindparam("environment"), any_of(topic.c.key, "keys"))
)
FIRST_MEMBERS = Statement(
    select(topic_member.c.topic, topic_member.c.subscriber)
    .where(any_of(topic_member.c.topic, "topics"))
    .order_by(topic_member.c.topic, topic_member.c.subscriber)
    .limit(bindparam("most"))
)
NEXT_MEMBERS = Statement(
    select(topic_member.c.subscriber, topic_member.c.topic)
    .where(any_of(topic_member.c.topic, "topics"), topic_member.c.subscriber > bindparam("last"))
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
NEXT_IDS_OF_ONE = Statement(
    select(topic_member.c.subscriber)
    .where(topic_member.c.topic == bindparam("topic"), topic_member.c.subscriber > bindparam("last"))
    .order_by(topic_member.c.subscriber)
    .limit(bindparam("most"))
)
NEXT_OF_ALL = Statement(
    select(*COLUMNS)
    .where(
        subscriber.c.environment == bindparam("environment"),
        subscriber.c.id > bindparam("last"),
        subscriber.c.subscriber_id.not_like(EPHEMERAL + "%"),
    )
    .order_by(subscriber.c.id)
    .limit(bindparam("most"))
)
BY_ROW = Statement(select(*COLUMNS).where(any_of(subscriber.c.id, "ids")))

PRELOADED = 8
"""Members read at once for all topics of a chunk, as a multiple of the chunk; larger topics go page by page."""


@dataclass(slots=True)
class SubscriberSet:
    """Subscribers that a batch names, as they stand in the order of its triggers.

    Attributes:
        rows: By subscriber id.
        members: Members of small topics as they are stored, by row id.
        states: Of those that something was given of.
    """

    unit: Unit
    rows: dict[str, Row] = field(default_factory=dict)
    members: dict[int, Row] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)

    def load(self, requests: Sequence[PendingTrigger], named: Iterable[Iterable[Named]]) -> None:
        """Read, and make where they are unknown, all subscribers that the requests name.

        A new one is inserted before anything is laid over it: whoever comes first, the row that is there counts. In a
        rehearsal it gets an id below 0 instead.
        """
        keys: set[str] = set()
        given: list[Direct | GivenSubscriber] = []
        for many in named:
            for one in many:
                keys.add(one) if isinstance(one, str) else given.append(one)
        for request in requests:
            if request.actor is not None:
                keys.add(request.actor) if isinstance(request.actor, str) else given.append(request.actor)
        keys.update(one.subscriber_id for one in given)
        merging = {one.subscriber_id for one in given if _gives(one)}
        self.rows = load_many(self.unit, keys)
        self._make(sorted(keys - self.rows.keys()))
        for key in merging:
            self.states[key] = state_of(key, self.rows[key])

    def _make(self, keys: Sequence[str]) -> None:
        new = [state_of(key, None) for key in keys]
        if self.unit.dry:
            for at, state in enumerate(new, 1):
                state.row = (-at, *state.row[1:])
        elif new:
            save_many(self.unit, new)
        self.rows.update((state.row[1], state.row) for state in new)

    def take(self, one: Direct | GivenSubscriber) -> Row:
        """A subscriber as of now, what is given laid over."""
        given = one if isinstance(one, GivenSubscriber) else one.given
        if given is not None and not given.is_bare:
            state = self.states[one.subscriber_id]
            state.take(GivenSubscriber(one.subscriber_id, given.fields, given.channels))
            self.rows[one.subscriber_id] = state.row
        return self.rows[one.subscriber_id]

    def actor(self, request: PendingTrigger) -> Row | None:
        """The actor of an event as of now, what is given laid over."""
        actor = request.actor
        if actor is None:
            return None
        return self.rows[actor] if isinstance(actor, str) else self.take(actor)

    def save(self) -> None:
        """Write what differs from what is stored."""
        if self.states and not self.unit.dry:
            save_many(self.unit, [state for state in self.states.values() if state.given])


def _gives(one: Direct | GivenSubscriber) -> bool:
    given = one if isinstance(one, GivenSubscriber) else one.given
    return given is not None and not given.is_bare


def given_devices(request: PendingTrigger) -> set[str]:
    """The ids of those whom a request gives addresses for push or chat."""
    given = [one.given for one in request.audience.named.values() if not isinstance(one, str)]
    if isinstance(request.actor, GivenSubscriber):
        given.append(request.actor)
    return {one.subscriber_id for one in given if one is not None and one.channels}


class KnownTopic(NamedTuple):
    """A topic that a request names.

    Attributes:
        id: The topic's row.
        exclude: Subscriber ids that are left out of it.
        members: The rows of those in it, as far as they have been read.
    """

    id: int
    exclude: Sequence[str]
    members: list[int]


class AudiencePage(NamedTuple):
    """Some people of a large audience.

    Attributes:
        people: Their rows.
        topics: By which topic each came, 0 for none.
    """

    people: list[Row]
    topics: list[int]


@dataclass(slots=True)
class TopicMembers:
    """The topics of a chunk: ids by key, and the members of those that are small, by topic id."""

    ids: dict[str, int] = field(default_factory=dict)
    members: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def load(cls, unit: Unit, requests: Sequence[PendingTrigger]) -> TopicMembers:
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

    def are_small(self, request: PendingTrigger) -> bool:
        """Whether all members of the request's topics have been read."""
        return all(self.ids[one.key] in self.members for one in request.audience.topics if one.key in self.ids)

    def of(self, request: PendingTrigger) -> list[KnownTopic]:
        """The known topics of a request with the members that have been read."""
        known = [(self.ids[one.key], one) for one in request.audience.topics if one.key in self.ids]
        return [KnownTopic(number, one.exclude, self.members.get(number, [])) for number, one in known]


def load_members(
    unit: Unit, subscribers: SubscriberSet, topics: TopicMembers, requests: Sequence[PendingTrigger]
) -> None:
    """Read the rows of the members of small topics."""
    wanted = {who for one in _known_topics(topics, requests) for who in topics.members.get(one, ())}
    if wanted:
        subscribers.members = {row[0]: row for row in BY_ROW.rows(unit, ids=sorted(wanted))}


def _known_topics(topics: TopicMembers, requests: Sequence[PendingTrigger]) -> set[int]:
    return {topics.ids[one.key] for request in requests for one in request.audience.topics if one.key in topics.ids}


def trace_topics(unit: Unit, topics: TopicMembers, request: PendingTrigger) -> None:
    """Note unknown and empty topics on the event; they are no error (D9)."""
    for one in request.audience.topics:
        if one.key not in topics.ids:
            request.lines += (line(micros(unit.now), None, "topic_unknown", None, {"topic": one.key}),)
        elif topics.members.get(topics.ids[one.key]) == []:
            request.lines += (line(micros(unit.now), None, "topic_empty", None, {"topic": one.key}),)


def address_only(requests: Sequence[PendingTrigger]) -> None:
    """Give addresses without a subscriber an id that nothing else can have: the event's, and their place in it."""
    for request in requests:
        if request.audience.addresses:
            request.audience.addresses = tuple(
                Direct(f"{EPHEMERAL}{request.event:x}.{at}", one.given, one.payload)
                for at, one in enumerate(request.audience.addresses)
            )


def add_recipients(
    runs: RunColumns,
    event: EventContext,
    subscribers: SubscriberSet,
    named: Iterable[Named],
    topics: Sequence[KnownTopic],
    actor: int,
) -> int:
    """One more run for everybody that an event goes to: direct ones first, then members of topics, nobody twice.

    Args:
        runs: The columns that they are added to.
        event: The event.
        subscribers: Who is who as of the event.
        named: Ids, subscribers with facts, and addresses.
        topics: The topics among them, with their members.
        actor: The row id of who is left out of topics; 0 for nobody.

    Returns:
        How many there are.
    """
    start = len(runs.subscribers)
    for one in named:
        runs.subscribers.append(subscribers.rows[one] if isinstance(one, str) else subscribers.take(one))
        runs.payloads.append(None if isinstance(one, str) else one.payload)
    runs.topics += [0] * (len(runs.subscribers) - start)
    if topics:
        _add_members(runs, subscribers, topics, {actor, *(person[0] for person in runs.subscribers[start:])})
    count = len(runs.subscribers) - start
    runs.events += [event] * count
    runs.paths += [0] * count
    return count


def _add_members(runs: RunColumns, subscribers: SubscriberSet, topics: Sequence[KnownTopic], seen: set[int]) -> None:
    before = len(runs.subscribers)
    for one in topics:
        for number in one.members:
            stored = subscribers.members.get(number)
            if stored is not None and number not in seen and stored[1] not in one.exclude:
                seen.add(number)
                runs.subscribers.append(subscribers.rows.get(stored[1], stored))
                runs.topics.append(one.id)
    runs.payloads += [None] * (len(runs.subscribers) - before)


def add_page(runs: RunColumns, event: EventContext, page: AudiencePage) -> None:
    """One more run for every subscriber of a page."""
    runs.subscribers += page.people
    runs.topics += page.topics
    runs.payloads += [None] * len(page.people)
    runs.events += [event] * len(page.people)
    runs.paths += [0] * len(page.people)


def pages(
    unit: Unit, topics: TopicMembers, request: PendingTrigger, actor: int, direct: set[int], *, anonymous: bool = False
) -> Iterator[AudiencePage]:
    """Topics of any size, or everyone, page by page; without the actor and those served directly.

    Args:
        unit: The unit.
        topics: The topics of the chunk.
        request: Whose audience it is.
        actor: The row id of the actor; 0 for nobody.
        direct: Row ids of those served directly.
        anonymous: Row ids are enough: where they come without more work, rows have nothing else.
    """
    who = request.audience
    source = _everyone(unit) if who.everyone else _members(unit, topics, who.topics, anonymous)
    without = direct | {actor} if actor else direct
    for page in source:
        yield _but(page, without) if without else page


def _but(page: AudiencePage, without: set[int]) -> AudiencePage:
    places = [place for place, person in enumerate(page.people) if person[0] not in without]
    return AudiencePage([page.people[place] for place in places], [page.topics[place] for place in places])


def _everyone(unit: Unit) -> Iterator[AudiencePage]:
    last = 0
    while page := NEXT_OF_ALL.rows(unit, environment=unit.environment, last=last, most=unit.chunk):
        last = page[-1][0]
        yield AudiencePage(page, [0] * len(page))


def _members(unit: Unit, topics: TopicMembers, wanted: Sequence[Topic], anonymous: bool) -> Iterator[AudiencePage]:
    """Members of topics by row id; one of several topics is there if one of them does not exclude it."""
    excluded: dict[int, set[str]] = {}
    for one in wanted:
        if one.key in topics.ids:
            number = topics.ids[one.key]
            excluded[number] = excluded[number] & set(one.exclude) if number in excluded else set(one.exclude)
    if len(excluded) == 1:
        ((number, left_out),) = excluded.items()
        yield from _members_of_one(
            unit, number, left_out, NEXT_IDS_OF_ONE if anonymous and not left_out else NEXT_OF_ONE
        )
    elif excluded:
        yield from _members_of_many(unit, excluded)


def _members_of_one(unit: Unit, number: int, left_out: set[str], query: Statement) -> Iterator[AudiencePage]:
    last = 0
    while page := query.rows(unit, topic=number, last=last, most=unit.chunk):
        last = page[-1][0]
        people = [person for person in page if person[1] not in left_out] if left_out else page
        yield AudiencePage(people, [number] * len(people))


def _members_of_many(unit: Unit, excluded: dict[int, set[str]]) -> Iterator[AudiencePage]:
    """Members of several topics, each by the first of them that does not exclude them."""
    last, most = 0, max(unit.chunk, len(excluded) + 1)
    while pairs := NEXT_MEMBERS.rows(unit, topics=sorted(excluded), last=last, most=most):
        if len(pairs) == most:  # the last subscriber's topics may go on behind the page
            pairs = [pair for pair in pairs if pair[0] != pairs[-1][0]]
        last = pairs[-1][0]
        belongs = {who: {number for _, number in group} for who, group in groupby(pairs, key=lambda pair: pair[0])}
        page = AudiencePage([], [])
        for person in sorted(BY_ROW.rows(unit, ids=list(belongs))):
            there = belongs[person[0]]
            came_by = [number for number in excluded if number in there and person[1] not in excluded[number]]
            if came_by:
                page.people.append(person)
                page.topics.append(came_by[0])
        yield page
