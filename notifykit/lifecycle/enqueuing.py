"""New jobs: the one place where their rows are made."""

from __future__ import annotations

from collections.abc import Sequence

from notifykit.model import Job
from notifykit.model.job import NewJob
from notifykit.store.rows import insert_new, insert_rows
from notifykit.unit_of_work.unit import Unit

COLUMNS = (*NewJob._fields, "owner", "attempt", "rescues")
UNTRIED = ("", 0, 0)


def enqueue(unit: Unit, jobs: Sequence[NewJob], *, missing_only: bool = False) -> None:
    """Make jobs.

    Args:
        unit: A unit that has locked the runs they belong to, or made them.
        jobs: The jobs.
        missing_only: Leave those alone that are there; else none may be.
    """
    if not jobs:
        return
    stamps = {due_at: unit.timestamp(due_at) for due_at in {job.due_at for job in jobs}}
    rows = [
        (number, environment, stamps[due_at], kind, subject, step, message, needs, *UNTRIED)
        for number, environment, due_at, kind, subject, step, message, needs in jobs
    ]
    (insert_new if missing_only else insert_rows)(unit, Job, COLUMNS, rows)
    unit.schedule(min(stamps))
