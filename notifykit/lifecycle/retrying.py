"""Retry: queue messages again that failed, or whose outcome is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import bindparam, select, update

from notifykit.errors import NotFoundError
from notifykit.ids import STEP_BITS, encode_id, run_and_step
from notifykit.lifecycle.announcing import tell_retried
from notifykit.lifecycle.jobs import drop
from notifykit.lifecycle.runs import JOBS, lock_runs
from notifykit.model import Job
from notifykit.model.codes import JobKind, MessageStatus
from notifykit.model.tables import job, message, subscriber
from notifykit.queries.references import in_scope, scope_row
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

BEFORE = timedelta(microseconds=1)
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
OTHER_JOBS = Statement(select(job.c.id).where(any_of(job.c.run, "runs"), job.c.due_at == bindparam("now")))


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
    again = [row[0] for row in final if row[4] in reachable]
    if again:
        REQUEUE.run(unit, ids=again)
        _enqueue(unit, again)
        tell_retried(unit, again)
    return len(again)


def _enqueue(unit: Unit, messages: Sequence[int]) -> None:
    """One job for each message, due now, with all its attempts before it; their numbers go on in `delivery_attempt`.

    A run that still waits for the outcome goes on waiting: the job that would let it go on has the same id, and goes.
    If another unit has it just now, it will find the message queued.
    """
    runs = sorted({number >> STEP_BITS for number in messages})
    wanted = set(messages)
    drop(unit, [(at, number) for at, number, _, owner in JOBS.rows(unit, runs=runs) if number in wanted and not owner])
    taken = {row[0] for row in OTHER_JOBS.rows(unit, runs=runs, now=unit.now)}
    columns = ("due_at", "id", "kind", "run", "message", "step", "needs", "owner", "attempt", "rescues")
    rows = []
    for number in messages:
        of, step = run_and_step(number)
        due = unit.timestamp(unit.now - BEFORE if number in taken else unit.now)  # (due_at, id) is the key
        rows.append((due, number, JobKind.DELIVER.value, of, number, step, "", "", 0, 0))
    insert_rows(unit, Job, columns, rows)
    unit.schedule(unit.now)
