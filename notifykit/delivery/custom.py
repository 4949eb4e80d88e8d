"""Custom steps that wait: the host's functions, called as a delivery is, their results kept in the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlmodel import col

from notifykit.clock import micros
from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.decisions import Decision
from notifykit.delivery.outcomes import Outcome
from notifykit.errors import InputError, PermanentDeliveryError
from notifykit.lifecycle import traces
from notifykit.lifecycle.enqueuing import enqueue
from notifykit.lifecycle.jobs import ClaimedJob
from notifykit.model import Run
from notifykit.model.codes import JobKind, MessageStatus, RunStatus
from notifykit.model.job import NewJob
from notifykit.model.trace import line
from notifykit.store.statement import Statement, any_of
from notifykit.texts import error_text
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.context import Context, context_of, fields_returned

RESULTS = Statement(select(col(Run.id), col(Run.results), col(Run.status), col(Run.step)).where(any_of(Run.id, "ids")))
KEEP_RESULTS = Statement(update(Run).where(col(Run.id) == bindparam("row")).values(results=bindparam("results")))
COMPLETED = "completed"
ADVANCE = JobKind.ADVANCE.value


def step_context(delivery: ClaimedDelivery) -> Context[Any]:
    """What a custom step's function is called with: plain data, and a key that is the same for every attempt."""
    return context_of(delivery.workflow.adapter, delivery.scope, delivery.key)


def result_fields(step: str, answer: Any) -> Mapping[str, Any]:
    """A function's result as plain JSON.

    Args:
        step: The step's id.
        answer: What it returned: a mapping, or None for no fields.

    Raises:
        PermanentDeliveryError: It can't be kept, which calling again would not change.
    """
    try:
        return fields_returned(step, answer)
    except InputError as error:
        raise PermanentDeliveryError(error_text(error)) from error


def complete(unit: Unit, results: Sequence[tuple[ClaimedDelivery, Decision, Outcome | None]]) -> int:
    """Keep the results of custom steps, and let their runs go on from there.

    Args:
        unit: The unit in which their jobs were finished or deferred, fenced, and their runs locked.
        results: The steps that this process called.

    Returns:
        How many runs go on; one that was stopped meanwhile does not.
    """
    if not results:
        return 0
    traces.append(
        unit, [(delivery.job.run, _line(unit, delivery, decision, outcome)) for delivery, decision, outcome in results]
    )
    done = {
        delivery.job.run: (delivery, _record(unit, decision, outcome))
        for delivery, decision, outcome in results
        if decision.status
    }
    if not done:
        return 0
    waiting = _keep_records(unit, done)
    enqueue(
        unit,
        [NewJob(job.id, environment, unit.now, ADVANCE, job.run, job.step) for job, environment in waiting],
    )
    return len(waiting)


def _keep_records(
    unit: Unit, done: Mapping[int, tuple[ClaimedDelivery, dict[str, Any]]]
) -> list[tuple[ClaimedJob, int]]:
    """Keep the records of steps in their runs; the jobs of those that still wait there, with their environments."""
    kept, waiting = [], []
    for run, records, status, step in RESULTS.rows(unit, ids=sorted(done)):
        delivery, record = done[run]
        kept.append({"row": run, "results": records | {delivery.step.id: record}})
        if status == RunStatus.WAITING and step == delivery.job.step:
            waiting.append((delivery.job, delivery.facts.environment))
    KEEP_RESULTS.many(unit, sorted(kept, key=lambda row: row["row"]))
    return waiting


def _record(unit: Unit, decision: Decision, outcome: Outcome | None) -> dict[str, Any]:
    status = COMPLETED if decision.status is MessageStatus.SENT else "failed"
    fields = outcome.result if outcome and outcome.result else {}
    return {**fields, "status": status, "reason": decision.reason, "at": unit.now.isoformat()}


def _line(unit: Unit, delivery: ClaimedDelivery, decision: Decision, outcome: Outcome | None) -> str:
    at, step = micros(unit.now), delivery.step.id
    if decision.status is not None:
        kind = "step_completed" if decision.status is MessageStatus.SENT else "step_failed"
        return line(at, step, kind, decision.reason)
    if outcome is None or outcome.kind != "transient":
        return ""
    return line(at, step, "attempt", outcome.error, {"attempt": delivery.job.attempt, "outcome": "transient"})
