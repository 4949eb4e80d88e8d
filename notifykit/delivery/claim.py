"""Claim due jobs, look once more whether their messages may go, and make calls of those that may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from notifykit.delivery.attempts import record_unknown
from notifykit.delivery.calls import Call, CallInput, StartGate
from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.custom import result_fields, step_context
from notifykit.delivery.decisions import CANCELLED, DROPPED, Decision, attempts_exhausted, skipped, unserved
from notifykit.delivery.loading import load, load_preferences
from notifykit.delivery.record import Counts, DeliveryResult, write_results
from notifykit.delivery.rendering import Renderer
from notifykit.delivery.routing import Route, Router, Sender
from notifykit.lifecycle import jobs as queue
from notifykit.lifecycle.jobs import ALL_WORK, ClaimedJob, WorkFilter
from notifykit.lifecycle.runs import lock_runs
from notifykit.model.codes import MessageStatus, RunStatus
from notifykit.queries import run_facts, versions
from notifykit.queries.preferences import Preferences
from notifykit.queries.run_facts import RunFacts
from notifykit.settings import LEASE, LOCKED_WIDENING, NO_PROVIDER
from notifykit.unit_of_work.unit import Unit


@dataclass(slots=True)
class ClaimResult:
    """What one claim took.

    Attributes:
        calls: Calls to make.
        counts: Messages that ended at the claim.
        waiting_for: What jobs wait for, and how many.
        deferred: Messages that wait for a provider.
        without_call: How many jobs needed no call.
    """

    calls: list[Call] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    waiting_for: Counter[str] = field(default_factory=Counter)
    deferred: set[int] = field(default_factory=set)
    without_call: int = 0

    def add(self, other: ClaimResult) -> None:
        """Take in what another claim took."""
        self.calls += other.calls
        self.counts += other.counts
        self.waiting_for += other.waiting_for
        self.deferred |= other.deferred
        self.without_call += other.without_call


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Who claims, and what for.

    Attributes:
        owner: The name of the claim, which no other one has.
        router: Who sends what here.
        limit: Jobs at most: no more than start soon.
        at_once: How many of their calls start at once.
        since: When this process last stopped anybody before the claim, by the numbers of `Stops`.
        deadline: When the drain's budget is spent, by `clock.monotonic`, or None.
        only: Only this work.
        lost_first: Jobs whose worker was lost come first.
    """

    owner: str
    router: Router
    limit: int
    at_once: int = 1
    since: int = 0
    deadline: float | None = None
    only: WorkFilter = ALL_WORK
    lost_first: bool = False


def claim(unit: Unit, request: ClaimRequest) -> ClaimResult:
    """Claim due jobs and decide which calls to make.

    What needs no call is dealt with here, in the same unit: opted out, unreachable or expired messages are skipped,
    what has no provider is deferred, what was tried too often fails.

    Args:
        unit: A unit of its own.
        request: Who claims, and what for.
    """
    found = ClaimResult()
    jobs, known = _due(unit, request)
    if not jobs:
        return found
    deliveries, orphans = load(unit, jobs, known)
    queue.drop(unit, [job.id for job in orphans])
    to_call, decided = _decide_all(unit, request.router, deliveries)
    found.calls = _take(unit, request, to_call)
    record_unknown(unit, [*(delivery for delivery, _ in to_call), *(result.delivery for result in decided)])
    found.counts = write_results(unit, decided)
    found.without_call = len(orphans) + len(decided)
    for result in decided:
        message = result.delivery.message
        if result.decision.reason == NO_PROVIDER and message is not None:
            found.deferred.add(message.id)
            found.waiting_for[f"{message.channel_name}: {NO_PROVIDER}"] += 1
    return found


def _due(unit: Unit, request: ClaimRequest) -> tuple[list[ClaimedJob], dict[int, RunFacts]]:
    """Jobs to claim, with their runs, which are locked too: free ones, else one whose worker was lost."""
    for lost in (True, False) if request.lost_first else (False, True):
        jobs, known = _available(unit, request, lost)
        if jobs:
            return jobs[: 1 if lost else request.limit], known
    return [], {}


def _available(unit: Unit, request: ClaimRequest, lost: bool) -> tuple[list[ClaimedJob], dict[int, RunFacts]]:
    """Due jobs whose runs no other unit has locked, to stop them perhaps, and that this library can work on."""
    needs, limit = sorted(unit.registry.functions()), request.limit
    while True:
        jobs = queue.due_calls(
            unit, needs=needs, limit=limit, only=request.only, without=versions.newer(unit), lost=lost
        )
        runs = sorted({job.run for job in jobs})
        locked = lock_runs(unit, runs, wait=False)
        known = run_facts.load(unit, runs)
        if any(facts.version.newer for facts in known.values()):
            continue
        available = [job for job in jobs if job.run in locked or job.run not in known]
        if available or len(jobs) < limit:
            return available, known
        limit *= LOCKED_WIDENING


def _decide_all(
    unit: Unit, router: Router, deliveries: Sequence[ClaimedDelivery]
) -> tuple[list[tuple[ClaimedDelivery, Sender]], list[DeliveryResult]]:
    """Those to call, and what becomes of the others."""
    preferences = load_preferences(unit, deliveries)
    to_call, decided = list[tuple[ClaimedDelivery, Sender]](), list[DeliveryResult]()
    for delivery in deliveries:
        route = router.route(delivery)
        decision = _decide(delivery, route, preferences, unit.now)
        if decision is not None:
            decided.append(DeliveryResult(delivery, decision))
        elif route.sender is not None:
            to_call.append((delivery, route.sender))
    return to_call, decided


def _decide(
    delivery: ClaimedDelivery, route: Route, preferences: Mapping[int, Preferences], now: datetime
) -> Decision | None:
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
    wanted = preferences[message.environment].of(delivery.workflow, message.channel_name)
    if not wanted.decision(delivery.facts.subscriber_row, delivery.facts.tenant_row).allow:
        return skipped("preference")
    if not route.targets:
        return skipped("no_address")
    return attempts_exhausted(delivery) or (None if route.sender else unserved(delivery, now))


def _take(unit: Unit, request: ClaimRequest, to_call: Sequence[tuple[ClaimedDelivery, Sender]]) -> list[Call]:
    """Claim the jobs of calls that are to be made."""
    gate = StartGate(unit.clock, unit.now + LEASE, unit.stops, request.since, request.deadline)
    unit.effects.on_commit.append(gate.open)
    claimed = queue.take(
        unit,
        [delivery.job for delivery, _ in to_call],
        owner=request.owner,
        lease_until=gate.lease_until,
        at_once=request.at_once,
    )
    renderer, calls = Renderer(), list[Call]()
    for (delivery, sender), job in zip(to_call, claimed, strict=True):
        delivery.job = job
        calls.append(_call(delivery, sender, renderer, gate))
    return calls


def _call(delivery: ClaimedDelivery, sender: Sender, renderer: Renderer, gate: StartGate) -> Call:
    if delivery.message is None:
        prepare, parse = partial(_custom_input, delivery), partial(result_fields, delivery.step.id)
        return Call(delivery, sender, prepare, gate, parse)
    return Call(delivery, sender, partial(_message_input, renderer, delivery), gate)


def _custom_input(delivery: ClaimedDelivery) -> CallInput:
    return CallInput(step_context(delivery))


def _message_input(renderer: Renderer, delivery: ClaimedDelivery) -> CallInput:
    return CallInput(*renderer.prepare(delivery))
