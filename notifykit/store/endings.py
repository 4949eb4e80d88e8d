"""How runs end before their time or go on after a delivery: statements that several rooms share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

from sqlalchemy import bindparam, delete, exists, func, select, update
from sqlmodel import col

from notifykit.clock import micros
from notifykit.ids import at_step, text_of
from notifykit.model import Event, Job, Message, Run, Subscriber, SubscriberChannel, Workflow
from notifykit.model.codes import JobKind, MessageStatus, RunStatus
from notifykit.model.subscriber import UNLISTED
from notifykit.model.trace import line
from notifykit.results import CancelReport
from notifykit.signals import RunFinished
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Unit

SCOPES = {
    "run": col(Run.id) == bindparam("run"),
    "event": col(Run.event) == bindparam("event"),
    "subscriber": col(Run.subscriber) == bindparam("subscriber"),
    "workflow": col(Run.event).in_(select(Event.id).where(col(Event.workflow) == bindparam("workflow"))),
}


@cache
def open_jobs(*scopes: str) -> Statement:
    """The jobs of the runs that lie in all of these scopes."""
    return Statement(
        select(Job.run, Job.message, Job.owner, Run.status)
        .join_from(Job, Run, col(Run.id) == Job.run)
        .where(*(SCOPES[scope] for scope in scopes))
        .with_for_update(of=Job)
    )


@cache
def sent_messages(*scopes: str) -> Statement:
    """How many messages of such runs were sent."""
    return Statement(
        select(func.count())
        .select_from(Run)
        .join(Message, (col(Message.id) >= col(Run.id) * 64) & (col(Message.id) < col(Run.id) * 64 + 64))
        .where(*(SCOPES[scope] for scope in scopes), col(Message.status) == MessageStatus.SENT.value)
    )


DROP_JOBS = Statement(delete(Job).where(within(Job.run, "runs"), Job.owner == ""))
CANCEL_MESSAGES = Statement(
    update(Message)
    .where(within(Message.id, "ids"), Message.status == MessageStatus.QUEUED.value)
    .values(status=MessageStatus.CANCELLED.value, reason=bindparam("why"))
)
CANCEL_RUNS = Statement(
    update(Run)
    .where(within(Run.id, "ids"), Run.status == RunStatus.WAITING.value)
    .values(
        status=RunStatus.CANCELLED.value,
        reason=bindparam("why"),
        finished_at=bindparam("now"),
        trace=col(Run.trace).concat(bindparam("line")),
    )
)
ADD_LINE = Statement(update(Run).where(within(Run.id, "ids")).values(trace=col(Run.trace).concat(bindparam("line"))))
NAMES = Statement(
    select(Event.id, Event.transaction_id, Subscriber.subscriber_id, Workflow.key)
    .select_from(Run)
    .join(Event, Event.id == Run.event)
    .join(Workflow, Workflow.id == Event.workflow)
    .join(Subscriber, Subscriber.id == Run.subscriber)
    .where(within(Run.id, "ids"))
)
WAITING_AT = Statement(select(Run.id, Run.step).where(within(Run.id, "ids"), Run.status == RunStatus.WAITING.value))
OVER_AND_UNLISTED = Statement(
    select(Subscriber.id)
    .join_from(Run, Subscriber, Subscriber.id == Run.subscriber)
    .where(
        within(Run.id, "ids"),
        col(Subscriber.subscriber_id).like(UNLISTED + "%"),
        Run.status != RunStatus.WAITING.value,
        ~exists(select(Job.id).where(Job.run == Run.id)),
    )
)
DROP_SUBSCRIBERS = Statement(delete(Subscriber).where(within(Subscriber.id, "ids")))
DROP_CHANNELS = Statement(delete(SubscriberChannel).where(within(SubscriberChannel.subscriber, "ids")))


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
    jobs = open_jobs(*scopes).rows(unit, **scopes)
    free = [job for job in jobs if not job[2]]
    waiting = sorted({run for run, _, _, status in jobs if status == RunStatus.WAITING})
    messages = [message for _, message, _, _ in free if message]
    stopped = 0
    if free:
        DROP_JOBS.run(unit, runs=sorted({run for run, *_ in free}))
    if messages:
        stopped += CANCEL_MESSAGES.run(unit, ids=messages, why=reason)
        stamp = line(micros(unit.now), None, "message_skipped", "cancelled", {"why": reason})
        ADD_LINE.run(unit, ids=[message >> 6 for message in messages], line=stamp)
    if waiting:
        stamp = line(micros(unit.now), None, "run_cancelled", reason)
        stopped += CANCEL_RUNS.run(unit, ids=waiting, why=reason, now=unit.now, line=stamp)
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
    for event, given, subscriber_id, workflow in NAMES.rows(unit, ids=runs):
        unit.emit(RunFinished(given or text_of("txn", event), shown(subscriber_id), workflow, "cancelled", reason))


def shown(subscriber_id: str | None) -> str:
    """A subscriber id as it is seen outside: `''` for an address without a subscriber, or one that is gone."""
    return "" if subscriber_id is None or subscriber_id.startswith(UNLISTED) else subscriber_id
