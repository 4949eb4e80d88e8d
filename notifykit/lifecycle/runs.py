"""How runs end before their time or go on after a delivery: statements that several rooms share.

The order of locks, which every unit keeps: jobs, without waiting for those that another unit has; subscribers; runs in
the order of their ids; messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Literal

from sqlalchemy import bindparam, delete, exists, func, or_, select, update

from notifykit.events import RunFinished
from notifykit.ids import step_key, transaction_id
from notifykit.lifecycle.announcing import tell_stopped
from notifykit.lifecycle.enqueuing import enqueue
from notifykit.lifecycle.jobs import drop
from notifykit.model.codes import JobKind, MessageStatus, RunStatus
from notifykit.model.job import NewJob
from notifykit.model.subscriber import EPHEMERAL, public_id
from notifykit.model.tables import event, job, message, run, subscriber, subscriber_channel, workflow
from notifykit.results import CancelReport
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

Ending = Literal["failed", "cancelled"]
SUBSCRIBER_DELETED = "subscriber deleted"
TOGETHER = 1000
"""Runs that are stopped together."""
SCOPES = {
    "run": run.c.id == bindparam("run"),
    "event": run.c.event == bindparam("event"),
    "subscriber": run.c.subscriber == bindparam("subscriber"),
    "workflow": run.c.workflow == bindparam("workflow"),
}


@cache
def open_runs(*scopes: str) -> Statement:
    """The runs that lie in all of these scopes and still have something before them."""
    return Statement(
        select(run.c.id)
        .where(
            *(SCOPES[scope] for scope in scopes),
            or_(run.c.status == RunStatus.WAITING.value, exists(select(job.c.id).where(job.c.subject == run.c.id))),
        )
        .order_by(run.c.id)
    )


@cache
def sent_messages(*scopes: str) -> Statement:
    """How many messages of such runs were sent."""
    return Statement(
        select(func.count())
        .select_from(run)
        .join(message, (message.c.id >= run.c.id * 64) & (message.c.id < run.c.id * 64 + 64))
        .where(*(SCOPES[scope] for scope in scopes), message.c.status == MessageStatus.SENT.value)
    )


_RUNS = select(run.c.id, run.c.status).where(any_of(run.c.id, "ids")).order_by(run.c.id)
LOCK = Statement(_RUNS.with_for_update())
TRY_LOCK = Statement(_RUNS.with_for_update(skip_locked=True))
JOBS = Statement(
    select(job.c.id, job.c.kind, job.c.owner)
    .where(any_of(job.c.subject, "runs"))
    .order_by(job.c.id)
    .with_for_update(skip_locked=True)
)
"""The jobs that can be had without waiting, as they are now. Who has another free one cannot have its run, and leaves
it: it stays a hint."""
CLAIMED = Statement(select(job.c.id, job.c.kind).where(any_of(job.c.subject, "runs"), job.c.owner != ""))
"""Also those that are being recorded, which wait for their runs."""
_QUEUED = message.c.status == MessageStatus.QUEUED.value
QUEUED = Statement(
    select(message.c.id)
    .join_from(run, message, (message.c.id >= run.c.id * 64) & (message.c.id < run.c.id * 64 + 64))
    .where(any_of(run.c.id, "runs"), _QUEUED)
)
"""Read without a lock: MariaDB would lock what lies between them too, and with it the messages of other runs."""
LOCK_QUEUED = Statement(
    select(message.c.id).where(any_of(message.c.id, "ids"), _QUEUED).order_by(message.c.id).with_for_update()
)
CANCEL_MESSAGES = Statement(
    update(message)
    .where(any_of(message.c.id, "ids"), message.c.status == MessageStatus.QUEUED.value)
    .values(status=MessageStatus.CANCELLED.value, reason=bindparam("why"))
)
HOLD_MESSAGES = Statement(
    update(message)
    .where(any_of(message.c.id, "ids"), message.c.status == MessageStatus.QUEUED.value)
    .values(reason=bindparam("why"))
)
"""The calls that are under way go on; a queued message with a reason is not claimed for another one."""
END_RUNS = Statement(
    update(run)
    .where(any_of(run.c.id, "ids"), run.c.status == RunStatus.WAITING.value)
    .values(
        status=bindparam("ending"),
        reason=bindparam("why"),
        finished_at=bindparam("now"),
    )
)
ENDED = Statement(
    select(run.c.id).where(
        run.c.id == bindparam("id"),
        run.c.status == bindparam("ending"),
        run.c.finished_at == bindparam("now"),
    )
)
"""That a run ended at this instant: what tells of it is true."""
NAMES = Statement(
    select(event.c.id, event.c.transaction_id, subscriber.c.subscriber_id, workflow.c.key)
    .select_from(run)
    .join(event, event.c.id == run.c.event)
    .join(workflow, workflow.c.id == run.c.workflow)
    .outerjoin(subscriber, subscriber.c.id == run.c.subscriber)
    .where(any_of(run.c.id, "ids"))
)
WAITING_AT = Statement(
    select(run.c.id, run.c.environment, run.c.step).where(
        any_of(run.c.id, "ids"), run.c.status == RunStatus.WAITING.value
    )
)
OVER_AND_EPHEMERAL = Statement(
    select(subscriber.c.id)
    .join_from(run, subscriber, subscriber.c.id == run.c.subscriber)
    .where(
        any_of(run.c.id, "ids"),
        subscriber.c.subscriber_id.like(EPHEMERAL + "%"),
        run.c.status != RunStatus.WAITING.value,
        ~exists(select(job.c.id).where(job.c.subject == run.c.id)),
    )
)
DROP_SUBSCRIBERS = Statement(delete(subscriber).where(any_of(subscriber.c.id, "ids")))
DROP_CHANNELS = Statement(delete(subscriber_channel).where(any_of(subscriber_channel.c.subscriber, "ids")))


def lock_runs(unit: Unit, runs: Iterable[int], *, wait: bool = True) -> dict[int, int]:
    """Lock runs in the order of their ids: their rows say what is true, a job is a hint.

    Args:
        unit: A unit that may write; of the jobs of these runs it waits for none from here on.
        runs: Ids of runs.
        wait: Wait for those that another unit has locked; else they are left out.

    Returns:
        The status of each run, as it is now.
    """
    ids = sorted(set(runs))
    return dict((LOCK if wait else TRY_LOCK).rows(unit, ids=ids)) if ids else {}


def end_runs(
    unit: Unit,
    *,
    reason: str,
    run: int | None = None,
    event: int | None = None,
    workflow: int | None = None,
    subscriber: int | None = None,
) -> CancelReport:
    """Stop what waits: runs, and queued messages that nobody has claimed; of several scopes what lies in all of them.

    A message whose call is under way is sent if that call succeeds, and is not tried again if it fails.

    Args:
        unit: A unit that may write.
        reason: What runs and messages are marked with.
        run: Only this run.
        event: Only runs of this event.
        workflow: Only runs of this workflow.
        subscriber: Only runs for the subscriber with this row.

    Returns:
        How many waiting runs and queued messages were stopped, messages were sent before, calls are in flight.
    """
    given = {"run": run, "event": event, "workflow": workflow, "subscriber": subscriber}
    scopes = {name: number for name, number in given.items() if number is not None}
    stopped = in_flight = 0
    rest = iter(open_runs(*scopes).rows(unit, **scopes))
    while runs := [number for (number,) in islice(rest, TOGETHER)]:
        ended, flying = stop(unit, lock_runs(unit, runs), reason)
        stopped, in_flight = stopped + ended, in_flight + flying
    sent = sent_messages(*scopes).rows(unit, **scopes)[0][0]
    return CancelReport(stopped=stopped, sent=sent, in_flight=in_flight)


def stop(unit: Unit, runs: Mapping[int, int], reason: str) -> tuple[int, int]:
    """Stop runs that this unit has locked, and their queued messages.

    Args:
        unit: A unit that may write.
        runs: What `lock_runs` gave: what is read from here on has come since and counts.
        reason: What runs and messages are marked with.

    Returns:
        How many waiting runs and queued messages were stopped, and how many calls are in flight.
    """
    numbers = sorted(runs)
    jobs = JOBS.rows(unit, runs=numbers)
    drop(unit, [number for number, _, owner in jobs if not owner])
    claimed = {number: kind for number, kind, owner in jobs if owner} | dict(CLAIMED.rows(unit, runs=numbers))
    queued = _queued(unit, numbers, {number for number, kind, _ in jobs if kind == JobKind.DELIVER})
    stopped = [number for number in queued if number not in claimed]
    flying = [number for number in queued if number in claimed]
    if stopped:
        CANCEL_MESSAGES.run(unit, ids=stopped, why=reason)
        tell_stopped(unit, stopped, reason)
    if flying:
        HOLD_MESSAGES.run(unit, ids=flying, why=reason)
    waiting = _waiting(runs)
    _end(unit, waiting, "cancelled", reason)
    drop_ephemeral(unit, numbers)
    unit.stop(runs=numbers)
    return len(stopped) + len(waiting), len(flying) + list(claimed.values()).count(JobKind.CUSTOM)


def _queued(unit: Unit, runs: Sequence[int], of_jobs: set[int]) -> list[int]:
    """The queued messages of runs, locked; those of jobs too, which may be newer than a host's snapshot."""
    ids = of_jobs.union(number for (number,) in QUEUED.rows(unit, runs=runs))
    return [number for (number,) in LOCK_QUEUED.rows(unit, ids=sorted(ids))] if ids else []


def fail(unit: Unit, runs: Mapping[int, int], reason: str) -> None:
    """End those of the runs that this unit has locked which wait, and cannot go on.

    Args:
        unit: A unit that may write.
        runs: What `lock_runs` gave.
        reason: What they are marked with.
    """
    _end(unit, _waiting(runs), "failed", reason)
    drop_ephemeral(unit, sorted(runs))


def _waiting(runs: Mapping[int, int]) -> list[int]:
    return sorted(number for number, status in runs.items() if status == RunStatus.WAITING)


def _end(unit: Unit, runs: Sequence[int], ending: Ending, reason: str) -> None:
    if runs:
        END_RUNS.run(unit, ids=runs, ending=RunStatus[ending.upper()].value, why=reason, now=unit.now)
        _tell(unit, runs, ending, reason)


def resume(unit: Unit, messages: Collection[int]) -> int:
    """Let the runs go on that wait for the outcome of these messages: their next step is due now.

    Args:
        unit: A unit that has locked the runs, after the jobs of the messages are gone.
        messages: Ids of messages that are final.

    Returns:
        How many runs go on.
    """
    if not messages:
        return 0
    runs = WAITING_AT.rows(unit, ids=sorted({number >> 6 for number in messages}))
    final = set(messages)
    jobs = [
        NewJob(step_key(run, step), environment, unit.now, JobKind.ADVANCE.value, run, step)
        for run, environment, step in runs
        if step_key(run, step) in final
    ]
    enqueue(unit, jobs)
    return len(jobs)


def drop_ephemeral(unit: Unit, runs: Sequence[int]) -> None:
    """Forget addresses without a subscriber whose run has ended and whose last message is final.

    Args:
        unit: A unit that may write.
        runs: Ids of runs that may have ended.
    """
    if not runs:
        return
    over = [number for (number,) in OVER_AND_EPHEMERAL.rows(unit, ids=runs)]
    if over:
        DROP_CHANNELS.run(unit, ids=over)
        DROP_SUBSCRIBERS.run(unit, ids=over)


def _tell(unit: Unit, runs: Sequence[int], ending: Ending, reason: str) -> None:
    if not unit.listens("run_finished"):
        return
    unit.effects.commit_probes.append(
        (ENDED, {"id": runs[0], "ending": RunStatus[ending.upper()].value, "now": unit.now})
    )
    for number, given, subscriber_id, key in NAMES.rows(unit, ids=runs):
        unit.emit(RunFinished(transaction_id(given, number), public_id(subscriber_id), key, ending, reason))
