"""The queue: which waiting work is due, who has it, and how it ends.

A claim is an owner and a lease, held only around calls to the outside. Whatever ends a claim is fenced by owner and
attempt: a worker that was thought dead and lost its job to another one changes nothing. Each function reads the rows
with a lock and then changes those it read, which is one and the same on every database: on SQLite the writer's lock
covers both.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, delete, exists, or_, select, update
from sqlmodel import col

from notifykit.ids import run_and_step
from notifykit.model import Event, Job, Run
from notifykit.model.codes import JobKind
from notifykit.store.rows import table_of
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Unit


class ClaimedJob(NamedTuple):
    """A job as it is after the claim.

    Attributes:
        previous_lease: When the lease of the worker that it was taken from ended, or None where it was free.
    """

    due_at: datetime
    id: int
    kind: int
    run: int
    message: int
    step: int
    needs: str
    attempt: int
    rescues: int
    previous_lease: datetime | None


TABLE = table_of(Job)
FREE_OR_LOST = or_(col(Job.owner) == "", col(Job.lease_until) <= bindparam("now"))
OF_EVENT = col(Job.run).in_(select(col(Run.id)).where(col(Run.event) == bindparam("event")))
OF_A_VERSION = exists(
    select(col(Run.id))
    .join(Event, col(Event.id) == col(Run.event))
    .where(col(Run.id) == col(Job.run), within(Event.version, "without"))
)
"""Only asked where there are versions that this process cannot work on: it reads two more rows a job."""
ORDER = (col(Job.due_at), col(Job.id))
JOB = ("due_at", "id", "kind", "run", "message", "step", "needs", "attempt", "rescues", "lease_until")


def _due(columns: tuple[str, ...], *where: ColumnElement[bool]) -> tuple[Statement, ...]:
    """The query for all due work, and for that of one event; the same twice more, without some versions."""
    query = (
        select(*(TABLE.c[name] for name in columns))
        .where(col(Job.due_at) <= bindparam("now"), within(col(Job.needs), "needs"), *where)
        .order_by(*ORDER)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )
    return (*_but(query), *_but(query.where(OF_EVENT)))


def _but(query: Select[Any]) -> tuple[Statement, Statement]:
    """A query, and the same without some versions."""
    return Statement(query), Statement(query.where(~OF_A_VERSION))


CLAIMABLE = _due(JOB, FREE_OR_LOST, within(col(Job.kind), "kinds"))
ADVANCES = _due(("due_at", "id", "run", "step"), col(Job.owner) == "", col(Job.kind) == JobKind.ADVANCE.value)
THIS = (col(Job.due_at) == bindparam("at"), col(Job.id) == bindparam("job"))
CLAIM = Statement(
    update(Job)
    .where(*THIS)
    .values(
        owner=bindparam("owner"),
        attempt=bindparam("attempt"),
        rescues=bindparam("rescues"),
        lease_until=bindparam("lease_until"),
    )
)
HELD = Statement(
    select(col(Job.due_at), col(Job.id), col(Job.owner), col(Job.attempt))
    .where(within(col(Job.run), "runs"), within(col(Job.id), "jobs"))
    .order_by(col(Job.run), col(Job.id))
    .with_for_update()
)
DROP = Statement(delete(Job).where(*THIS))
POSTPONE = Statement(
    update(Job)
    .where(*THIS)
    .values(due_at=bindparam("until"), owner="", attempt=bindparam("attempt"), rescues=0, lease_until=None)
)
NEXT_FREE, NEXT_FREE_BUT = _but(
    select(col(Job.due_at)).where(col(Job.owner) == "", within(col(Job.needs), "needs")).order_by(*ORDER).limit(1)
)
NEXT_LOST, NEXT_LOST_BUT = _but(
    select(col(Job.lease_until))
    .where(col(Job.due_at) <= bindparam("now"), col(Job.owner) != "", within(col(Job.needs), "needs"))
    .order_by(col(Job.lease_until))
    .limit(1)
)


def claim(
    unit: Unit,
    *,
    kinds: tuple[JobKind, ...],
    needs: Sequence[str],
    owner: str,
    limit: int,
    lease_until: datetime,
    event: int | None = None,
) -> list[ClaimedJob]:
    """Take due jobs that are free, or whose worker's lease has ended: `due_calls` and `take` at once."""
    jobs = due_calls(unit, kinds=kinds, needs=needs, limit=limit, event=event)
    take(unit, jobs, owner=owner, lease_until=lease_until)
    return jobs


def due_calls(
    unit: Unit,
    *,
    kinds: tuple[JobKind, ...],
    needs: Sequence[str],
    limit: int,
    event: int | None = None,
    without: Sequence[int] = (),
) -> list[ClaimedJob]:
    """Due jobs that are free, or whose worker's lease has ended, locked until the unit ends.

    Args:
        unit: The unit in which they are taken.
        kinds: What this worker can do.
        needs: The host functions that this process has, as `workflow/step`; work that needs none is always found.
        limit: How many at most.
        event: Only the work of one event.
        without: Versions whose work is left to other processes.

    Returns:
        The jobs by due time as `take` leaves them: `attempt` counts this claim, `rescues` the workers that were lost
        on the way.
    """
    kind = [kind.value for kind in kinds]
    found = _found(CLAIMABLE, unit, event, without, needs=["", *needs], kinds=kind, limit=limit)
    return [
        ClaimedJob(*each, attempt + 1, rescues + (lease is not None), lease)  # type: ignore[call-arg]
        for *each, attempt, rescues, lease in found
    ]


def take(unit: Unit, jobs: Sequence[ClaimedJob], *, owner: str, lease_until: datetime) -> None:
    """Claim jobs that this unit has locked; they are nobody else's once it is committed.

    Args:
        unit: The unit that read them with `due_calls`.
        jobs: The jobs.
        owner: This worker.
        lease_until: When another worker may take them over.
    """
    CLAIM.many(
        unit,
        [
            {
                "at": job.due_at,
                "job": job.id,
                "owner": owner,
                "attempt": job.attempt,
                "rescues": job.rescues,
                "lease_until": lease_until,
            }
            for job in jobs
        ],
    )


def due_advances(
    unit: Unit, *, needs: Sequence[str], limit: int, event: int | None = None, without: Sequence[int] = ()
) -> list[tuple[datetime, int, int, int]]:
    """Runs that are due to go on, locked until the unit ends: work inside the database needs no lease.

    Args:
        unit: The unit, in which they are advanced and dropped.
        needs: The host functions that this process has.
        limit: How many at most.
        event: Only the work of one event.
        without: Versions whose work is left to other processes.

    Returns:
        Due time, job, run and step of each, by due time.
    """
    found = _found(ADVANCES, unit, event, without, needs=["", *needs], limit=limit)
    return [(due_at, job, run, step) for due_at, job, run, step in found]


def drop(unit: Unit, jobs: Sequence[tuple[datetime, int]]) -> None:
    """Delete jobs that this unit has locked.

    Args:
        unit: The unit that read them with `due_advances`.
        jobs: Due time and job of each.
    """
    DROP.many(unit, [{"at": due_at, "job": job} for due_at, job in sorted(jobs)])


def finish(unit: Unit, jobs: Sequence[tuple[datetime, int, str, int]]) -> set[int]:
    """Delete claimed jobs whose work is done. First in its unit, and only what it returns is gone on with.

    Args:
        unit: The unit that records what the work came to.
        jobs: Due time, job, owner and attempt of each claim.

    Returns:
        The jobs that were still this claim's.
    """
    held = _held(unit, {(job[0], job[1]): (job[2], job[3]) for job in jobs})
    drop(unit, held)
    return {job for _, job in held}


def postpone(unit: Unit, jobs: Sequence[tuple[datetime, int, str, int, datetime, int]]) -> set[int]:
    """Free claimed jobs and let them be due later.

    Args:
        unit: The unit that records why.
        jobs: Due time, job, owner and attempt of each claim, the new due time, and the attempts made so far: less than
            `attempt` where the claim burnt none.

    Returns:
        The jobs that were still this claim's.
    """
    wanted = {(job[0], job[1]): job for job in jobs}
    held = _held(unit, {key: (job[2], job[3]) for key, job in wanted.items()})
    POSTPONE.many(
        unit,
        [{"at": key[0], "job": key[1], "until": wanted[key][4], "attempt": wanted[key][5]} for key in sorted(held)],
    )
    return {job for _, job in held}


def next_due(unit: Unit, needs: Sequence[str], without: Sequence[int] = ()) -> datetime | None:
    """When there is something to do next: a free job falls due, or a lease ends.

    Args:
        unit: The unit.
        needs: The host functions that this process has.
        without: Versions whose work is left to other processes.
    """
    values: dict[str, Any] = {"needs": ["", *needs]} | ({"without": without} if without else {})
    free = (NEXT_FREE_BUT if without else NEXT_FREE).row(unit, **values)
    lost = (NEXT_LOST_BUT if without else NEXT_LOST).row(unit, now=unit.now, **values)
    return min((row[0] for row in (free, lost) if row), default=None)


def _found(
    due: tuple[Statement, ...], unit: Unit, event: int | None, without: Sequence[int], **values: Any
) -> list[tuple[Any, ...]]:
    statement = due[(event is not None) * 2 + bool(without)]
    if event is not None:
        values["event"] = event
    if without:
        values["without"] = without
    return statement.rows(unit, now=unit.now, **values)


def _held(unit: Unit, claims: dict[tuple[datetime, int], tuple[str, int]]) -> list[tuple[datetime, int]]:
    """Which claims still hold, their rows locked."""
    if not claims:
        return []
    jobs = [job for _, job in claims]
    rows = HELD.rows(unit, runs=sorted({run_and_step(job)[0] for job in jobs}), jobs=jobs)
    return [(due_at, job) for due_at, job, owner, attempt in rows if claims.get((due_at, job)) == (owner, attempt)]
