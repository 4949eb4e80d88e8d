"""Claim due jobs, look once more whether their messages may go, and make calls of those that may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import bindparam, func, select, update
from sqlmodel import col

from notifykit.clock import micros
from notifykit.delivery.addresses import addresses, devices
from notifykit.delivery.choices import Choices
from notifykit.delivery.claimed_delivery import ClaimedDelivery, MessageRow
from notifykit.delivery.custom import checked, context
from notifykit.delivery.decisions import (
    CANCELLED,
    DROPPED,
    NO_PROVIDER,
    Decision,
    attempts_exhausted,
    skipped,
    without_sender,
)
from notifykit.delivery.record import Counts, DeliveryResult, record_unknown, settle
from notifykit.delivery.rendering import Renderer
from notifykit.delivery.sending import Call, Rendered, Sender, Senders, Window
from notifykit.lifecycle import jobs as claiming
from notifykit.lifecycle import runs as endings
from notifykit.lifecycle import traces
from notifykit.lifecycle.jobs import ALL_WORK, ClaimedJob, WorkFilter
from notifykit.lifecycle.runs import lock_runs
from notifykit.model import DeliveryAttempt, Message
from notifykit.model.codes import OUTSIDE, MessageStatus, RunStatus
from notifykit.model.trace import line
from notifykit.queries import run_facts, versions
from notifykit.queries.run_facts import RunFacts
from notifykit.settings import LEASE
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

LOAD_MESSAGES = Statement(
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
    ).where(any_of(Message.id, "ids"))
)
FAIL = Statement(
    update(Message)
    .where(col(Message.id) == bindparam("row"), col(Message.status) == MessageStatus.QUEUED.value)
    .values(status=MessageStatus.FAILED.value, reason=bindparam("reason"))
)
WIDER = 8
"""Where all jobs found have runs that others have locked, so many times as many are looked at."""
NUMBERS = Statement(
    select(col(DeliveryAttempt.message), func.max(DeliveryAttempt.attempt))
    .where(any_of(DeliveryAttempt.message, "ids"))
    .group_by(col(DeliveryAttempt.message))
)


@dataclass(slots=True)
class Batch:
    """What one claim took.

    Attributes:
        calls: Calls to make.
        counts: Messages that ended at the claim.
        waiting: What jobs wait for, and how many.
        deferred: Jobs that wait for a provider.
        settled: How many jobs needed no call.
    """

    calls: list[Call] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    waiting: Counter[str] = field(default_factory=Counter)
    deferred: set[int] = field(default_factory=set)
    settled: int = 0

    def add(self, other: Batch) -> None:
        """Take in what another claim took."""
        self.calls += other.calls
        self.counts += other.counts
        self.waiting += other.waiting
        self.deferred |= other.deferred
        self.settled += other.settled


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims, and what for.

    Attributes:
        owner: The name of the claim, which no other one has.
        senders: Who serves which channel here.
        limit: Jobs at most: no more than begin soon.
        at_once: How many of their calls begin at once.
        since: When this process last stopped anybody before the claim, by the numbers of `Stops`.
        deadline: When the drain's budget is spent, by `clock.monotonic`, or None.
        only: Only this work.
        lost_first: Jobs whose worker was lost come first.
    """

    owner: str
    senders: Senders
    limit: int
    at_once: int = 1
    since: int = 0
    deadline: float | None = None
    only: WorkFilter = ALL_WORK
    lost_first: bool = False


def claim(unit: Unit, by: Claimant) -> Batch:
    """Claim due jobs and decide which calls to make.

    What needs no call is settled here, in the same unit: opted out, unreachable or expired messages are skipped, what
    has no provider is put off, what was tried too often is given up.

    Args:
        unit: A unit of its own.
        by: Who claims, and what for.
    """
    batch = Batch()
    jobs, known = _due(unit, by)
    if not jobs:
        return batch
    deliveries, orphans = _tasks(unit, jobs, known)
    claiming.drop(unit, [job.id for job in orphans])
    batch.settled = len(orphans)
    to_call, settled = _sort(unit, by, deliveries, batch)
    window = Window(unit.clock, unit.now + LEASE, unit.stops, by.since, by.deadline)
    unit.effects.on_commit.append(window.open)
    owned = claiming.take(
        unit,
        [delivery.job for delivery, _ in to_call],
        owner=by.owner,
        lease_until=window.lease_until,
        at_once=by.at_once,
    )
    renderer = Renderer()
    for (delivery, sender), job in zip(to_call, owned, strict=True):
        delivery.job = job
        batch.calls.append(_call(delivery, sender, renderer, window))
    record_unknown(unit, [*(delivery for delivery, _ in to_call), *(entry.delivery for entry in settled)])
    batch.counts = settle(unit, settled)
    batch.settled += len(settled)
    return batch


def _due(unit: Unit, by: Claimant) -> tuple[list[ClaimedJob], dict[int, RunFacts]]:
    """Jobs to claim, with their runs, which are locked too: free ones, else one whose worker was lost."""
    for lost in (True, False) if by.lost_first else (False, True):
        jobs, known = _available(unit, by, lost)
        if jobs:
            return jobs[: 1 if lost else by.limit], known
    return [], {}


def _available(unit: Unit, by: Claimant, lost: bool) -> tuple[list[ClaimedJob], dict[int, RunFacts]]:
    """Due jobs whose runs no other unit has locked, to stop them perhaps, and that this library can work on."""
    needs, limit = sorted(unit.registry.functions()), by.limit
    while True:
        jobs = claiming.due_calls(unit, needs=needs, limit=limit, only=by.only, without=versions.newer(unit), lost=lost)
        runs = sorted({job.run for job in jobs})
        locked = lock_runs(unit, runs, wait=False)
        known = run_facts.load(unit, runs)
        if any(facts.version.newer for facts in known.values()):
            continue
        available = [job for job in jobs if job.run in locked or job.run not in known]
        if available or len(jobs) < limit:
            return available, known
        limit *= WIDER


def _sort(
    unit: Unit, by: Claimant, deliveries: Sequence[ClaimedDelivery], batch: Batch
) -> tuple[list[tuple[ClaimedDelivery, Sender]], list[DeliveryResult]]:
    """Those to call, and what becomes of the others."""
    choices = Choices(unit, deliveries)
    to_call, settled = list[tuple[ClaimedDelivery, Sender]](), list[DeliveryResult]()
    serving = {channel: by.senders.of(channel) for channel in OUTSIDE}
    for delivery in deliveries:
        sender = serving[delivery.message.word] if delivery.message is not None else _function(delivery)
        decision = _decide(delivery, sender, choices, unit.now)
        if decision is None:
            assert sender is not None
            to_call.append((delivery, sender))
        else:
            settled.append(DeliveryResult(delivery, decision))
    for entry in settled:
        message = entry.delivery.message
        if entry.decision.reason == NO_PROVIDER and message is not None:
            batch.deferred.add(message.id)
            batch.waiting[f"{message.word}: {NO_PROVIDER}"] += 1
    return to_call, settled


def defer(unit: Unit, job: ClaimedJob, until: datetime | None, problem: str) -> Counts | None:
    """Let a job that cannot be claimed wait, so that it holds up no other one, or give it up.

    Args:
        unit: A unit of its own, after the one that failed.
        job: As `due_calls` gave it.
        until: When to try again; None: never.
        problem: What went wrong.

    Returns:
        What ended; None where another unit has it.
    """
    needs = sorted(unit.registry.functions())
    found = claiming.due_calls(unit, needs=needs, limit=1, only=WorkFilter(job=job.id), lost=job.is_lost)
    locked = lock_runs(unit, [job.run], wait=False) if found else {}
    if not locked:
        return None
    traces.append(unit, [(job.run, line(micros(unit.now), None, "attempt", problem, {"attempt": job.attempt}))])
    if until is not None:
        claiming.postpone(unit, job.id, until, job.attempt)
        unit.schedule(until)
        return Counts()
    claiming.drop(unit, [job.id])
    if not job.message:
        endings.fail(unit, locked, problem)
        return Counts()
    failed = FAIL.run(unit, row=job.message, reason=problem)
    traces.append(unit, [(job.run, line(micros(unit.now), None, "message_failed", problem))])
    resumed = endings.resume(unit, [job.message])
    endings.drop_ephemeral(unit, [job.run])
    return Counts(failed=failed, resumed=resumed)


def _function(delivery: ClaimedDelivery) -> Sender:
    function = delivery.step.function
    assert function is not None
    return Sender("", function)


def _decide(delivery: ClaimedDelivery, sender: Sender | None, choices: Choices, now: datetime) -> Decision | None:
    """What becomes of a job without a call; None where its call is to be made."""
    message = delivery.message
    if message is None:
        return attempts_exhausted(delivery) if delivery.facts.status == RunStatus.WAITING.value else DROPPED
    if message.status != MessageStatus.QUEUED.value:
        return DROPPED
    if message.reason or delivery.facts.person is None or delivery.facts.status == RunStatus.CANCELLED.value:
        return CANCELLED
    if message.expires_at is not None and message.expires_at <= now:
        return skipped("expired")
    if not choices.allow(delivery):
        return skipped("preference")
    if not delivery.is_reachable:
        return skipped("no_address")
    return attempts_exhausted(delivery) or (None if sender else without_sender(delivery, now))


def _call(delivery: ClaimedDelivery, sender: Sender, renderer: Renderer, window: Window) -> Call:
    if delivery.message is None:
        return Call(delivery, sender, partial(_context, delivery), window, check=partial(checked, delivery.step.id))
    return Call(delivery, sender, partial(_message, renderer, delivery), window)


def _context(delivery: ClaimedDelivery) -> Rendered:
    return Rendered(context(delivery))


def _message(renderer: Renderer, delivery: ClaimedDelivery) -> Rendered:
    return Rendered(*renderer.prepare(delivery))


def _tasks(
    unit: Unit, jobs: Sequence[ClaimedJob], known: Mapping[int, RunFacts]
) -> tuple[list[ClaimedDelivery], list[ClaimedJob]]:
    """The jobs with all they need, in a few queries; and those whose run or message is gone."""
    ids = sorted(job.message for job in jobs if job.message)
    messages = {row[0]: MessageRow(*row) for row in LOAD_MESSAGES.rows(unit, ids=ids)} if ids else {}
    numbers: dict[int, int] = dict(NUMBERS.rows(unit, ids=ids)) if ids else {}
    reached = devices(unit, {known[job.run].subscriber_row for job in jobs if _needs_device(job, known, messages)})
    deliveries, orphans = [], []
    for job in jobs:
        facts = known.get(job.run)
        if facts is None or (job.message and job.message not in messages):
            orphans.append(job)
            continue
        subscriber = facts.subscriber
        there = addresses(subscriber, reached.get(facts.subscriber_row))
        number = numbers.get(job.message, 0) + (2 if job.previous_lease else 1)
        deliveries.append(ClaimedDelivery(job, facts, subscriber, messages.get(job.message), there, number))
    return deliveries, orphans


def _needs_device(job: ClaimedJob, known: Mapping[int, RunFacts], messages: Mapping[int, MessageRow]) -> bool:
    return job.run in known and job.message in messages and messages[job.message].word in {"push", "chat"}
