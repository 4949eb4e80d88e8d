"""A job that cannot be claimed: it waits, so that it holds up no other one, and fails in the end."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, update
from sqlmodel import col

from notifykit.clock import micros
from notifykit.delivery.record import Counts
from notifykit.lifecycle import jobs, runs, traces
from notifykit.lifecycle.jobs import ClaimedJob, WorkFilter
from notifykit.model import Message
from notifykit.model.codes import MessageStatus
from notifykit.model.trace import line
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit

FAIL = Statement(
    update(Message)
    .where(col(Message.id) == bindparam("row"), col(Message.status) == MessageStatus.QUEUED.value)
    .values(status=MessageStatus.FAILED.value, reason=bindparam("reason"))
)


def defer(unit: Unit, job: ClaimedJob, until: datetime | None, problem: str) -> Counts | None:
    """Let a job that cannot be claimed wait, or fail it for good.

    Args:
        unit: A unit of its own, after the one that failed.
        job: As `due_calls` gave it.
        until: When to try again; None: never.
        problem: What went wrong.

    Returns:
        What ended; None where another unit has it.
    """
    needs = sorted(unit.registry.functions())
    found = jobs.due_calls(unit, needs=needs, limit=1, only=WorkFilter(job=job.id), lost=job.is_lost)
    locked = runs.lock_runs(unit, [job.run], wait=False) if found else {}
    if not locked:
        return None
    traces.append(unit, [(job.run, line(micros(unit.now), None, "attempt", problem, {"attempt": job.attempt}))])
    if until is not None:
        jobs.postpone(unit, job.id, until, job.attempt)
        unit.schedule(until)
        return Counts()
    jobs.drop(unit, [job.id])
    if not job.message:
        runs.fail(unit, locked, problem)
        return Counts()
    failed = FAIL.run(unit, row=job.message, reason=problem)
    traces.append(unit, [(job.run, line(micros(unit.now), None, "message_failed", problem))])
    resumed = runs.resume(unit, [job.message])
    runs.drop_ephemeral(unit, [job.run])
    return Counts(failed=failed, resumed=resumed)
