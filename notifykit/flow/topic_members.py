"""The topics of a chunk: who is in them, at once for small ones, page by page for large ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import bindparam, select

from notifykit.clock import micros
from notifykit.flow.pending_trigger import PendingTrigger
from notifykit.flow.subscriber_set import SubscriberSet
from notifykit.model.tables import subscriber, topic, topic_member
from notifykit.model.trace import line
from notifykit.model.values import Topic
from notifykit.queries.subscriber_fields import Row
from notifykit.queries.subscriber_rows import COLUMNS
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
BY_ROW = Statement(select(*COLUMNS).where(any_of(subscriber.c.id, "ids")))
PRELOADED = 8
"""Members read at once for all topics of a chunk, as a multiple of the chunk; larger topics go page by page."""


class KnownTopic(NamedTuple):
    """A topic that a trigger names.

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
    def load(cls, unit: Unit, triggers: Sequence[PendingTrigger]) -> TopicMembers:
        """Find the topics of the triggers, and read the members of the small ones in one query."""
        keys = {one.key for pending in triggers for one in pending.audience.topics}
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

    def are_small(self, pending: PendingTrigger) -> bool:
        """Whether all members of a trigger's topics have been read."""
        return all(self.ids[one.key] in self.members for one in pending.audience.topics if one.key in self.ids)

    def of(self, pending: PendingTrigger) -> list[KnownTopic]:
        """The known topics of a trigger with the members that have been read."""
        known = [(self.ids[one.key], one) for one in pending.audience.topics if one.key in self.ids]
        return [KnownTopic(number, one.exclude, self.members.get(number, [])) for number, one in known]


def load_members(
    unit: Unit, subscribers: SubscriberSet, topics: TopicMembers, triggers: Sequence[PendingTrigger]
) -> None:
    """Read the rows of the members of small topics."""
    wanted = {who for one in _known_topics(topics, triggers) for who in topics.members.get(one, ())}
    if wanted:
        subscribers.members = {row[0]: row for row in BY_ROW.rows(unit, ids=sorted(wanted))}


def _known_topics(topics: TopicMembers, triggers: Sequence[PendingTrigger]) -> set[int]:
    return {topics.ids[one.key] for pending in triggers for one in pending.audience.topics if one.key in topics.ids}


def trace_topics(unit: Unit, topics: TopicMembers, pending: PendingTrigger) -> None:
    """Note unknown and empty topics on the event; they are no error."""
    for one in pending.audience.topics:
        if one.key not in topics.ids:
            pending.lines += (line(micros(unit.now), None, "topic_unknown", None, {"topic": one.key}),)
        elif topics.members.get(topics.ids[one.key]) == []:
            pending.lines += (line(micros(unit.now), None, "topic_empty", None, {"topic": one.key}),)


def member_pages(unit: Unit, topics: TopicMembers, wanted: Sequence[Topic], anonymous: bool) -> Iterator[AudiencePage]:
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
