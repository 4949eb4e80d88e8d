"""Due work that needs nothing but the database: delays that are over, outcomes that a run waited for.

Taken, advanced and finished in one transaction, without a lease. A job is a hint that a run may go on; whether it does
is read from the run, once it is locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from notifykit.clock import micros
from notifykit.flow import apply
from notifykit.flow.advance import advance
from notifykit.flow.moving import AdvanceContext
from notifykit.flow.prefetch import prefetch
from notifykit.flow.run_columns import Changes, EventContext, RunColumns
from notifykit.flow.steps import behaviour_of
from notifykit.flow.trace_log import TraceLog
from notifykit.lifecycle import traces
from notifykit.lifecycle.jobs import ALL_WORK, DueAdvance, WorkFilter, drop, due_advances, postpone, redeliver
from notifykit.lifecycle.runs import SUBSCRIBER_DELETED, drop_ephemeral, fail, lock_runs, stop
from notifykit.model.codes import RunStatus
from notifykit.model.subscriber import EPHEMERAL
from notifykit.model.trace import line
from notifykit.queries import run_facts, versions
from notifykit.queries.run_facts import RunFacts
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.registry import StoredVersion

FAILED = RunStatus.FAILED.value


class Advanced(NamedTuple):
    """What one chunk of due work came to.

    Attributes:
        runs: Runs that went on.
        jobs: Jobs that are done with; 0 means that nothing is due, or that others are at it.
    """

    runs: int
    jobs: int


@dataclass(frozen=True, slots=True)
class _Resumed:
    """A run that goes on: from which step, by which path, or ended by what it waited for."""

    facts: RunFacts
    position: int
    path: int
    over: bool


def advance_due(unit: Unit, *, limit: int, only: WorkFilter = ALL_WORK) -> Advanced:
    """Move on the runs whose wait is over; those that another unit has locked are left for later.

    Args:
        unit: A unit that may write.
        limit: How many jobs at most.
        only: Only this work.

    Returns:
        How many runs went on, and how many jobs were dealt with.
    """
    jobs, locked, known = _due(unit, limit, only)
    mine = [job for job in jobs if job.run in locked or job.run not in known]
    again = [job.id for job in mine if job.run in known and _is_queued_again(job, known[job.run])]
    redeliver(unit, again)
    drop(unit, {job.id for job in mine}.difference(again))
    due = {job.run: known[job.run] for job in mine if job.run in known and _goes_on(job, known[job.run])}
    gone = [run for run, found in due.items() if found.person is None]
    if gone:
        stop(unit, {run: locked[run] for run in gone}, SUBSCRIBER_DELETED)
    going = [found for found in due.values() if found.person is not None]
    for environment, theirs in groupby(sorted(going, key=_environment), key=_environment):
        _move(unit.within_environment(environment), list(theirs))
    drop_ephemeral(unit, sorted({job.run for job in mine if job.run in known and _is_ephemeral(known[job.run])}))
    return Advanced(len(due), len(mine))


def _goes_on(job: DueAdvance, found: RunFacts) -> bool:
    """Whether a run still waits for just this: a message that is sent again is waited for once more."""
    return found.status == RunStatus.WAITING and found.step == job.step and not _is_queued_again(job, found)


def _is_queued_again(job: DueAdvance, found: RunFacts) -> bool:
    """Whether the message that a run waited for was queued again, by a unit that could not have this job."""
    record = found.records.get(found.version.workflow.steps[job.step].id)
    return record is not None and record.get("delivery") == "queued"


def _environment(found: RunFacts) -> int:
    return found.environment


def _is_ephemeral(found: RunFacts) -> bool:
    return found.person is not None and found.person[1].startswith(EPHEMERAL)


def _move(unit: Unit, due: Sequence[RunFacts]) -> None:
    """Move on runs of one environment, whose unit it is."""
    instant = apply.instant_of(unit)
    trace = TraceLog(instant)
    going = [_resume(found, trace) for found in due]
    groups = _groups(going)
    context = AdvanceContext(
        unit.environment,
        instant,
        unit.registry.functions(),
        prefetch(unit, [runs for _, runs in groups]),
        trace,
    )
    moved = [advance(runs, position, context) for position, runs in groups]
    apply.store_moved(unit, [*moved, *_ended(one for one in going if one.over)], trace)


def defer(unit: Unit, job: DueAdvance, until: datetime | None, problem: str) -> bool:
    """Let a run that cannot be moved wait, so that it holds up no other one, or give it up.

    Args:
        unit: A unit of its own, after the one that failed.
        job: The run's job.
        until: When to try again; None: never.
        problem: What went wrong.

    Returns:
        Whether it was there for us; False where another unit has it.
    """
    found = due_advances(unit, needs=sorted(unit.registry.functions()), limit=1, only=WorkFilter(job=job.id))
    locked = lock_runs(unit, [job.run], wait=False) if found else {}
    if not locked:
        return False
    traces.append(unit, [(job.run, line(micros(unit.now), None, "attempt", problem, {"attempt": job.attempt + 1}))])
    if until is None:
        drop(unit, [job.id])
        fail(unit, locked, problem)
    else:
        postpone(unit, job.id, until, job.attempt + 1)
        unit.schedule(until)
    return True


def _due(unit: Unit, limit: int, only: WorkFilter) -> tuple[list[DueAdvance], dict[int, int], dict[int, RunFacts]]:
    """Due jobs, the runs of them that could be locked, and what is known of all; a newer library's are left alone."""
    needs = sorted(unit.registry.functions())
    while True:
        jobs = due_advances(unit, needs=needs, limit=limit, only=only, without=versions.newer(unit))
        runs = sorted({job.run for job in jobs})
        locked = lock_runs(unit, runs, wait=False)
        known = run_facts.load(unit, runs)
        if not any(facts.version.newer for facts in known.values()):
            return jobs, locked, known


def _resume(found: RunFacts, trace: TraceLog) -> _Resumed:
    """Settle the step at which a run stood: a step without a record is done now, any other is over."""
    workflow = found.version.workflow
    step = workflow.steps[found.step]
    records = dict(found.records)
    record = records.get(step.id)
    sent = any(each["status"] in {"sent", "queued"} for each in records.values())
    reason = next((each["reason"] for each in reversed(records.values()) if each["reason"]), None)
    path = trace.start(records, has_message=sent, reason=reason)
    if record is None:
        return _Resumed(found, found.step, path, over=False)
    behaviour = behaviour_of(step)
    path = behaviour.resume(step, trace, path)
    over = step.stop_on_fail and behaviour.has_failed(record)
    if over:
        path = trace.with_reason(path, f"step {step.id!r} failed")
    return _Resumed(found, found.step + 1, path, over)


def _groups(going: Iterable[_Resumed]) -> list[tuple[int, RunColumns]]:
    """The runs that go on, by the version and the step they go on with."""
    groups: dict[tuple[int, int], RunColumns] = {}
    events: dict[int, EventContext] = {}
    for one in going:
        if not one.over and one.facts.person is not None:
            runs = groups.setdefault((one.facts.version.version_id, one.position), RunColumns(one.facts.version))
            _add(runs, one, events)
    return [(position, runs) for (_, position), runs in groups.items()]


def _add(runs: RunColumns, one: _Resumed, events: dict[int, EventContext]) -> None:
    found = one.facts
    assert found.person is not None
    event = events.get(found.event)
    if event is None:
        event = events[found.event] = EventContext(
            found.event,
            found.given,
            found.event_payload,
            found.actor,
            found.tenant,
            found.tenant_row,
            found.overrides,
        )
    runs.ids.append(found.run)
    runs.events.append(event)
    runs.subscribers.append(found.person)
    runs.payloads.append(found.own_payload)
    runs.paths.append(one.path)


def _ended(over: Iterable[_Resumed]) -> list[Changes]:
    """The runs that a failed step has ended."""
    groups: dict[StoredVersion, RunColumns] = {}
    steps: dict[StoredVersion, list[int]] = {}
    events: dict[int, EventContext] = {}
    for one in over:
        if one.facts.person is not None:
            steps.setdefault(one.facts.version, []).append(one.facts.step)
            _add(groups.setdefault(one.facts.version, RunColumns(one.facts.version)), one, events)
    return [Changes(runs, [FAILED] * len(runs), steps[runs.version]) for runs in groups.values()]
