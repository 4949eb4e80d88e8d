"""The queue: which waiting work is due, who has it, and how it ends.

A claim is an owner and a lease, held only around calls to the outside. Its owner is a name that no other claim has, and
whatever ends it is fenced by owner and attempt: a worker that was thought dead and lost its job to another one changes
nothing. Each function reads the rows with a lock and then changes those it read, which is one and the same on every
database: on SQLite the writer's lock covers both. Jobs come first in a unit, and are never waited for after a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, exists, or_, select, update
from sqlmodel import col

from notifykit.model import Event, Job, Run
from notifykit.model.codes import JobKind
from notifykit.store.rows import table_of
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit


class ClaimedJob(NamedTuple):
    """A job as it is after the claim.

    Attributes:
        attempt: Counts this claim.
        rescues: How many workers were lost in its call.
        previous_lease: When the lease of a worker that was lost in its call ended; None where no call had begun.
        is_lost: Another worker had claimed it.
    """

    id: int
    due_at: datetime
    kind: int
    run: int
    message: int
    step: int
    needs: str
    attempt: int
    rescues: int
    previous_lease: datetime | None
    is_lost: bool = False
    owner: str = ""


class DueAdvance(NamedTuple):
    """A run that is due to go on."""

    id: int
    run: int
    step: int
    attempt: int


TABLE = table_of(Job)
BEHIND = "+"
"""Ends the owner of a claimed job whose call waits for others of its claim: if its lease is lost, no call had begun."""
IS_FREE = col(Job.owner) == ""
IS_LOST = and_(col(Job.owner) != "", col(Job.lease_until) <= bindparam("now"))
OF_EVENT = col(Job.subject).in_(select(col(Run.id)).where(col(Run.event) == bindparam("event")))
OF_A_VERSION = exists(
    select(col(Run.id))
    .join(Event, col(Event.id) == col(Run.event))
    .where(col(Run.id) == col(Job.subject), any_of(Event.version, "without"))
)
"""Only asked where there are versions that this process cannot work on: it reads two more rows a job."""
ORDER = (col(Job.due_at), col(Job.id))
JOB = ("id", "due_at", "kind", "subject", "message", "step", "needs", "attempt", "rescues", "owner", "lease_until")
THIS = col(Job.id) == bindparam("job")
CALLS = (JobKind.DELIVER.value, JobKind.CUSTOM.value)


@dataclass(frozen=True, slots=True)
class WorkFilter:
    """Which due work is asked for: all of it, that of one event, or one job.

    Attributes:
        event: Only the work of this event.
        job: Only this job.
    """

    event: int | None = None
    job: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What the filtered statements want to know."""
        if self.job is not None:
            return {"job": self.job}
        return {} if self.event is None else {"event": self.event}

    def pick(self, due: Due) -> tuple[Statement, Statement]:
        """The filtered statements: the query, and the same without some versions."""
        return due.one if self.job is not None else due.all if self.event is None else due.of_event


ALL_WORK = WorkFilter()


class Due(NamedTuple):
    """One query for due work, under each filter."""

    all: tuple[Statement, Statement]
    of_event: tuple[Statement, Statement]
    one: tuple[Statement, Statement]

    @classmethod
    def of(cls, columns: tuple[str, ...], *where: ColumnElement[bool], lock: bool = True) -> Due:
        """The query for due work of some kind; jobs that another unit has locked are left out where it locks."""
        query = (
            select(*(TABLE.c[name] for name in columns))
            .where(col(Job.due_at) <= bindparam("now"), any_of(col(Job.needs), "needs"), *where)
            .order_by(*ORDER)
            .limit(bindparam("limit"))
        )
        query = query.with_for_update(skip_locked=True) if lock else query
        return cls(_but(query), _but(query.where(OF_EVENT)), _but(query.where(THIS)))


def _but(query: Select[Any]) -> tuple[Statement, Statement]:
    """A query, and the same without some versions."""
    return Statement(query), Statement(query.where(~OF_A_VERSION))


IS_CALL = col(Job.kind).in_(CALLS)
IS_ADVANCE = (IS_FREE, col(Job.kind) == JobKind.ADVANCE.value)
FREE_CALLS = Due.of(JOB, IS_FREE, IS_CALL)
LOST_CALLS = Due.of(JOB, IS_LOST, IS_CALL)
ADVANCES = Due.of(("id", "subject", "step", "attempt"), *IS_ADVANCE)
ANY_CALL = Due.of(("id",), or_(IS_FREE, IS_LOST), IS_CALL, lock=False)
ANY_ADVANCE = Due.of(("id",), *IS_ADVANCE, lock=False)
CLAIM = Statement(
    update(Job)
    .where(THIS)
    .values(
        owner=bindparam("owner"),
        attempt=bindparam("attempt"),
        rescues=bindparam("rescues"),
        lease_until=bindparam("lease_until"),
    )
)
_CLAIMS = select(col(Job.id), col(Job.owner), col(Job.attempt)).where(any_of(col(Job.id), "jobs")).order_by(col(Job.id))
HELD = Statement(_CLAIMS.with_for_update())
TRY_HELD = Statement(_CLAIMS.with_for_update(skip_locked=True))
CLAIMS = Statement(_CLAIMS)
DROP = Statement(delete(Job).where(THIS))
POSTPONE = Statement(
    update(Job)
    .where(THIS)
    .values(
        due_at=bindparam("until"),
        owner="",
        attempt=bindparam("attempt"),
        rescues=bindparam("rescues"),
        lease_until=None,
    )
)
REDELIVER = Statement(
    update(Job)
    .where(any_of(Job.id, "ids"))
    .values(
        due_at=bindparam("now"),
        kind=JobKind.DELIVER.value,
        message=col(Job.id),
        needs="",
        owner="",
        attempt=0,
        rescues=0,
        lease_until=None,
    )
)
FENCED = (THIS, any_of(col(Job.owner), "owners"))
RENEW = Statement(update(Job).where(*FENCED).values(owner=bindparam("owner"), lease_until=bindparam("lease_until")))
BEGUN = Statement(update(Job).where(*FENCED).values(owner=bindparam("owner")))
GIVE_BACK = Statement(
    update(Job)
    .where(col(Job.due_at) <= bindparam("now"), any_of(col(Job.owner), "owners"))
    .values(owner="", attempt=col(Job.attempt) - 1, lease_until=None)
)
NEXT_FREE, NEXT_FREE_BUT = _but(
    select(col(Job.due_at)).where(IS_FREE, any_of(col(Job.needs), "needs")).order_by(*ORDER).limit(1)
)
NEXT_LOST, NEXT_LOST_BUT = _but(
    select(col(Job.lease_until))
    .where(col(Job.due_at) <= bindparam("now"), col(Job.owner) != "", any_of(col(Job.needs), "needs"))
    .order_by(col(Job.lease_until))
    .limit(1)
)


class Later(NamedTuple):
    """A claimed job that is to be free again.

    Attributes:
        until: When it is due.
        attempt: The attempts made so far: less than the job's where no call was made.
        rescues: The workers lost in its call so far.
    """

    job: ClaimedJob
    until: datetime
    attempt: int
    rescues: int


def due_calls(
    unit: Unit,
    *,
    needs: Sequence[str],
    limit: int,
    only: WorkFilter = ALL_WORK,
    without: Sequence[int] = (),
    lost: bool = False,
) -> list[ClaimedJob]:
    """Due calls that are free, or those whose worker's lease has ended, locked until the unit ends.

    Whoever was lost in a call may have been killed by it: such a job is to be tried alone.

    Args:
        unit: The unit in which they are taken.
        needs: The host functions that this process has, as `workflow/step`; work that needs none is always found.
        limit: How many at most.
        only: Only this work.
        without: Versions whose work is left to other processes.
        lost: Those whose worker's lease has ended.

    Returns:
        The jobs by due time as `take` leaves them, but for their owner.
    """
    due = LOST_CALLS if lost else FREE_CALLS
    return [_claimed(*row) for row in _rows(due, unit, only, without, needs=["", *needs], limit=limit)]


def _claimed(*row: Any) -> ClaimedJob:
    *known, attempt, rescues, owner, lease = row
    if not owner:
        return ClaimedJob._make((*known, attempt + 1, rescues, None, False, ""))
    if owner.endswith(BEHIND):
        return ClaimedJob._make((*known, attempt, rescues, None, True, ""))
    return ClaimedJob._make((*known, attempt + 1, rescues + 1, lease, True, ""))


def take(
    unit: Unit, jobs: Sequence[ClaimedJob], *, owner: str, lease_until: datetime, at_once: int = 1
) -> list[ClaimedJob]:
    """Claim jobs that this unit has locked; they are nobody else's once it is committed.

    Args:
        unit: The unit that read them with `due_calls`.
        jobs: The jobs.
        owner: The name of this claim, which no other one has.
        lease_until: When another worker may take them over.
        at_once: How many of the calls begin at once; the others wait for those.

    Returns:
        The jobs with their owners.
    """
    mine = [job._replace(owner=owner if at < at_once else owner + BEHIND) for at, job in enumerate(jobs)]
    CLAIM.many(
        unit,
        [
            {
                "job": job.id,
                "owner": job.owner,
                "attempt": job.attempt,
                "rescues": job.rescues,
                "lease_until": lease_until,
            }
            for job in mine
        ],
    )
    return mine


def renew(unit: Unit, jobs: Iterable[ClaimedJob], lease_until: datetime) -> None:
    """Keep jobs whose calls are under way and take long; one that was lost meanwhile stays lost."""
    RENEW.many(unit, [_begun(job) | {"lease_until": lease_until} for job in sorted(jobs)])


def note_begun(unit: Unit, jobs: Iterable[ClaimedJob]) -> None:
    """Note of calls that waited behind others that they had begun, and that nobody will tell how they end."""
    BEGUN.many(unit, [_begun(job) for job in sorted(jobs) if job.owner.endswith(BEHIND)])


def give_back(unit: Unit, owner: str) -> None:
    """Free all jobs of a claim whose calls have not begun, where nobody knows any more which they are."""
    GIVE_BACK.run(unit, now=unit.now, owners=[owner, owner + BEHIND])


def due_advances(
    unit: Unit, *, needs: Sequence[str], limit: int, only: WorkFilter = ALL_WORK, without: Sequence[int] = ()
) -> list[DueAdvance]:
    """Runs that are due to go on, locked until the unit ends: work inside the database needs no lease.

    Args:
        unit: The unit, in which they are advanced and dropped.
        needs: The host functions that this process has.
        limit: How many at most.
        only: Only this work.
        without: Versions whose work is left to other processes.

    Returns:
        The jobs, by due time.
    """
    found = _rows(ADVANCES, unit, only, without, needs=["", *needs], limit=limit)
    return [DueAdvance._make(row) for row in found]


def is_due(
    unit: Unit, *, needs: Sequence[str], only: WorkFilter = ALL_WORK, without: Sequence[int] = ()
) -> tuple[bool, bool]:
    """Whether there are runs that are due to go on, and calls that are due; nothing is locked."""
    values: dict[str, Any] = {"needs": ["", *needs], "limit": 1}
    advances, calls = (bool(_rows(due, unit, only, without, **values)) for due in (ANY_ADVANCE, ANY_CALL))
    return advances, calls


def drop(unit: Unit, jobs: Iterable[int]) -> None:
    """Delete jobs that this unit has locked, by their ids."""
    DROP.many(unit, [{"job": job} for job in sorted(jobs)])


def postpone(unit: Unit, job: int, until: datetime, attempt: int) -> None:
    """Let a job that this unit has locked be due later, with so many attempts behind it."""
    POSTPONE.run(unit, job=job, until=until, attempt=attempt, rescues=0)


def free(unit: Unit, later: Iterable[Later]) -> None:
    """Let jobs that this unit has locked be free, and due later."""
    POSTPONE.many(
        unit,
        [
            {"job": job.id, "until": until, "attempt": attempt, "rescues": rescues}
            for job, until, attempt, rescues in sorted(later)
        ],
    )


def redeliver(unit: Unit, jobs: Sequence[int]) -> None:
    """Let jobs that this unit has locked deliver their messages now: what would let a run go on waits with it again."""
    if jobs:
        REDELIVER.run(unit, ids=jobs, now=unit.now)
        unit.schedule(unit.now)


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


def _rows(due: Due, unit: Unit, only: WorkFilter, without: Sequence[int], **values: Any) -> list[tuple[Any, ...]]:
    whole, but = only.pick(due)
    if without:
        values["without"] = without
    return (but if without else whole).rows(unit, now=unit.now, **only.values, **values)


def _begun(job: ClaimedJob) -> dict[str, Any]:
    owner = job.owner.removesuffix(BEHIND)
    return {"job": job.id, "owners": [owner, owner + BEHIND], "owner": owner}


def held(unit: Unit, claims: Sequence[ClaimedJob], *, wait: bool) -> tuple[set[ClaimedJob], set[ClaimedJob]]:
    """Which jobs are still these claims'.

    Args:
        unit: The unit that records what their work came to.
        claims: The jobs as they were claimed.
        wait: Wait for those that another unit has locked.

    Returns:
        Those that are locked now, and those that another unit has locked.
    """
    if not claims:
        return set(), set()
    mine = _still(unit, claims, HELD if wait else TRY_HELD)
    rest = [job for job in claims if job not in mine]
    return mine, set() if wait or not rest else _still(unit, rest, CLAIMS)


def _still(unit: Unit, claims: Sequence[ClaimedJob], statement: Statement) -> set[ClaimedJob]:
    rows = statement.rows(unit, jobs=sorted(job.id for job in claims))
    there = {job: (owner.removesuffix(BEHIND), attempt) for job, owner, attempt in rows}
    return {job for job in claims if there.get(job.id) == (job.owner.removesuffix(BEHIND), job.attempt)}
