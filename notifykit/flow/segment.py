"""A segment of triggers: claim transaction ids, gather the audience, store events, move and store runs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any

from pydantic_core import to_json
from sqlalchemy import bindparam, select, update

from notifykit.events import TriggerProcessed
from notifykit.flow import apply, audience, facts
from notifykit.flow.advance import World, advance
from notifykit.flow.audience import People, Tenants, Topics
from notifykit.flow.intake import TenantRow
from notifykit.flow.request import Request
from notifykit.flow.runs import Origin, Runs
from notifykit.flow.trail import Trail
from notifykit.ids import text_of
from notifykit.model import Event
from notifykit.model.tables import event
from notifykit.resources.subscriber_fields import Row, view
from notifykit.results import STATUSES, Problem
from notifykit.store.endings import drop_unlisted
from notifykit.store.rows import insert_new, insert_rows
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Unit

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
    .where(event.c.environment == bindparam("environment"), within(event.c.transaction_id, "given"))
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


class Writer:
    """Serves segments of triggers inside one unit."""

    def __init__(self, unit: Unit, topics: Topics) -> None:
        """Write through a unit; the topics are those of the chunk."""
        self.unit, self.topics = unit, topics
        self.has_addresses = False

    def serve(self, segment: Sequence[Request]) -> Generator[None, None, None]:
        """Store events and runs, and move the runs as far as they get; yields after each chunk of runs."""
        unit = self.unit
        numbers = iter(unit.ids(len(segment) + sum(map(self._ids_for_runs, segment))))
        for request in segment:
            request.event = next(numbers)
        repeated = claim_transaction_ids(unit, segment)
        live = [request for request in segment if request.live]
        self.has_addresses = any(request.audience.addresses for request in live)
        audience.address_only(live)
        tenants = Tenants.load(unit, live)
        for request in live:
            audience.trace_topics(unit, self.topics, request)
        if len(live) == 1 and self._is_large(live[0]):
            yield from self._large(live[0], tenants)
        elif live:
            yield from self._small(live, tenants, numbers)
        for request, first in repeated:
            request.event, request.recipients, request.problems = first.event, first.recipients, first.problems

    def _is_large(self, request: Request) -> bool:
        if request.only is not None:
            return False
        return request.audience.everyone or len(request.named) > self.unit.chunk or not self.topics.are_small(request)

    def _ids_for_runs(self, request: Request) -> int:
        """How many runs a request may have, where that is known: their ids come in one block with the event's."""
        if request.only is not None:
            return 1
        if self._is_large(request):
            return 0
        return len(request.named) + sum(len(members) for _, members in self.topics.of(request))

    # -- events whose recipients are all in memory

    def _small(
        self, requests: Sequence[Request], tenants: Tenants, numbers: Iterator[int]
    ) -> Generator[None, None, None]:
        unit = self.unit
        people = People(unit)
        people.load(requests, [request.named for request in requests])
        audience.load_members(unit, people, self.topics, requests)
        groups, rows = gather(requests, people, tenants, self.topics)
        people.save()
        tenants.save(unit)
        self._store_events(rows)
        for runs in groups:
            runs.ids = list(islice(numbers, len(runs)))
        yield from self._move(groups)

    # -- one event whose audience is read page by page

    def _large(self, request: Request, tenants: Tenants) -> Generator[None, None, None]:
        unit = self.unit
        people = People(unit)
        people.load([request], [])
        actor = people.actor(request)
        origin = origin_of(request, actor, tenants.of(request))
        people.save()
        tenants.save(unit)
        number = 0 if actor is None else actor[0]
        for runs in self._large_parts(request, origin, number):
            runs.ids = unit.ids(len(runs))
            request.recipients += len(runs)
            yield from self._move([runs])
        self._store_events([(request, number, origin.tenant_id)])

    def _large_parts(self, request: Request, origin: Origin, actor: int) -> Iterator[Runs]:
        unit, who = self.unit, request.audience
        direct: set[int] = set()
        named = iter(request.named)
        while part := list(islice(named, unit.chunk)):
            people, runs = People(unit), Runs(request.pinned)
            people.load([], [part])
            audience.enlist(runs, origin, people, part, (), 0)
            people.save()
            direct.update(person[0] for person in runs.people)
            yield runs
        if who.everyone or who.topics:
            anonymous = not apply.looks_at_people(unit, request.pinned)
            for page in audience.pages(unit, self.topics, request, actor, direct, anonymous=anonymous):
                runs = Runs(request.pinned)
                audience.enlist_page(runs, origin, page)
                if page:
                    yield runs

    # -- rows

    def _store_events(self, rows: Sequence[tuple[Request, int, int]]) -> None:
        unit = self.unit
        stamp = unit.moment(unit.now)
        fresh = [event_row(unit, stamp, *row) for row in rows if row[0].transaction_id is None]
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
            unit.effects.witnesses.append((EXISTS, {"id": rows[-1][0].event}))
        if unit.listens("trigger_processed"):
            for request, _, _ in rows:
                key = request.pinned.workflow.key
                unit.emit(
                    TriggerProcessed(request.transaction_id or text_of("txn", request.event), key, request.recipients)
                )

    def _move(self, groups: Sequence[Runs]) -> Generator[None, None, None]:
        """Move runs in chunks that may hold several workflows."""
        for chunk in _chunks(groups, self.unit.chunk):
            self._move_chunk(chunk)
            yield None

    def _move_chunk(self, chunk: Sequence[Runs]) -> None:
        unit = self.unit
        instant = apply.instant_of(unit)
        trail = Trail(instant)
        world = World(unit.environment, instant, unit.registry.functions(), facts.load(unit, chunk), trail)
        apply.store_new(unit, [advance(runs, 0, world) for runs in chunk], trail)
        if self.has_addresses:
            drop_unlisted(unit, [number for runs in chunk for number in runs.ids])


def claim_transaction_ids(unit: Unit, segment: Sequence[Request]) -> list[tuple[Request, Request]]:
    """Insert the events with given transaction ids: the first write, which alone decides what is a duplicate (D8, D30).

    Returns:
        Requests that repeat another one of the segment, each with that one.
    """
    first: dict[str, Request] = {}
    repeated = []
    for request in segment:
        if request.transaction_id is None:
            continue
        if request.transaction_id in first:
            request.duplicate, request.live = True, False
            repeated.append((request, first[request.transaction_id]))
        else:
            first[request.transaction_id] = request
    if first:
        stamp = unit.moment(unit.now)
        rows = [event_row(unit, stamp, request, 0, 0) for _, request in sorted(first.items())]
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
    requests: Sequence[Request], people: People, tenants: Tenants, topics: Topics
) -> tuple[list[Runs], list[tuple[Request, int, int]]]:
    """Lay out the runs of a segment in columns, in input order, one group for each version.

    Returns:
        The groups, without run ids; and for each request its actor's and tenant's row.
    """
    groups: dict[int, Runs] = {}
    rows = []
    for request in requests:
        actor = people.actor(request)
        number = 0 if actor is None else actor[0]
        origin = origin_of(request, actor, tenants.of(request))
        version = request.pinned
        runs = groups.get(version.version_id)
        if runs is None:
            runs = groups[version.version_id] = Runs(version)
        who = request.audience
        request.recipients = audience.enlist(
            runs, origin, people, request.named, topics.of(request) if who.topics else (), number
        )
        rows.append((request, number, origin.tenant_id))
    return list(groups.values()), rows


def origin_of(request: Request, actor: Row | None, tenant: TenantRow | None) -> Origin:
    """The event as its runs see it."""
    return Origin(
        request.event,
        request.transaction_id,
        request.payload,
        None if actor is None else view(actor),
        None if tenant is None else tenant.view,
        0 if tenant is None else tenant.id,
        request.overrides,
        request.audience.fans_out,
    )


def event_row(unit: Unit, stamp: Any, request: Request, actor: int, tenant: int) -> tuple[Any, ...]:
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


def _errors(request: Request) -> list[list[str | None]] | None:
    return [[each.field, each.message, each.recipient] for each in request.problems] or None


def _chunks(groups: Sequence[Runs], size: int) -> Iterator[list[Runs]]:
    """Parts of groups, together at most `size` runs."""
    chunk: list[Runs] = []
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
