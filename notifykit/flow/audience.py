"""The audience of a chunk: who each event goes to, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import bindparam, select

from notifykit.flow.pending_trigger import Direct, Named, PendingTrigger
from notifykit.flow.run_columns import EventContext, RunColumns
from notifykit.flow.subscriber_set import SubscriberSet
from notifykit.flow.topic_members import AudiencePage, KnownTopic, TopicMembers, member_pages
from notifykit.model.subscriber import EPHEMERAL
from notifykit.model.tables import subscriber
from notifykit.queries.subscriber_rows import COLUMNS
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit

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


def address_only(triggers: Sequence[PendingTrigger]) -> None:
    """Give addresses without a subscriber an id that nothing else can have: the event's, and their place in it."""
    for pending in triggers:
        if pending.audience.addresses:
            pending.audience.addresses = tuple(
                Direct(f"{EPHEMERAL}{pending.event:x}.{at}", one.given, one.payload)
                for at, one in enumerate(pending.audience.addresses)
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
    unit: Unit, topics: TopicMembers, pending: PendingTrigger, actor: int, direct: set[int], *, anonymous: bool = False
) -> Iterator[AudiencePage]:
    """Topics of any size, or everyone, page by page; without the actor and those served directly.

    Args:
        unit: The unit.
        topics: The topics of the chunk.
        pending: Whose audience it is.
        actor: The row id of the actor; 0 for nobody.
        direct: Row ids of those served directly.
        anonymous: Row ids are enough: where they come without more work, rows have nothing else.
    """
    who = pending.audience
    source = _everyone(unit) if who.everyone else member_pages(unit, topics, who.topics, anonymous)
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
