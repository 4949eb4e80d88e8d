"""Intake: what each trigger of a chunk asks for, and whether it is refused.

Every refusal but a duplicate is decided here, before the chunk's first write. The order of checks: workflow, form and
transaction id, tenant, active, steps, payload and overrides, recipients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from notifykit.errors import InputError, NotFoundError, PayloadError, nearest
from notifykit.flow import recipients
from notifykit.flow.pending_trigger import PendingTrigger
from notifykit.flow.wire import TriggerRequest, given_id, id_problem
from notifykit.model.tables import tenant
from notifykit.model.values import Json
from notifykit.queries import versions
from notifykit.queries.references import key_problem
from notifykit.render.compiled import compiled
from notifykit.results import Problem
from notifykit.store.statement import Statement, any_of
from notifykit.texts import label, quoted
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow import overrides
from notifykit.workflow.paths import Path
from notifykit.workflow.payload import encode, plain

FIND_TENANTS = Statement(
    select(tenant.c.identifier, tenant.c.id, tenant.c.name, tenant.c.data).where(
        tenant.c.environment == bindparam("environment"), any_of(tenant.c.identifier, "keys")
    )
)


@dataclass(slots=True)
class TenantRow:
    """A tenant as it stands in the order of the triggers."""

    id: int
    identifier: str
    name: str | None
    data: Json | None

    @property
    def view(self) -> Json:
        """What templates see."""
        return {"identifier": self.identifier, "name": self.name, "data": self.data or {}}


def validate(unit: Unit, read: Sequence[TriggerRequest | list[Problem]]) -> list[PendingTrigger]:
    """Check a chunk of triggers.

    Args:
        unit: The unit; tenants and workflows are looked up in a few queries for the whole chunk.
        read: What each asks for, or the problems of its form.

    Returns:
        A pending trigger for each, refused or with all that the audience needs.
    """
    triggers = [_malformed(one) if isinstance(one, list) else PendingTrigger(one) for one in read]
    for check in (_workflow, _transaction_id, _tenant, _active, _payload, _overrides, _recipients, _actor):
        check(unit, [pending for pending in triggers if pending.live])
    return triggers


def _malformed(problems: Sequence[Problem]) -> PendingTrigger:
    pending = PendingTrigger({"workflow": ""})
    for problem in problems:
        pending.refuse("error", problem, InputError)
    return pending


def _workflow(unit: Unit, triggers: Sequence[PendingTrigger]) -> None:
    wanted = {pending.request["workflow"] for pending in triggers}
    found = versions.by_key(unit, {key for key in wanted if key_problem(key) is None})
    for pending in triggers:
        key = pending.request["workflow"]
        pending.version = found.get(key)
        if pending.version is None:
            advice = nearest(label(key), unit.registry.registered) or " Register it: Engine(workflows=[...])."
            pending.refuse("error", Problem("workflow", f"there is no workflow {quoted(key)}.{advice}"), NotFoundError)


def _transaction_id(unit: Unit, triggers: Sequence[PendingTrigger]) -> None:
    for pending in triggers:
        given = given_id(pending.request)
        if given is None:
            continue
        if problem := id_problem(given):
            pending.refuse("error", problem, InputError)
        else:
            pending.transaction_id = given


def _tenant(unit: Unit, triggers: Sequence[PendingTrigger]) -> None:
    for pending in triggers:
        given = pending.request.get("tenant")
        if given is None:
            pending.tenant = None if unit.tenant is None else (unit.tenant, {})
        else:
            _read_tenant(unit, pending, given)
    wanted = {pending.tenant[0] for pending in triggers if pending.live and pending.tenant}
    if not wanted:
        return
    known = {row[0] for row in FIND_TENANTS.rows(unit, environment=unit.environment, keys=sorted(wanted))}
    for pending in triggers:
        if pending.live and pending.tenant and pending.tenant[0] not in known:
            pending.refuse(
                "no_tenant_found",
                Problem("tenant", f"there is no tenant {pending.tenant[0]!r}; create it by `tenants.upsert`"),
            )


def _read_tenant(unit: Unit, pending: PendingTrigger, given: Any) -> None:
    fields = {"identifier": given} if isinstance(given, str) else given
    if not isinstance(fields, Mapping) or not isinstance(fields.get("identifier"), str):
        problem = "an identifier, or a mapping with an `identifier`, is expected"
        return pending.refuse("error", Problem("tenant", problem), InputError)
    identifier = str.strip(fields["identifier"])
    unknown = fields.keys() - {"identifier", "name", "data"}
    if unknown:
        name = min(map(label, unknown))
        advice = nearest(name, ("identifier", "name", "data"))
        return pending.refuse("error", Problem(f"tenant.{name}", f"a tenant has no such field.{advice}"), InputError)
    if wrong := key_problem(identifier):
        return pending.refuse("error", Problem("tenant.identifier", wrong), InputError)
    if unit.tenant is not None and identifier != unit.tenant:
        problem = f"this notifier sees only the tenant {unit.tenant!r}; use the engine itself for {identifier!r}"
        return pending.refuse("error", Problem("tenant", problem), InputError)
    return _read_tenant_fields(pending, identifier, fields)


def _read_tenant_fields(pending: PendingTrigger, identifier: str, fields: Mapping[str, Any]) -> None:
    name, data = fields.get("name"), fields.get("data")
    wrong = None if name is None else key_problem(str.__str__(name)) if isinstance(name, str) else "a text is expected"
    if wrong is not None:
        return pending.refuse("error", Problem("tenant.name", wrong), InputError)
    changes: dict[str, Any] = {} if name is None else {"name": str.__str__(name)}
    if data is not None:
        try:
            changes["data"] = plain(data, "tenant.data")[0]
        except InputError as error:
            return pending.refuse_for(error)
    pending.tenant = (identifier, changes)
    return None


def _active(unit: Unit, triggers: Sequence[PendingTrigger]) -> None:
    for pending in triggers:
        workflow = pending.pinned.workflow
        if not workflow.active:
            pending.refuse("trigger_not_active", Problem("workflow", f"{workflow.key!r} is not active"))
        elif not workflow.steps:
            pending.refuse("no_workflow_steps_defined", Problem("workflow", f"{workflow.key!r} has no steps"))
        elif not any(step.active for step in workflow.steps):
            pending.refuse(
                "no_workflow_active_steps_defined", Problem("workflow", f"no step of {workflow.key!r} is active")
            )


def _payload(unit: Unit, triggers: Sequence[PendingTrigger]) -> None:
    """Validate the payloads of each workflow in one call."""
    groups: dict[int, list[PendingTrigger]] = {}
    for pending in triggers:
        groups.setdefault(pending.pinned.version_id, []).append(pending)
    for group in groups.values():
        workflow = group[0].pinned.workflow
        dates = compiled(workflow).dates
        for pending, found in zip(
            group, workflow.serialize_many([each.request.get("payload") for each in group]), strict=True
        ):
            if isinstance(found, PayloadError):
                for name, message in _bad_fields(found):
                    pending.refuse("error", Problem(name, message), PayloadError)
                pending.error = found
            else:
                pending.payload, pending.payload_text = found
                for date in dates:
                    _date(pending, date)


def _bad_fields(error: PayloadError) -> list[tuple[str, str]]:
    return list(error.problems) or [(error.field, str(error))]


def _date(pending: PendingTrigger, date: Path) -> None:
    """Refuse an event without the date that a delay of it waits for: later nobody could be told."""
    try:
        date.find_time({"payload": pending.payload})
    except InputError as error:
        pending.refuse_for(error, PayloadError)


def _overrides(unit: Unit, triggers: Sequence[PendingTrigger]) -> None:
    for pending in triggers:
        given = pending.request.get("overrides")
        if given is None:
            continue
        try:
            pending.overrides = overrides.check(given, pending.pinned.workflow)
            pending.overrides_text = encode(pending.overrides, "overrides") if pending.overrides else None
        except InputError as error:
            pending.refuse_for(error)


def _recipients(unit: Unit, triggers: Sequence[PendingTrigger]) -> None:
    rest = [pending for pending in triggers if not recipients.read_only(pending)]
    for pending, found in zip(rest, recipients.read(unit, rest), strict=True):
        pending.audience = found
        pending.problems += found.problems
        if found.missing:
            problem = Problem("to", "None is nobody; give a subscriber id, a list, `Topic`, `Everyone` or a select")
            pending.refuse("error", problem, InputError)
        elif found.empty and not found.problems:
            pending.refuse("subscriber_id_missing", Problem("to", "no recipient is given"))
        elif found.empty:
            pending.status, pending.live = "error", False
            pending.error = InputError("; ".join(map(str, found.problems)), field=found.problems[0].field)


def _actor(unit: Unit, triggers: Sequence[PendingTrigger]) -> None:
    with_actor = [pending for pending in triggers if pending.request.get("actor") is not None]
    for pending, found in zip(
        with_actor, recipients.read_actors([each.request.get("actor") for each in with_actor]), strict=True
    ):
        if isinstance(found, Problem):
            pending.refuse("error", found, InputError)
        else:
            pending.actor = found
