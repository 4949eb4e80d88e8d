"""What is known of stored runs: what their templates see, and how their earlier messages fared since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select

from notifykit.ids import step_key, transaction_id
from notifykit.model.codes import MessageStatus
from notifykit.model.tables import event, message, run, subscriber, tenant
from notifykit.model.values import Json
from notifykit.queries import versions
from notifykit.queries.subscriber_fields import view
from notifykit.queries.subscriber_rows import COLUMNS
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.context import TemplateScope
from notifykit.workflow.registry import StoredVersion

RUNS = Statement(
    select(
        run.c.id,
        run.c.environment,
        run.c.step,
        run.c.status,
        run.c.subscriber,
        run.c.payload,
        run.c.results,
        run.c.event,
        event.c.transaction_id,
        event.c.version,
        run.c.tenant,
        event.c.actor,
        event.c.payload,
        event.c.overrides,
    )
    .join_from(run, event, event.c.id == run.c.event)
    .where(any_of(run.c.id, "ids"))
)


class _Stored(NamedTuple):
    """A row of `RUNS`."""

    run: int
    environment: int
    step: int
    status: int
    subscriber: int
    own_payload: Json | None
    results: dict[str, Any]
    event: int
    given: str | None
    version: int
    tenant: int
    actor: int
    payload: Json
    overrides: Json | None


PEOPLE = Statement(select(*COLUMNS).where(any_of(subscriber.c.id, "ids")))
TENANTS = Statement(
    select(tenant.c.id, tenant.c.identifier, tenant.c.name, tenant.c.data).where(any_of(tenant.c.id, "ids"))
)
MESSAGES = Statement(
    select(message.c.id, message.c.channel, message.c.status, message.c.seen_at, message.c.read_at).where(
        any_of(message.c.id, "ids")
    )
)
OUTCOME = {
    MessageStatus.QUEUED: "queued",
    MessageStatus.SENT: "sent",
    MessageStatus.FAILED: "failed",
    MessageStatus.UNKNOWN: "unknown",
}
"""`steps.<id>.delivery` of an outside message; None for one that was skipped or cancelled."""
IN_APP = 1


@dataclass(slots=True)
class RunFacts:
    """One stored run, with everything that its templates and conditions see.

    Attributes:
        run: The run's id.
        environment: The id of the environment that it belongs to.
        step: The index of the step at which it stands.
        status: A `RunStatus`.
        event: The event's id.
        given: The given transaction id, or None.
        version: The version that the run is pinned to.
        subscriber_row: The id of the subscriber's row; the subscriber may be gone.
        person: That row in the order of `subscriber_fields.COLUMNS`, or None if it is gone.
        own_payload: The run's own payload, or None where it is the event's.
        event_payload: The event's.
        records: Records of finished steps, `seen`, `read` and `delivery` as they are now.
        overrides: As given, or None.
    """

    run: int
    environment: int
    step: int
    status: int
    event: int
    given: str | None
    version: StoredVersion
    subscriber_row: int
    person: tuple[Any, ...] | None
    actor: Json | None
    tenant: Json | None
    tenant_row: int
    own_payload: Json | None
    event_payload: Json
    overrides: Json | None
    records: dict[str, Mapping[str, Any]]

    @property
    def transaction_id(self) -> str:
        """The transaction id as it is shown outside."""
        return transaction_id(self.given, self.event)

    @property
    def payload(self) -> Json:
        """The payload that counts for this run."""
        return self.event_payload if self.own_payload is None else self.own_payload

    @property
    def subscriber(self) -> Json:
        """What templates see of the subscriber; nothing if it is gone."""
        return view(self.person) if self.person else {}

    @property
    def scope(self) -> TemplateScope:
        """What templates see."""
        return TemplateScope(
            payload=self.payload,
            subscriber=self.subscriber,
            actor=self.actor,
            tenant=self.tenant,
            steps=self.records,
        )


def load(unit: Unit, ids: Sequence[int]) -> dict[int, RunFacts]:
    """Load runs with all that belongs to them: the same statements for one run and for a thousand.

    Args:
        unit: Any unit.
        ids: Run ids.

    Returns:
        The facts of each run that exists.
    """
    if not ids:
        return {}
    rows = [_Stored._make(row) for row in RUNS.rows(unit, ids=ids)]
    pinned = versions.by_id(unit, {row.version for row in rows})
    people = _people(unit, {row.subscriber for row in rows} | {row.actor for row in rows if row.actor})
    tenants = _tenants(unit, {row.tenant for row in rows if row.tenant})
    states = _delivery_states(unit, rows, pinned)
    return {row.run: _facts(row, pinned[row.version], people, tenants, states) for row in rows}


def _facts(
    row: _Stored,
    version: StoredVersion,
    people: dict[int, tuple[Any, ...]],
    tenants: dict[int, Json],
    states: dict[int, dict[str, Any]],
) -> RunFacts:
    positions, records = version.workflow.positions, row.results
    for name, record in records.items():
        if state := states.get(step_key(row.run, positions[name])) if name in positions else None:
            records[name] = {**record, **state}
    return RunFacts(
        run=row.run,
        environment=row.environment,
        step=row.step,
        status=row.status,
        event=row.event,
        given=row.given,
        version=version,
        subscriber_row=row.subscriber,
        person=people.get(row.subscriber),
        actor=view(people[row.actor]) if row.actor in people else None,
        tenant=tenants.get(row.tenant),
        tenant_row=row.tenant,
        own_payload=row.own_payload,
        event_payload=row.payload,
        overrides=row.overrides,
        records=records,
    )


def _people(unit: Unit, ids: set[int]) -> dict[int, tuple[Any, ...]]:
    return {row[0]: row for row in PEOPLE.rows(unit, ids=sorted(ids))}


def _tenants(unit: Unit, ids: set[int]) -> dict[int, Json]:
    rows = TENANTS.rows(unit, ids=sorted(ids)) if ids else []
    return {
        number: {"identifier": identifier, "name": name, "data": data or {}} for number, identifier, name, data in rows
    }


def _delivery_states(
    unit: Unit, rows: Sequence[_Stored], pinned: dict[int, StoredVersion]
) -> dict[int, dict[str, Any]]:
    """By message id, the live fields of the records of earlier messages."""
    wanted = [
        step_key(row.run, index)
        for row in rows
        for index, step in enumerate(pinned[row.version].workflow.steps)
        if step.channel and step.id in row.results and row.results[step.id]["status"] != "skipped"
    ]
    if not wanted:
        return {}
    return {
        number: {
            "seen": seen is not None,
            "read": read is not None,
            "delivery": None if channel == IN_APP else OUTCOME.get(MessageStatus(status)),
        }
        for number, channel, status, seen, read in MESSAGES.rows(unit, ids=wanted)
    }
