"""Claim due jobs, look once more whether their messages may go, and make calls of those that may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import func, select
from sqlmodel import col

from notifykit.delivery.addresses import addresses, devices
from notifykit.delivery.choices import Choices
from notifykit.delivery.custom import checked, context
from notifykit.delivery.record import Entry, Tally, record, record_unknown
from notifykit.delivery.rendering import Renderer
from notifykit.delivery.rulings import CANCELLED, DROPPED, NO_PROVIDER, Ruling, skipped, without_sender, worn_out
from notifykit.delivery.sending import Call, Prepared, Sender, Senders
from notifykit.delivery.task import Stored, Task
from notifykit.model import DeliveryAttempt, Message
from notifykit.model.codes import OUTSIDE, JobKind, MessageStatus, RunStatus
from notifykit.resources import run_facts, versions
from notifykit.resources.run_facts import RunFacts
from notifykit.settings import LEASE
from notifykit.store import claiming
from notifykit.store.claiming import ClaimedJob
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Unit
from notifykit.workflow.steps import Custom

MESSAGES = Statement(
    select(
        col(Message.id),
        col(Message.environment),
        col(Message.channel),
        col(Message.status),
        col(Message.reason),
        col(Message.subject),
        col(Message.body),
        col(Message.data),
        col(Message.expires_at),
        col(Message.created_at),
    ).where(within(Message.id, "ids"))
)
NUMBERS = Statement(
    select(col(DeliveryAttempt.message), func.max(DeliveryAttempt.attempt))
    .where(within(DeliveryAttempt.message, "ids"))
    .group_by(col(DeliveryAttempt.message))
)
DELIVERIES = (JobKind.DELIVER, JobKind.CUSTOM)


@dataclass(slots=True)
class Batch:
    """What one claim took.

    Attributes:
        calls: Calls to make, each for its job.
        tally: Messages that ended at the claim.
        waiting: What jobs wait for, and how many.
        put_off: Jobs that wait for a provider.
        claimed: How many jobs were taken.
    """

    calls: list[tuple[Task, Call]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    waiting: Counter[str] = field(default_factory=Counter)
    put_off: set[int] = field(default_factory=set)
    claimed: int = 0


def claim(unit: Unit, senders: Senders, *, owner: str, limit: int, event: int | None, deadline: float | None) -> Batch:
    """Claim due jobs and decide which calls to make.

    What needs no call is settled here, in the same unit: opted out, unreachable or expired messages are skipped, what
    has no provider is put off, what was tried too often is given up.

    Args:
        unit: A unit of its own.
        senders: Who serves which channel here.
        owner: Who claims.
        limit: Jobs at most; all of their calls should fit in one lease.
        event: Only this event's, or None.
        deadline: When the drain's budget is spent, by `clock.monotonic`; the first call is made in any case.
    """
    jobs, known = _due(unit, limit, event)
    batch = Batch(claimed=len(jobs))
    if jobs:
        claiming.take(unit, jobs, owner=owner, lease_until=unit.now + LEASE)
        tasks, orphans = _tasks(unit, jobs, known)
        claiming.finish(unit, [(job.due_at, job.id, owner, job.attempt) for job in orphans])
        record_unknown(unit, [task for task in tasks if task.job.previous_lease and task.message is not None])
        _sort(unit, senders, owner, tasks, batch, deadline)
    return batch


def _due(unit: Unit, limit: int, event: int | None) -> tuple[list[ClaimedJob], dict[int, RunFacts]]:
    """Jobs to claim, with their runs; what only a newer library can work on is left alone."""
    needs = sorted(unit.registry.functions())
    while True:
        jobs = claiming.due_calls(
            unit, kinds=DELIVERIES, needs=needs, limit=limit, event=event, without=versions.newer(unit)
        )
        known = run_facts.load(unit, sorted({job.run for job in jobs}))
        if not any(facts.version.newer for facts in known.values()):
            return jobs, known


def _sort(
    unit: Unit, senders: Senders, owner: str, tasks: Sequence[Task], batch: Batch, deadline: float | None
) -> None:
    choices, renderer, settled = Choices(unit, tasks), Renderer(), list[Entry]()
    serving = {channel: senders.of(channel) for channel in OUTSIDE}
    for task in tasks:
        sender = serving[task.message.word] if task.message is not None else _function(task)
        ruling = _ruling(task, sender, choices, unit.now)
        if ruling is None:
            assert sender is not None
            batch.calls.append((task, _call(unit, task, sender, renderer, deadline if batch.calls else None)))
            continue
        settled.append(Entry(task, ruling))
        if ruling.reason == NO_PROVIDER and task.message is not None:
            batch.put_off.add(task.job.id)
            batch.waiting[f"{task.message.word}: {NO_PROVIDER}"] += 1
    batch.tally = record(unit, owner, settled)


def _function(task: Task) -> Sender:
    assert isinstance(task.step, Custom)
    return Sender("", task.step.run)


def _ruling(task: Task, sender: Sender | None, choices: Choices, now: datetime) -> Ruling | None:
    """What becomes of a job without a call; None where its call is to be made."""
    message = task.message
    if message is None:
        return worn_out(task) if task.facts.status == RunStatus.WAITING.value else DROPPED
    if message.status != MessageStatus.QUEUED.value:
        return DROPPED
    if message.reason or task.facts.person is None or task.facts.status == RunStatus.CANCELLED.value:
        return CANCELLED
    if message.expires_at is not None and message.expires_at <= now:
        return skipped("expired")
    if not choices.allow(task):
        return skipped("preference")
    if not task.is_reachable:
        return skipped("no_address")
    return worn_out(task) or (None if sender else without_sender(task, now))


def _call(unit: Unit, task: Task, sender: Sender, renderer: Renderer, deadline: float | None) -> Call:
    lease_until = unit.now + LEASE
    if task.message is None:
        argument = partial(_context, task)
        return Call(sender, argument, unit.clock, lease_until, deadline, check=partial(checked, task.step.id))
    return Call(sender, partial(_message, renderer, task), unit.clock, lease_until, deadline)


def _context(task: Task) -> Prepared:
    return Prepared(context(task))


def _message(renderer: Renderer, task: Task) -> Prepared:
    return Prepared(*renderer.prepare(task))


def _tasks(
    unit: Unit, jobs: Sequence[ClaimedJob], known: Mapping[int, RunFacts]
) -> tuple[list[Task], list[ClaimedJob]]:
    """The jobs with all they need, in a few queries; and those whose run or message is gone."""
    ids = sorted(job.message for job in jobs if job.message)
    messages = {row[0]: Stored(*row) for row in MESSAGES.rows(unit, ids=ids)} if ids else {}
    numbers: dict[int, int] = dict(NUMBERS.rows(unit, ids=ids)) if ids else {}
    reached = devices(unit, {known[job.run].subscriber_row for job in jobs if _needs_device(job, known, messages)})
    tasks, orphans = [], []
    for job in jobs:
        facts = known.get(job.run)
        if facts is None or (job.message and job.message not in messages):
            orphans.append(job)
            continue
        subscriber = facts.subscriber
        there = addresses(subscriber, reached.get(facts.subscriber_row))
        number = numbers.get(job.message, 0) + (2 if job.previous_lease else 1)
        tasks.append(Task(job, facts, subscriber, messages.get(job.message), there, number))
    return tasks, orphans


def _needs_device(job: ClaimedJob, known: Mapping[int, RunFacts], messages: Mapping[int, Stored]) -> bool:
    return job.run in known and job.message in messages and messages[job.message].word in {"push", "chat"}
