"""The part of a drain that lets runs go on."""

from __future__ import annotations

import logging
from functools import partial

from notifykit.delivery.retry import retry_at
from notifykit.flow import due
from notifykit.flow.due import Advanced, advance_due
from notifykit.lifecycle.jobs import DueAdvance, WorkFilter, due_advances
from notifykit.queries.versions import newer
from notifykit.texts import error_text, log
from notifykit.unit_of_work.unit import Unit
from notifykit.worker.commands import RunInUnit
from notifykit.worker.drain_state import DrainState, Steps, check, logger, needs, within_budget


def advance_runs(state: DrainState) -> Steps[None]:
    """Move a chunk of runs on; one by one where that fails, so that none holds up the others."""
    try:
        _count(state, (yield from within_budget(state, partial(_advance, state.only))))
        return
    except Exception as error:
        check(error)
    jobs: list[DueAdvance] = yield RunInUnit(partial(_due, state.only))
    for job in jobs:
        if not state.has_time:
            return
        try:
            _count(state, (yield RunInUnit(partial(_advance, WorkFilter(job=job.id)))))
        except Exception as error:
            check(error)
            log(logger, logging.ERROR, "a run cannot go on; it is tried again later", error=error)
            state.done += yield RunInUnit(partial(_defer, job, error_text(error)))


def _count(state: DrainState, advanced: Advanced | None) -> None:
    if advanced is not None:
        state.advanced += advanced.runs
        state.done += advanced.jobs


def _advance(only: WorkFilter, unit: Unit) -> Advanced:
    return advance_due(unit, limit=unit.chunk, only=only)


def _due(only: WorkFilter, unit: Unit) -> list[DueAdvance]:
    return due_advances(unit, needs=needs(unit), limit=unit.chunk, only=only, without=newer(unit))


def _defer(job: DueAdvance, problem: str, unit: Unit) -> bool:
    return due.defer(unit, job, retry_at(unit.now, job.id, job.attempt + 1), problem)
