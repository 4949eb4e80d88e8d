"""Retry: queue messages again that failed, or whose outcome is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select, update

from notifykit.errors import NotFoundError
from notifykit.ids import STEP_BITS, encode_id, run_and_step
from notifykit.lifecycle.announcing import tell_retried
from notifykit.lifecycle.enqueuing import enqueue
from notifykit.lifecycle.jobs import redeliver
from notifykit.lifecycle.runs import lock_runs
from notifykit.model.codes import JobKind, MessageStatus
from notifykit.model.job import NewJob
from notifykit.model.tables import job, message, subscriber
from notifykit.queries.references import in_scope, scope_row
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

CANDIDATES = Statement(
    select(message.c.id, message.c.environment, message.c.tenant, message.c.status, message.c.subscriber)
    .where(any_of(message.c.id, "ids"))
    .order_by(message.c.id)
    .with_for_update()
)
REACHABLE = Statement(select(subscriber.c.id).where(any_of(subscriber.c.id, "ids")))
REQUEUE = Statement(
    update(message).where(any_of(message.c.id, "ids")).values(status=MessageStatus.QUEUED.value, reason=None)
)
THERE = Statement(select(job.c.id).where(any_of(job.c.id, "ids")))
"""Read first: the lock of a job that is not there would be a lock of the gap on MariaDB, in which others insert."""
TAKE = Statement(
    select(job.c.id, job.c.owner).where(any_of(job.c.id, "ids")).order_by(job.c.id).with_for_update(skip_locked=True)
)


def retry(unit: Unit, ids: Sequence[int]) -> int:
    """Queue messages again; they are due now.

    Args:
        unit: A unit that may write.
        ids: Ids of messages, ascending. Those in another state, or whose subscriber is gone, are left alone.

    Returns:
        How many were queued.

    Raises:
        NotFoundError: There is no message with one of the ids.
    """
    scope = scope_row(unit)
    lock_runs(unit, [number >> STEP_BITS for number in ids])
    rows = [row for row in CANDIDATES.rows(unit, ids=ids) if in_scope(unit, row[1], row[2], scope)]
    if missing := set(ids) - {row[0] for row in rows}:
        raise NotFoundError(f"there is no message {encode_id('msg', min(missing))!r}")
    final = [row for row in rows if row[3] in {MessageStatus.FAILED, MessageStatus.UNKNOWN}]
    reachable = {row[0] for row in REACHABLE.rows(unit, ids=[row[4] for row in final])} if final else set()
    again = {row[0]: row[1] for row in final if row[4] in reachable}
    if again:
        REQUEUE.run(unit, ids=list(again))
        _enqueue(unit, again)
        tell_retried(unit, list(again))
    return len(again)


def _enqueue(unit: Unit, messages: Mapping[int, int]) -> None:
    """One job for each message, due now, with all its attempts before it; their numbers go on in `delivery_attempt`.

    A run that still waits for the outcome goes on waiting: the job that would let it go on is the one that delivers the
    message. If another unit has it just now, nobody waits for it here: whoever takes it next finds the message queued.

    Args:
        unit: A unit that has locked the runs: nobody else makes or drops jobs of theirs.
        messages: The environment of each message.
    """
    shown = {number for (number,) in THERE.rows(unit, ids=sorted(messages))}
    mine = TAKE.rows(unit, ids=sorted(shown)) if shown else []
    redeliver(unit, [number for number, owner in mine if not owner])
    taken = {number for number, _ in mine} | (set() if unit.is_external else shown)  # a host's snapshot may be old
    jobs = []
    for number in sorted(messages.keys() - taken):
        run, step = run_and_step(number)
        jobs.append(NewJob(number, messages[number], unit.now, JobKind.DELIVER.value, run, step, number))
    enqueue(unit, jobs, missing_only=True)
    unit.schedule(unit.now)
