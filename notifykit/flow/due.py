"""Due work that needs nothing but the database: delays that are over, outcomes that a run waited for.

Taken, advanced and finished in one transaction, without a lease.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, delete

from notifykit.flow import apply, facts
from notifykit.flow.advance import World, advance
from notifykit.flow.runs import Changes, Origin, Runs
from notifykit.flow.trail import Mark, Trail
from notifykit.model.codes import JobKind, RunStatus
from notifykit.model.tables import job
from notifykit.resources import run_facts, versions
from notifykit.resources.run_facts import RunFacts
from notifykit.store.claiming import due_advances
from notifykit.store.endings import drop_unlisted
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Unit
from notifykit.workflow.registry import StoredVersion
from notifykit.workflow.steps import Custom, Delay, Step

FINISH = Statement(
    delete(job).where(within(job.c.run, "runs"), job.c.kind == JobKind.ADVANCE.value, job.c.due_at <= bindparam("now"))
)
FAILED = RunStatus.FAILED.value


@dataclass(frozen=True, slots=True)
class _Resumed:
    """A run that goes on: from which step, by which way, or ended by what it waited for."""

    facts: RunFacts
    position: int
    way: int
    over: bool


def advance_due(unit: Unit, *, limit: int, event: int | None = None) -> int:
    """Move on the runs whose wait is over.

    Args:
        unit: A unit that may write.
        limit: How many jobs at most.
        event: Only those of one event.

    Returns:
        How many jobs were taken; 0 means that nothing is due.
    """
    numbers, known = _due(unit, limit, event)
    if not numbers:
        return 0
    FINISH.run(unit, runs=numbers, now=unit.now)
    instant = apply.instant_of(unit)
    trail = Trail(instant)
    going = [_resume(known[run], trail) for run in numbers if run in known and known[run].status == RunStatus.WAITING]
    groups = _groups(going)
    world = World(
        unit.environment,
        instant,
        unit.registry.functions(),
        facts.load(unit, [runs for _, runs in groups]),
        trail,
    )
    moved = [advance(runs, position, world) for position, runs in groups]
    apply.store_moved(unit, [*moved, *_ended(one for one in going if one.over)], trail)
    if any(one.facts.person is not None and one.facts.person[1].startswith("\x1f") for one in going):
        drop_unlisted(unit, numbers)
    return len(numbers)


def _due(unit: Unit, limit: int, event: int | None) -> tuple[list[int], dict[int, RunFacts]]:
    """Runs that are due to go on, one for each job; what only a newer library can work on is left alone."""
    needs = sorted(unit.registry.functions())
    while True:
        jobs = due_advances(unit, needs=needs, limit=limit, event=event, without=versions.newer(unit))
        numbers = [run for _, _, run, _ in jobs]
        known = run_facts.load(unit, numbers)
        if not any(facts.version.newer for facts in known.values()):
            return numbers, known


def _resume(found: RunFacts, trail: Trail) -> _Resumed:
    """Settle the step at which a run stood: a step without a record is done now, any other is over."""
    workflow = found.version.workflow
    step = workflow.steps[found.step]
    records = dict(found.records)
    record = records.get(step.id)
    sent = any(each["status"] in {"sent", "queued"} for each in records.values())
    reason = next((each["reason"] for each in reversed(records.values()) if each["reason"]), None)
    way = trail.start(records, has_message=sent, reason=reason)
    if record is None:
        return _Resumed(found, found.step, way, over=False)
    if isinstance(step, Delay):
        way = trail.settle(way, Mark(step.id, "step_completed", None, None, "waited"))
    over = step.stop_on_fail and _failed(step, record)
    if over:
        way = trail.because(way, f"step {step.id!r} failed")
    return _Resumed(found, found.step + 1, way, over)


def _failed(step: Step, record: object) -> bool:
    assert isinstance(record, dict)
    return record["status"] == "failed" if isinstance(step, Custom) else record.get("delivery") in {"failed", "unknown"}


def _groups(going: Iterable[_Resumed]) -> list[tuple[int, Runs]]:
    """The runs that go on, by the version and the step they go on with."""
    groups: dict[tuple[int, int], Runs] = {}
    origins: dict[int, Origin] = {}
    for one in going:
        if not one.over and one.facts.person is not None:
            runs = groups.setdefault((one.facts.version.version_id, one.position), Runs(one.facts.version))
            _add(runs, one, origins)
    return [(position, runs) for (_, position), runs in groups.items()]


def _add(runs: Runs, one: _Resumed, origins: dict[int, Origin]) -> None:
    found = one.facts
    assert found.person is not None
    origin = origins.get(found.event)
    if origin is None:
        origin = origins[found.event] = Origin(
            found.event,
            found.given,
            found.event_payload,
            found.actor,
            found.tenant,
            found.tenant_row,
            found.overrides,
        )
    runs.ids.append(found.run)
    runs.origins.append(origin)
    runs.people.append(found.person)
    runs.payloads.append(found.own_payload)
    runs.ways.append(one.way)


def _ended(over: Iterable[_Resumed]) -> list[Changes]:
    """The runs that a failed step has ended."""
    groups: dict[StoredVersion, Runs] = {}
    steps: dict[StoredVersion, list[int]] = {}
    origins: dict[int, Origin] = {}
    for one in over:
        if one.facts.person is not None:
            steps.setdefault(one.facts.version, []).append(one.facts.step)
            _add(groups.setdefault(one.facts.version, Runs(one.facts.version)), one, origins)
    return [Changes(runs, [FAILED] * len(runs), steps[runs.version]) for runs in groups.values()]
