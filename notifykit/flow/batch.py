"""A batch of triggers: claim transaction ids, gather the audience, store events, move and store runs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any

from pydantic_core import to_json
from sqlalchemy import bindparam, select, update

from notifykit.events import TriggerProcessed
from notifykit.flow import apply, audience
from notifykit.flow.advance import advance
from notifykit.flow.moving import AdvanceContext
from notifykit.flow.pending_trigger import PendingTrigger
from notifykit.flow.prefetch import prefetch
from notifykit.flow.run_columns import EventContext, RunColumns
from notifykit.flow.subscriber_set import SubscriberSet
from notifykit.flow.tenant_set import TenantSet
from notifykit.flow.topic_members import TopicMembers, load_members, trace_topics
from notifykit.flow.trace_log import TraceLog
from notifykit.flow.validation import TenantRow
from notifykit.ids import transaction_id
from notifykit.lifecycle.runs import drop_ephemeral
from notifykit.model import Event
from notifykit.model.tables import event
from notifykit.queries.subscriber_fields import Row, view
from notifykit.results import STATUSES, Problem
from notifykit.store.rows import insert_new, insert_rows
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

EVENT = (
    "id",
    "environment",
    "transaction_id",
    "workflow",
    "version",
    "tenant",
    "actor",
    "payload",
    "overrides",
    "status",
    "recipients",
    "errors",
    "trace",
    "created_at",
)
PROCESSED = STATUSES.index("processed")
FIND_GIVEN = Statement(
    select(event.c.transaction_id, event.c.id, event.c.recipients, event.c.errors)
    .where(event.c.environment == bindparam("environment"), any_of(event.c.transaction_id, "given"))
    .with_for_update()
)
COMPLETE = Statement(
    update(event)
    .where(event.c.id == bindparam("number"))
    .values(
        tenant=bindparam("new_tenant"),
        actor=bindparam("new_actor"),
        recipients=bindparam("new_recipients"),
        errors=bindparam("new_errors"),
        trace=bindparam("new_trace"),
    )
)
EXISTS = Statement(select(event.c.id).where(event.c.id == bindparam("id")))


class BatchWriter:
    """Writes batches of triggers inside one unit."""

    def __init__(self, unit: Unit, topics: TopicMembers) -> None:
        """Write through a unit; the topics are those of the chunk."""
        self.unit, self.topics = unit, topics
        self.has_addresses = False

    def write(self, batch: Sequence[PendingTrigger]) -> Generator[None, None, None]:
        """Store events and runs, and move the runs as far as they get; yields after each chunk of runs."""
        unit = self.unit
        numbers = iter(unit.ids(len(batch) + sum(map(self._ids_for_runs, batch))))
        for pending in batch:
            pending.event = next(numbers)
        repeated = claim_transaction_ids(unit, batch)
        live = [pending for pending in batch if pending.live]
        self.has_addresses = any(pending.audience.addresses for pending in live)
        audience.address_only(live)
        tenants = TenantSet.load(unit, live)
        for pending in live:
            trace_topics(unit, self.topics, pending)
        if len(live) == 1 and self._is_large(live[0]):
            yield from self._large(live[0], tenants)
        elif live:
            yield from self._small(live, tenants, numbers)
        for pending, first in repeated:
            pending.event, pending.recipients, pending.problems = first.event, first.recipients, first.problems

    def _is_large(self, pending: PendingTrigger) -> bool:
        if pending.only is not None:
            return False
        return pending.audience.everyone or len(pending.named) > self.unit.chunk or not self.topics.are_small(pending)

    def _ids_for_runs(self, pending: PendingTrigger) -> int:
        """How many runs a trigger may have, where that is known: their ids come in one block with the event's."""
        if pending.only is not None:
            return 1
        if self._is_large(pending):
            return 0
        return len(pending.named) + sum(len(topic.members) for topic in self.topics.of(pending))

    # -- events whose recipients are all in memory

    def _small(
        self, triggers: Sequence[PendingTrigger], tenants: TenantSet, numbers: Iterator[int]
    ) -> Generator[None, None, None]:
        unit = self.unit
        subscribers = SubscriberSet(unit)
        subscribers.load(triggers, [pending.named for pending in triggers])
        load_members(unit, subscribers, self.topics, triggers)
        groups, rows = gather(triggers, subscribers, tenants, self.topics)
        subscribers.save()
        tenants.save(unit)
        self._store_events(rows)
        for runs in groups:
            runs.ids = list(islice(numbers, len(runs)))
        yield from self._move(groups)

    # -- one event whose audience is read page by page

    def _large(self, pending: PendingTrigger, tenants: TenantSet) -> Generator[None, None, None]:
        unit = self.unit
        subscribers = SubscriberSet(unit)
        subscribers.load([pending], [])
        actor = subscribers.actor(pending)
        event = event_context(pending, actor, tenants.of(pending))
        subscribers.save()
        tenants.save(unit)
        number = 0 if actor is None else actor[0]
        for runs in self._large_parts(pending, event, number):
            runs.ids = unit.ids(len(runs))
            pending.recipients += len(runs)
            yield from self._move([runs])
        self._store_events([(pending, number, event.tenant_id)])

    def _large_parts(self, pending: PendingTrigger, event: EventContext, actor: int) -> Iterator[RunColumns]:
        unit, who = self.unit, pending.audience
        direct: set[int] = set()
        named = iter(pending.named)
        while part := list(islice(named, unit.chunk)):
            subscribers, runs = SubscriberSet(unit), RunColumns(pending.pinned)
            subscribers.load([], [part])
            audience.add_recipients(runs, event, subscribers, part, (), 0)
            subscribers.save()
            direct.update(person[0] for person in runs.subscribers)
            yield runs
        if who.everyone or who.topics:
            anonymous = not apply.looks_at_people(unit, pending.pinned)
            for page in audience.pages(unit, self.topics, pending, actor, direct, anonymous=anonymous):
                runs = RunColumns(pending.pinned)
                audience.add_page(runs, event, page)
                if page.people:
                    yield runs

    # -- rows

    def _store_events(self, rows: Sequence[tuple[PendingTrigger, int, int]]) -> None:
        unit = self.unit
        stamp = unit.timestamp(unit.now)
        fresh = [_row_of(unit, stamp, *row) for row in rows if row[0].transaction_id is None]
        insert_rows(unit, Event, EVENT, fresh)
        COMPLETE.many(
            unit,
            [
                {
                    "number": pending.event,
                    "new_tenant": tenant,
                    "new_actor": actor,
                    "new_recipients": pending.recipients,
                    "new_errors": _errors(pending),
                    "new_trace": "".join(pending.lines) or None,
                }
                for pending, actor, tenant in rows
                if pending.transaction_id is not None
            ],
        )
        if rows:
            unit.effects.commit_probes.append((EXISTS, {"id": rows[-1][0].event}))
        if unit.listens("trigger_processed"):
            for pending, _, _ in rows:
                key = pending.pinned.workflow.key
                unit.emit(
                    TriggerProcessed(transaction_id(pending.transaction_id, pending.event), key, pending.recipients)
                )

    def _move(self, groups: Sequence[RunColumns]) -> Generator[None, None, None]:
        """Move runs in chunks that may hold several workflows."""
        for chunk in _chunks(groups, self.unit.chunk):
            self._move_chunk(chunk)
            yield None

    def _move_chunk(self, chunk: Sequence[RunColumns]) -> None:
        unit = self.unit
        instant = apply.instant_of(unit)
        trace = TraceLog(instant)
        facts = prefetch(unit, chunk)
        context = AdvanceContext(unit.environment, instant, unit.registry.functions(), facts, trace)
        apply.store_new(unit, [advance(runs, 0, context) for runs in chunk], trace)
        if self.has_addresses:
            drop_ephemeral(unit, [number for runs in chunk for number in runs.ids])


def claim_transaction_ids(unit: Unit, batch: Sequence[PendingTrigger]) -> list[tuple[PendingTrigger, PendingTrigger]]:
    """Insert the events with given transaction ids: the first write, which alone decides what is a duplicate.

    Returns:
        Requests that repeat another one of the batch, each with that one.
    """
    first: dict[str, PendingTrigger] = {}
    repeated = []
    for pending in batch:
        if pending.transaction_id is None:
            continue
        if pending.transaction_id in first:
            pending.duplicate, pending.live = True, False
            repeated.append((pending, first[pending.transaction_id]))
        else:
            first[pending.transaction_id] = pending
    if first:
        stamp = unit.timestamp(unit.now)
        rows = [_row_of(unit, stamp, pending, 0, 0) for _, pending in sorted(first.items())]
        insert_new(unit, Event, EVENT, rows)
        for given, number, recipients, errors in FIND_GIVEN.rows(
            unit, environment=unit.environment, given=sorted(first)
        ):
            pending = first[given]
            if number != pending.event:
                pending.duplicate, pending.live, pending.event, pending.recipients = True, False, number, recipients
                pending.problems = tuple(Problem(*each) for each in errors or ())
    return repeated


def gather(
    triggers: Sequence[PendingTrigger], subscribers: SubscriberSet, tenants: TenantSet, topics: TopicMembers
) -> tuple[list[RunColumns], list[tuple[PendingTrigger, int, int]]]:
    """Lay out the runs of a batch in columns, in input order, one group for each version.

    Returns:
        The groups, without run ids; and for each pending its actor's and tenant's row.
    """
    groups: dict[int, RunColumns] = {}
    rows = []
    for pending in triggers:
        actor = subscribers.actor(pending)
        number = 0 if actor is None else actor[0]
        event = event_context(pending, actor, tenants.of(pending))
        version = pending.pinned
        runs = groups.get(version.version_id)
        if runs is None:
            runs = groups[version.version_id] = RunColumns(version)
        who = pending.audience
        pending.recipients = audience.add_recipients(
            runs, event, subscribers, pending.named, topics.of(pending) if who.topics else (), number
        )
        rows.append((pending, number, event.tenant_id))
    return list(groups.values()), rows


def event_context(pending: PendingTrigger, actor: Row | None, tenant: TenantRow | None) -> EventContext:
    """The event as its runs see it."""
    return EventContext(
        pending.event,
        pending.transaction_id,
        pending.payload,
        None if actor is None else view(actor),
        None if tenant is None else tenant.view,
        0 if tenant is None else tenant.id,
        pending.overrides,
        pending.audience.fans_out,
    )


def _row_of(unit: Unit, stamp: Any, pending: PendingTrigger, actor: int, tenant: int) -> tuple[Any, ...]:
    """An event as it is stored; `stamp` is the time of it."""
    version = pending.pinned
    return (
        pending.event,
        unit.environment,
        pending.transaction_id,
        version.workflow_id,
        version.version_id,
        tenant,
        actor,
        pending.payload_text,
        pending.overrides_text,
        PROCESSED,
        pending.recipients,
        to_json(_errors(pending)).decode() if pending.problems else None,
        "".join(pending.lines) or None,
        stamp,
    )


def _errors(pending: PendingTrigger) -> list[list[str | None]] | None:
    return [[each.field, each.message, each.recipient] for each in pending.problems] or None


def _chunks(groups: Sequence[RunColumns], size: int) -> Iterator[list[RunColumns]]:
    """Parts of groups, together at most `size` runs."""
    chunk: list[RunColumns] = []
    room = size
    for runs in groups:
        start = 0
        while start < len(runs):
            part = runs.part(start, start + room)
            chunk.append(part)
            start += len(part)
            room -= len(part)
            if not room:
                yield chunk
                chunk, room = [], size
    if chunk:
        yield chunk
