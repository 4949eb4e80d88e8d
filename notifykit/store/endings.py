"""How runs end before their time or go on after a delivery: statements that several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache

from sqlalchemy import bindparam, delete, exists, func, select, update

from notifykit.events import RunFinished
from notifykit.ids import at_step, text_of
from notifykit.model import Job
from notifykit.model.codes import JobKind, MessageStatus, RunStatus
from notifykit.model.subscriber import UNLISTED
from notifykit.model.tables import event, job, message, run, subscriber, subscriber_channel, workflow
from notifykit.results import CancelReport
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Unit

SCOPES = {
    "run": run.c.id == bindparam("run"),
    "event": run.c.event == bindparam("event"),
    "subscriber": run.c.subscriber == bindparam("subscriber"),
    "workflow": run.c.event.in_(select(event.c.id).where(event.c.workflow == bindparam("workflow"))),
}


@cache
def open_jobs(*scopes: str) -> Statement:
    """The jobs of the runs that lie in all of these scopes."""
    return Statement(
        select(job.c.run, job.c.message, job.c.owner, run.c.status)
        .join_from(job, run, run.c.id == job.c.run)
        .where(*(SCOPES[scope] for scope in scopes))
        .with_for_update(of=job)
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


DROP_JOBS = Statement(delete(job).where(within(job.c.run, "runs"), job.c.owner == ""))
CANCEL_MESSAGES = Statement(
    update(message)
    .where(within(message.c.id, "ids"), message.c.status == MessageStatus.QUEUED.value)
    .values(status=MessageStatus.CANCELLED.value, reason=bindparam("why"))
)
HOLD_MESSAGES = Statement(
    update(message)
    .where(within(message.c.id, "ids"), message.c.status == MessageStatus.QUEUED.value)
    .values(reason=bindparam("why"))
)
"""The calls that are under way go on; a queued message with a reason is not claimed for another one."""
CANCEL_RUNS = Statement(
    update(run)
    .where(within(run.c.id, "ids"), run.c.status == RunStatus.WAITING.value)
    .values(
        status=RunStatus.CANCELLED.value,
        reason=bindparam("why"),
        finished_at=bindparam("now"),
    )
)
ENDED = Statement(
    select(run.c.id).where(
        run.c.id == bindparam("id"),
        run.c.status == RunStatus.CANCELLED.value,
        run.c.finished_at == bindparam("now"),
    )
)
"""That a run ended at this instant: what tells of it is true."""
NAMES = Statement(
    select(event.c.id, event.c.transaction_id, subscriber.c.subscriber_id, workflow.c.key)
    .select_from(run)
    .join(event, event.c.id == run.c.event)
    .join(workflow, workflow.c.id == event.c.workflow)
    .join(subscriber, subscriber.c.id == run.c.subscriber)
    .where(within(run.c.id, "ids"))
)
WAITING_AT = Statement(
    select(run.c.id, run.c.step).where(within(run.c.id, "ids"), run.c.status == RunStatus.WAITING.value)
)
OVER_AND_UNLISTED = Statement(
    select(subscriber.c.id)
    .join_from(run, subscriber, subscriber.c.id == run.c.subscriber)
    .where(
        within(run.c.id, "ids"),
        subscriber.c.subscriber_id.like(UNLISTED + "%"),
        run.c.status != RunStatus.WAITING.value,
        ~exists(select(job.c.id).where(job.c.run == run.c.id)),
    )
)
DROP_SUBSCRIBERS = Statement(delete(subscriber).where(within(subscriber.c.id, "ids")))
DROP_CHANNELS = Statement(delete(subscriber_channel).where(within(subscriber_channel.c.subscriber, "ids")))


def end_runs(
    unit: Unit,
    *,
    reason: str,
    tell: Callable[[Unit, Sequence[int], str], None],
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
        tell: Writes and announces that queued messages were stopped, and why.
        run: Only this run.
        event: Only runs of this event.
        workflow: Only runs of this workflow.
        subscriber: Only runs for the subscriber with this row.

    Returns:
        How many waiting runs and queued messages were stopped, messages were sent before, calls are in flight.
    """
    given = {"run": run, "event": event, "workflow": workflow, "subscriber": subscriber}
    scopes = {name: number for name, number in given.items() if number is not None}
    jobs = open_jobs(*scopes).rows(unit, **scopes)
    free = [job for job in jobs if not job[2]]
    waiting = sorted({run for run, _, _, status in jobs if status == RunStatus.WAITING})
    messages = sorted(message for _, message, _, _ in free if message)
    flying = sorted(message for _, message, owner, _ in jobs if owner and message)
    stopped = 0
    if free:
        DROP_JOBS.run(unit, runs=sorted({run for run, *_ in free}))
    if messages:
        stopped += CANCEL_MESSAGES.run(unit, ids=messages, why=reason)
        tell(unit, messages, reason)
    if flying:
        HOLD_MESSAGES.run(unit, ids=flying, why=reason)
    if waiting:
        stopped += CANCEL_RUNS.run(unit, ids=waiting, why=reason, now=unit.now)
        _tell(unit, waiting, reason)
    drop_unlisted(unit, sorted({run for run, *_ in jobs}))
    sent = sent_messages(*scopes).rows(unit, **scopes)[0][0]
    return CancelReport(stopped=stopped, sent=sent, in_flight=len(jobs) - len(free))


def resume(unit: Unit, messages: Collection[int]) -> None:
    """Let the runs go on that waited for the outcome of these messages: their next step is due now.

    Args:
        unit: A unit that may write, after the jobs of the messages are gone.
        messages: Ids of messages that are final.
    """
    if not messages:
        return
    runs = WAITING_AT.rows(unit, ids=sorted({number >> 6 for number in messages}))
    final = set(messages)
    rows = [(run, step) for run, step in runs if at_step(run, step) in final]
    if rows:
        columns = ("due_at", "id", "kind", "run", "message", "step", "needs", "owner", "attempt", "rescues")
        now = unit.moment(unit.now)
        kind = JobKind.ADVANCE.value
        insert_rows(
            unit, Job, columns, [(now, at_step(run, step), kind, run, 0, step, "", "", 0, 0) for run, step in rows]
        )
        unit.schedule(unit.now)


def drop_unlisted(unit: Unit, runs: Sequence[int]) -> None:
    """Forget addresses without a subscriber whose run has ended and whose last message is final.

    Args:
        unit: A unit that may write.
        runs: Ids of runs that may have ended.
    """
    if not runs:
        return
    over = [number for (number,) in OVER_AND_UNLISTED.rows(unit, ids=runs)]
    if over:
        DROP_CHANNELS.run(unit, ids=over)
        DROP_SUBSCRIBERS.run(unit, ids=over)


def _tell(unit: Unit, runs: Sequence[int], reason: str) -> None:
    if not unit.listens("run_finished"):
        return
    unit.effects.witnesses.append((ENDED, {"id": runs[0], "now": unit.now}))
    for number, given, subscriber_id, key in NAMES.rows(unit, ids=runs):
        unit.emit(RunFinished(given or text_of("txn", number), shown(subscriber_id), key, "cancelled", reason))


def shown(subscriber_id: str | None) -> str:
    """A subscriber id as it is seen outside: `''` for an address without a subscriber, or one that is gone."""
    return "" if subscriber_id is None or subscriber_id.startswith(UNLISTED) else subscriber_id
