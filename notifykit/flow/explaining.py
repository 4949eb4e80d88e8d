"""Explain: walk the way of a trigger without writing, under a clock that runs ahead, and say what would happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from typing import Any, Literal

from notifykit.flow import audience, wire
from notifykit.flow.advance import advance
from notifykit.flow.batch import FIND_GIVEN, event_context
from notifykit.flow.moving import AdvanceContext
from notifykit.flow.pending_trigger import PendingTrigger
from notifykit.flow.prefetch import prefetch
from notifykit.flow.run_columns import Changes, Instant, RunColumns
from notifykit.flow.steps import behaviour_of
from notifykit.flow.subscriber_set import SubscriberSet
from notifykit.flow.tenant_set import TenantSet
from notifykit.flow.topic_members import TopicMembers
from notifykit.flow.trace_log import Record, TraceEntry, TraceLog
from notifykit.flow.validation import validate
from notifykit.model.codes import RunStatus
from notifykit.model.subscriber import public_id
from notifykit.plan import Plan, Planned, SkipReason
from notifykit.queries.facts import Facts
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import BoundWorkflow, Workflow
from notifykit.workflow.serialization import MissingFunction

WAITING = RunStatus.WAITING.value
OUTCOMES: dict[str, Literal["send", "wait", "skip", "fail"]] = {
    "message_sent": "send",
    "message_queued": "send",
    "message_skipped": "skip",
    "step_skipped": "skip",
    "message_failed": "fail",
    "step_failed": "fail",
    "step_waiting": "wait",
}
UNKNOWN = "unknown until run"
"""The rule of what reads a custom step that has not yet returned."""
ABSENT = "the condition is a function that this process does not have"


@dataclass(order=True, slots=True)
class _Suspended:
    """Runs that go on at a moment of the clock that runs ahead."""

    at: datetime
    turn: int
    runs: RunColumns
    position: int
    records: list[dict[str, Record]]


def explain(
    unit: Unit,
    workflow: str | BoundWorkflow[Any] | Workflow[Any, ...],
    to: Any,
    payload: Any,
    options: Mapping[str, Any],
) -> Plan:
    """What a trigger would do, recipient by recipient; nothing is written.

    Raises:
        NotFoundError: The workflow is unknown.
        InputError: A value is refused, or no valid recipient is left.
    """
    unit = replace(unit, dry=True)
    (pending,) = validate(unit, [wire.trigger_request(workflow, to, payload, options)])
    if pending.error is not None:
        raise pending.error
    if reason := _refusal(unit, pending):
        return _plan(0, list(_left_out(unit, pending, reason)))
    return _Rehearsal(unit, pending).plan()


def _refusal(unit: Unit, pending: PendingTrigger) -> SkipReason | None:
    """Why nothing of the trigger would be stored."""
    if pending.status != "processed":
        return "inactive"
    given = pending.transaction_id
    if given is not None and FIND_GIVEN.rows(unit, environment=unit.environment, given=[given]):
        return "duplicate"
    return None


def _left_out(unit: Unit, pending: PendingTrigger, reason: SkipReason) -> Iterator[Planned]:
    rule = "; ".join(map(str, pending.problems)) or f"the transaction id {pending.transaction_id!r} was used before"
    for who in [pending.only] if pending.only is not None else pending.audience.named:
        yield Planned(who, None, None, "skip", unit.now, reason, rule)


class _Rehearsal:
    """One trigger walked through in memory."""

    def __init__(self, unit: Unit, pending: PendingTrigger) -> None:
        self.unit, self.request = unit, pending
        self.subscribers = SubscriberSet(unit)
        self.rows: list[Planned] = []
        self.turn = count()
        self.queue: list[_Suspended] = []
        self.facts = Facts()

    def plan(self) -> Plan:
        runs = self._runs()
        self.facts = prefetch(self.unit, [runs])
        self._given_devices()
        heappush(self.queue, _Suspended(self.unit.now, next(self.turn), runs, 0, [{} for _ in range(len(runs))]))
        while self.queue:
            self._move(heappop(self.queue))
        return _plan(len(runs), self.rows)

    def _runs(self) -> RunColumns:
        """Everybody the trigger goes to; on the way, those whom it leaves out."""
        unit, pending, subscribers = self.unit, self.request, self.subscribers
        who = pending.audience
        topics = TopicMembers.load(unit, [pending])
        audience.address_only([pending])
        subscribers.load([pending], [pending.named])
        actor = subscribers.actor(pending)
        number = 0 if actor is None else actor[0]
        event = event_context(pending, actor, TenantSet.load(unit, [pending]).of(pending))
        for problem in pending.problems:
            self._leave_out(problem.recipient or "", "fail", None, str(problem))
        runs = RunColumns(pending.pinned)
        audience.add_recipients(runs, event, subscribers, pending.named, (), 0)
        if who.everyone or who.topics:
            for page in audience.pages(unit, topics, pending, number, {person[0] for person in runs.subscribers}):
                audience.add_page(runs, event, page)
            self._not_served(topics, {person[1] for person in runs.subscribers}, number)
        runs.ids = list(range(1, len(runs) + 1))
        return runs

    def _not_served(self, topics: TopicMembers, served: set[str], actor: int) -> None:
        """Those of the topics, or of everyone, who are left out: the actor, and the excluded."""
        who = self.request.audience
        reached = replace(who, topics=tuple(replace(one, exclude=()) for one in who.topics))
        for page in audience.pages(self.unit, topics, replace(self.request, audience=reached), 0, set()):
            for person in page.people:
                if person[1] in served:
                    continue
                if person[0] == actor:
                    self._leave_out(person[1], "skip", "actor", "the actor is left out of topics and broadcasts")
                else:
                    self._leave_out(person[1], "skip", "excluded", "excluded from every topic that has this member")

    def _leave_out(self, who: str, outcome: Literal["skip", "fail"], reason: SkipReason | None, rule: str) -> None:
        self.rows.append(Planned(who, None, None, outcome, self.unit.now, reason, rule))

    def _given_devices(self) -> None:
        """Channels given with this very trigger count as if they were stored."""
        for state in self.subscribers.states.values():
            for given in state.given:
                self.facts.addresses.add(state.row[0], given.channels)

    def _move(self, standing: _Suspended) -> None:
        """Move runs at one moment, note what happens, and let those that wait stand where they go on."""
        unit, runs = self.unit, standing.runs
        instant = Instant.of(standing.at, unit.timestamp(standing.at))
        trace = TraceLog(instant)
        runs.paths = [trace.start(dict(records), has_message=False) for records in standing.records]
        context = AdvanceContext(unit.environment, instant, unit.registry.functions(), self.facts, trace, preview=True)
        changes = advance(runs, standing.position, context)
        for place, path in enumerate(runs.paths):
            for entry in trace.entries[path]:
                self._note(changes, place, entry, standing)
        self._go_on(changes, trace, standing)

    def _note(self, changes: Changes, place: int, entry: TraceEntry, standing: _Suspended) -> None:
        runs = changes.runs
        outcome, workflow = OUTCOMES.get(entry.kind), runs.version.workflow
        step = workflow.step(entry.step)
        if outcome is None or step is None:
            return
        rule = entry.note or entry.reason or ""
        unrenderable = changes.unrenderable.get((place, entry.step))
        if unrenderable is not None:
            outcome, rule = "fail", unrenderable
        elif outcome == "send":
            rule = self._allowed_by(runs, place, step.channel)
        elif entry.reason == "condition" and self._reads_unknown(workflow, entry.step, standing.records[place]):
            rule = UNKNOWN
        if outcome == "fail" and self._names_unknown(workflow, rule, standing.records[place]):
            outcome, rule = "wait", UNKNOWN
        reason: Any = entry.reason if outcome == "skip" else None
        self.rows.append(
            Planned(public_id(runs.subscribers[place][1]), entry.step, step.channel, outcome, standing.at, reason, rule)
        )

    def _allowed_by(self, runs: RunColumns, place: int, channel: Any) -> str:
        preferences = self.facts.preferences.of(runs.version.workflow, channel)
        return preferences.decision(runs.subscribers[place][0], runs.events[place].tenant_id).rule

    @staticmethod
    def _reads_unknown(workflow: Workflow[Any, ...], step_id: str, records: Mapping[str, Record]) -> bool:
        """Whether a condition reads a custom step that runs outside, whose result nobody knows yet."""
        when = getattr(workflow.step(step_id), "when", None)
        return isinstance(when, str) and any(f"steps.{name}" in when for name in _unknown(workflow, records))

    @staticmethod
    def _names_unknown(workflow: Workflow[Any, ...], problem: str, records: Mapping[str, Record]) -> bool:
        """Whether a template fails for want of what such a step would have returned."""
        return any(problem == f"steps.{name} is undefined" for name in _unknown(workflow, records))

    def _go_on(self, changes: Changes, trace: TraceLog, standing: _Suspended) -> None:
        """Runs that wait go on when their time has come, deliveries having succeeded and nothing having been read."""
        due = {job.subject: job for job in changes.jobs if not job.message}
        groups: dict[tuple[datetime, int], list[int]] = {}
        steps = changes.runs.version.workflow.steps
        for place, status in enumerate(changes.status):
            if status == WAITING:
                step = steps[changes.steps[place]]
                if step.stop_on_fail and (place, step.id) in changes.unrenderable:
                    continue
                job = due.get(changes.runs.ids[place])
                at = standing.at if job is None else job.due_at
                groups.setdefault((at, changes.steps[place]), []).append(place)
        for (at, index), places in groups.items():
            self._wait(changes, trace, at, index, places)

    def _wait(self, changes: Changes, trace: TraceLog, at: datetime, index: int, places: Sequence[int]) -> None:
        runs = changes.runs
        step = runs.version.workflow.steps[index]
        rule = ABSENT if isinstance(step.when, MissingFunction) else behaviour_of(step).waiting_rule(step)
        if rule is not None:
            for place in places:
                who = public_id(runs.subscribers[place][1])
                self.rows.append(Planned(who, step.id, step.channel, "wait", at, None, rule))
        some = RunColumns(runs.version)
        for place in places:
            some.ids.append(runs.ids[place])
            some.events.append(runs.events[place])
            some.subscribers.append(runs.subscribers[place])
            some.payloads.append(runs.payloads[place])
        records = [
            _after_wait(
                runs.version.workflow,
                trace.records[runs.paths[place]],
                at,
                {name for who, name in changes.unrenderable if who == place},
            )
            for place in places
        ]
        heappush(self.queue, _Suspended(at, next(self.turn), some, index + 1, records))


def _unknown(workflow: Workflow[Any, ...], records: Mapping[str, Record]) -> list[str]:
    """The steps whose result nobody knows before they have run."""
    return [step.id for step in workflow.steps if behaviour_of(step).is_unknown(step) and step.id not in records]


def _after_wait(
    workflow: Workflow[Any, ...], records: Mapping[str, Record], at: datetime, failed: Collection[str]
) -> dict[str, Record]:
    """Records as they are when a run goes on: each kind of step says what becomes of its own meanwhile."""
    steps = {step.id: step for step in workflow.steps}
    return {
        name: behaviour_of(steps[name]).assumed(record, at, renders=name not in failed)
        for name, record in records.items()
    }


def _plan(recipients: int, rows: Sequence[Planned]) -> Plan:
    ordered = sorted(rows, key=lambda row: row.at)
    counts = Counter(row.channel for row in ordered if row.outcome == "send" and row.channel)
    return Plan(recipients, dict(counts), tuple(ordered))
