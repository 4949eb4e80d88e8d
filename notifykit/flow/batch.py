"""A batch of triggers: claim transaction ids, gather the audience, store events, move and store runs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any

from pydantic_core import to_json
from sqlalchemy import bindparam, select, update

from notifykit.events import TriggerProcessed
from notifykit.flow import apply, audience
from notifykit.flow.advance import AdvanceContext, advance
from notifykit.flow.audience import SubscriberSet, TopicMembers
from notifykit.flow.pending_trigger import PendingTrigger
from notifykit.flow.run_columns import EventContext, RunColumns, facts_of
from notifykit.flow.tenants import TenantSet
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
    """Serves batchs of triggers inside one unit."""

    def __init__(self, unit: Unit, topics: TopicMembers) -> None:
        """Write through a unit; the topics are those of the chunk."""
        self.unit, self.topics = unit, topics
        self.has_addresses = False

    def write(self, batch: Sequence[PendingTrigger]) -> Generator[None, None, None]:
        """Store events and runs, and move the runs as far as they get; yields after each chunk of runs."""
        unit = self.unit
        numbers = iter(unit.ids(len(batch) + sum(map(self._ids_for_runs, batch))))
        for request in batch:
            request.event = next(numbers)
        repeated = claim_transaction_ids(unit, batch)
        live = [request for request in batch if request.live]
        self.has_addresses = any(request.audience.addresses for request in live)
        audience.address_only(live)
        tenants = TenantSet.load(unit, live)
        for request in live:
            audience.trace_topics(unit, self.topics, request)
        if len(live) == 1 and self._is_large(live[0]):
            yield from self._large(live[0], tenants)
        elif live:
            yield from self._small(live, tenants, numbers)
        for request, first in repeated:
            request.event, request.recipients, request.problems = first.event, first.recipients, first.problems

    def _is_large(self, request: PendingTrigger) -> bool:
        if request.only is not None:
            return False
        return request.audience.everyone or len(request.named) > self.unit.chunk or not self.topics.are_small(request)

    def _ids_for_runs(self, request: PendingTrigger) -> int:
        """How many runs a request may have, where that is known: their ids come in one block with the event's."""
        if request.only is not None:
            return 1
        if self._is_large(request):
            return 0
        return len(request.named) + sum(len(topic.members) for topic in self.topics.of(request))

    # -- events whose recipients are all in memory

    def _small(
        self, requests: Sequence[PendingTrigger], tenants: TenantSet, numbers: Iterator[int]
    ) -> Generator[None, None, None]:
        unit = self.unit
        subscribers = SubscriberSet(unit)
        subscribers.load(requests, [request.named for request in requests])
        audience.load_members(unit, subscribers, self.topics, requests)
        groups, rows = gather(requests, subscribers, tenants, self.topics)
        subscribers.save()
        tenants.save(unit)
        self._store_events(rows)
        for runs in groups:
            runs.ids = list(islice(numbers, len(runs)))
        yield from self._move(groups)

    # -- one event whose audience is read page by page

    def _large(self, request: PendingTrigger, tenants: TenantSet) -> Generator[None, None, None]:
        unit = self.unit
        subscribers = SubscriberSet(unit)
        subscribers.load([request], [])
        actor = subscribers.actor(request)
        event = event_context(request, actor, tenants.of(request))
        subscribers.save()
        tenants.save(unit)
        number = 0 if actor is None else actor[0]
        for runs in self._large_parts(request, event, number):
            runs.ids = unit.ids(len(runs))
            request.recipients += len(runs)
            yield from self._move([runs])
        self._store_events([(request, number, event.tenant_id)])

    def _large_parts(self, request: PendingTrigger, event: EventContext, actor: int) -> Iterator[RunColumns]:
        unit, who = self.unit, request.audience
        direct: set[int] = set()
        named = iter(request.named)
        while part := list(islice(named, unit.chunk)):
            subscribers, runs = SubscriberSet(unit), RunColumns(request.pinned)
            subscribers.load([], [part])
            audience.add_recipients(runs, event, subscribers, part, (), 0)
            subscribers.save()
            direct.update(person[0] for person in runs.subscribers)
            yield runs
        if who.everyone or who.topics:
            anonymous = not apply.looks_at_people(unit, request.pinned)
            for page in audience.pages(unit, self.topics, request, actor, direct, anonymous=anonymous):
                runs = RunColumns(request.pinned)
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
                    "number": request.event,
                    "new_tenant": tenant,
                    "new_actor": actor,
                    "new_recipients": request.recipients,
                    "new_errors": _errors(request),
                    "new_trace": "".join(request.lines) or None,
                }
                for request, actor, tenant in rows
                if request.transaction_id is not None
            ],
        )
        if rows:
            unit.effects.commit_probes.append((EXISTS, {"id": rows[-1][0].event}))
        if unit.listens("trigger_processed"):
            for request, _, _ in rows:
                key = request.pinned.workflow.key
                unit.emit(
                    TriggerProcessed(transaction_id(request.transaction_id, request.event), key, request.recipients)
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
        context = AdvanceContext(unit.environment, instant, unit.registry.functions(), facts_of(unit, chunk), trace)
        apply.store_new(unit, [advance(runs, 0, context) for runs in chunk], trace)
        if self.has_addresses:
            drop_ephemeral(unit, [number for runs in chunk for number in runs.ids])


def claim_transaction_ids(unit: Unit, batch: Sequence[PendingTrigger]) -> list[tuple[PendingTrigger, PendingTrigger]]:
    """Insert the events with given transaction ids: the first write, which alone decides what is a duplicate (D8, D30).

    Returns:
        Requests that repeat another one of the batch, each with that one.
    """
    first: dict[str, PendingTrigger] = {}
    repeated = []
    for request in batch:
        if request.transaction_id is None:
            continue
        if request.transaction_id in first:
            request.duplicate, request.live = True, False
            repeated.append((request, first[request.transaction_id]))
        else:
            first[request.transaction_id] = request
    if first:
        stamp = unit.timestamp(unit.now)
        rows = [_row_of(unit, stamp, request, 0, 0) for _, request in sorted(first.items())]
        insert_new(unit, Event, EVENT, rows)
        for given, number, recipients, errors in FIND_GIVEN.rows(
            unit, environment=unit.environment, given=sorted(first)
        ):
            request = first[given]
            if number != request.event:
                request.duplicate, request.live, request.event, request.recipients = True, False, number, recipients
                request.problems = tuple(Problem(*each) for each in errors or ())
    return repeated


def gather(
    requests: Sequence[PendingTrigger], subscribers: SubscriberSet, tenants: TenantSet, topics: TopicMembers
) -> tuple[list[RunColumns], list[tuple[PendingTrigger, int, int]]]:
    """Lay out the runs of a batch in columns, in input order, one group for each version.

    Returns:
        The groups, without run ids; and for each request its actor's and tenant's row.
    """
    groups: dict[int, RunColumns] = {}
    rows = []
    for request in requests:
        actor = subscribers.actor(request)
        number = 0 if actor is None else actor[0]
        event = event_context(request, actor, tenants.of(request))
        version = request.pinned
        runs = groups.get(version.version_id)
        if runs is None:
            runs = groups[version.version_id] = RunColumns(version)
        who = request.audience
        request.recipients = audience.add_recipients(
            runs, event, subscribers, request.named, topics.of(request) if who.topics else (), number
        )
        rows.append((request, number, event.tenant_id))
    return list(groups.values()), rows


def event_context(request: PendingTrigger, actor: Row | None, tenant: TenantRow | None) -> EventContext:
    """The event as its runs see it."""
    return EventContext(
        request.event,
        request.transaction_id,
        request.payload,
        None if actor is None else view(actor),
        None if tenant is None else tenant.view,
        0 if tenant is None else tenant.id,
        request.overrides,
        request.audience.fans_out,
    )


def _row_of(unit: Unit, stamp: Any, request: PendingTrigger, actor: int, tenant: int) -> tuple[Any, ...]:
    """An event as it is stored; `stamp` is the time of it."""
    version = request.pinned
    return (
        request.event,
        unit.environment,
        request.transaction_id,
        version.workflow_id,
        version.version_id,
        tenant,
        actor,
        request.payload_text,
        request.overrides_text,
        PROCESSED,
        request.recipients,
        to_json(_errors(request)).decode() if request.problems else None,
        "".join(request.lines) or None,
        stamp,
    )


def _errors(request: PendingTrigger) -> list[list[str | None]] | None:
    return [[each.field, each.message, each.recipient] for each in request.problems] or None


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
