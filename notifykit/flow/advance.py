"""Move runs that stand at the same step of the same version until each waits, is finished or has failed.

Pure: plain values in, plain values out; no SQL, no clock. Runs that were just stored and runs that fell due come this
path, and so does `explain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from notifykit.errors import InputError
from notifykit.flow.run_columns import Changes, EventContext, Instant, RunColumns, Text, Wait
from notifykit.flow.trace_log import TraceEntry, TraceLog
from notifykit.ids import step_key
from notifykit.model.codes import ChannelCode, JobKind, MessageStatus, RunStatus
from notifykit.model.values import Json
from notifykit.queries.facts import Facts, has_address
from notifykit.queries.subscriber_fields import view
from notifykit.render.compiled import CompiledStep, compiled
from notifykit.render.sandbox import RenderError
from notifykit.texts import error_text
from notifykit.workflow.context import context_of, fields_returned
from notifykit.workflow.overrides import for_step
from notifykit.workflow.preferences import PreferenceDecision, decide
from notifykit.workflow.span import after
from notifykit.workflow.steps import Custom, Delay, function_name
from notifykit.workflow.stored import Missing

IN_APP = ChannelCode.IN_APP.value
EMAIL = ChannelCode.EMAIL.value
SENT = MessageStatus.SENT.value
QUEUED = MessageStatus.QUEUED.value
WAITING = RunStatus.WAITING.value
FAILED = RunStatus.FAILED.value

NO_DELIVERY = '{"delivery":null,"seen":false,"read":false}'
IN_QUEUE = '{"delivery":"queued","seen":false,"read":false}'
NO_CHOICE: dict[str, bool] = {}
NOTHING: Text = (None, None, None, None)

Indexes = Sequence[int]
"""Places in the columns of the runs that still move, ascending."""


@dataclass(frozen=True, slots=True)
class AdvanceContext:
    """What an advance knows besides the runs.

    Attributes:
        environment: For rows.
        instant: When it happens.
        functions: Host functions that this process has, as `workflow/step`.
        facts: Of the chunk's subscribers.
        trace: The chunk's paths.
        preview: Render what goes outside too, to see whether it can be rendered.
    """

    environment: int
    instant: Instant
    functions: frozenset[str]
    facts: Facts
    trace: TraceLog
    preview: bool = False


def advance(runs: RunColumns, position: int, context: AdvanceContext) -> Changes:
    """Move runs on from a step.

    Args:
        runs: Runs standing before the same step of the same version; their paths are moved on in place.
        position: The index of that step.
        context: Everything else.

    Returns:
        The rows that this makes, and where each run stands then.
    """
    return Advance(runs, context).go(position)


class Advance:
    """One advance: the scope that templates see, and the changes made so far."""

    def __init__(self, runs: RunColumns, context: AdvanceContext) -> None:
        """Begin; nothing has moved yet."""
        self.runs, self.context = runs, context
        self.workflow = runs.version.workflow
        self.changes = Changes.of(runs)
        self.scope: dict[str, Any] = dict.fromkeys(("payload", "subscriber", "actor", "tenant", "steps"))
        self._views: dict[int, Json] = {}
        self._sees_subscriber = "subscriber" in compiled(self.workflow).reads

    def go(self, position: int) -> Changes:
        """Move everybody on from a step, as far as they get."""
        moving: Indexes = range(len(self.runs))
        for step in compiled(self.workflow).steps[position:]:
            if step.step.active and moving:
                moving = self._step(step, moving)
        return self.changes

    def _step(self, step: CompiledStep, moving: Indexes) -> Indexes:
        """Move runs through one step; those that go on to the next."""
        if isinstance(step.step.when, Missing):
            return self._wait(moving, step, JobKind.ADVANCE, self.context.instant.now, needs=step.step.when.name)
        passed, held = self._gate(step, moving)
        if step.step.channel is None:
            went = self._delay(step, passed) if isinstance(step.step, Delay) else self._custom(step, passed)
        elif step.step.channel == "in_app":
            went = self._in_app(step, passed)
        else:
            went = self._queue(step, passed)
        return sorted([*held, *went]) if held else went

    # -- the gate: condition, preference, address

    def _gate(self, step: CompiledStep, moving: Indexes) -> tuple[Indexes, list[int]]:
        """Those that the step is for, and those that go on without it."""
        held: list[int] = []
        if step.condition is not None:
            moving = self._condition(step, moving, held)
        if step.step.channel is not None:
            code = ChannelCode.of(step.step.channel).value
            moving = self._preference(step, code, moving, held)
            if code != IN_APP:
                moving = self._address(step, code, moving, held)
        return moving, held

    def _condition(self, step: CompiledStep, moving: Indexes, held: list[int]) -> Indexes:
        """A condition that cannot be evaluated does not pass (D33)."""
        assert step.condition is not None
        test = step.condition.judge(self.scope)
        passed = []
        for place in moving:
            self._fill(place)
            passes, problem = test()
            if passes:
                passed.append(place)
            else:
                self._skip(held, place, step, "condition", problem or step.condition.source)
        return passed

    def _preference(self, step: CompiledStep, code: int, moving: Indexes, held: list[int]) -> Indexes:
        choices = self.context.facts.choices.get(code, {})
        usual = self._decide(step, NO_CHOICE)
        if usual.allow and not choices:
            return moving
        passed = []
        for place in moving:
            chosen = choices.get(self.runs.subscribers[place][0])
            decision = usual if chosen is None else self._decide(step, chosen)
            if decision.allow:
                passed.append(place)
            else:
                self._skip(held, place, step, "preference", decision.rule)
        return passed

    def _decide(self, step: CompiledStep, choices: dict[str, bool]) -> PreferenceDecision:
        assert step.step.channel is not None
        return decide(
            step.step.channel,
            workflow=self.workflow.key,
            critical=self.workflow.critical,
            defaults=self.workflow.preferences,
            choices=choices,
        )

    def _address(self, step: CompiledStep, code: int, moving: Indexes, held: list[int]) -> Indexes:
        passed = []
        for place in moving:
            if has_address(self.context.facts, code, self.runs.subscribers[place]) or (
                code == EMAIL and self._overrides(step, place).get("to")
            ):
                passed.append(place)
            else:
                self._skip(held, place, step, "no_address", f"the subscriber has no address for {step.step.channel}")
        return passed

    def _skip(self, held: list[int], place: int, step: CompiledStep, reason: str, rule: str) -> None:
        channel = step.step.channel is not None
        kind, facts = ("message_skipped", NO_DELIVERY) if channel else ("step_skipped", "{}")
        self._mark(place, TraceEntry(step.step.id, kind, reason, rule, "skipped", facts))
        held.append(place)

    # -- the steps

    def _in_app(self, step: CompiledStep, moving: Indexes) -> Indexes:
        """Write messages into inboxes; text that is the same for all runs of an event is rendered once."""
        assert step.rendering is not None
        render, sent = (
            step.rendering.bind(self.scope),
            TraceEntry(step.step.id, "message_sent", None, None, "sent", NO_DELIVERY),
        )
        runs, changes, index, environment = self.runs, self.changes, step.index, self.context.environment
        ids, events, subscribers, own, paths = runs.ids, runs.events, runs.subscribers, runs.payloads, runs.paths
        stamp, workflow, personal = self.context.instant.stamp, runs.version.workflow_id, step.personal
        add, go, next_way = changes.messages.append, self.context.trace.add, dict[int, int]()
        failed: list[int] = []
        last, text, kept = None, NOTHING, 0
        for place in moving:
            event = events[place]
            try:
                if personal or event is not last or own[place] is not None:
                    self._fill(place)
                    text, last, kept = render(), event if own[place] is None else None, 0
            except RenderError as error:
                failed.append(place)
                self._fail(place, step, error_text(error))
                last = None
                continue
            content, shown = 0, text
            if event.fans_out and not personal and own[place] is None:
                kept = kept or self._share(event, index, text, ids[place] << 6 | index)
                content, shown = kept, NOTHING
            add(
                (
                    ids[place] << 6 | index,
                    environment,
                    event.tenant_id,
                    subscribers[place][0],
                    workflow,
                    IN_APP,
                    content,
                    *shown,
                    SENT,
                    stamp,
                    stamp,
                )
            )
            path = paths[place]
            known = next_way.get(path)
            paths[place] = next_way.setdefault(path, go(path, sent)) if known is None else known
        return self._without(moving, failed) if failed and step.step.stop_on_fail else moving

    def _share(self, event: EventContext, index: int, text: Text, message: int) -> int:
        """The id of a text of an event and step: that of the first message that has it."""
        if event.shared is None:
            event.shared = {}
        number = event.shared.get((index, text))
        if number is None:
            number = event.shared[index, text] = message
            self.changes.contents.append((number, *text))
        return number

    def _queue(self, step: CompiledStep, moving: Indexes) -> Indexes:
        """Queue messages for the outside; they are rendered and sent after a claim."""
        assert step.step.channel is not None
        runs, stamp, now = self.runs, self.context.instant.stamp, self.context.instant.now
        code, index, environment = ChannelCode.of(step.step.channel).value, step.index, self.context.environment
        queued = TraceEntry(step.step.id, "message_queued", None, None, "queued", IN_QUEUE)
        workflow, add, wait, kind = (
            runs.version.workflow_id,
            self.changes.messages.append,
            self.changes.waits.append,
            JobKind.DELIVER.value,
        )
        for place in moving:
            run, event = runs.ids[place], runs.events[place]
            number = step_key(run, index)
            add(
                (
                    number,
                    environment,
                    event.tenant_id,
                    runs.subscribers[place][0],
                    workflow,
                    code,
                    0,
                    *NOTHING,
                    QUEUED,
                    stamp,
                    stamp,
                )
            )
            wait(Wait(now, kind, run, index, number))
            self._mark(place, queued)
        if self.context.preview:
            self._preview(step, moving)
        if not step.awaited:
            return moving
        self._suspend(moving, index)
        return ()

    def _preview(self, step: CompiledStep, moving: Indexes) -> None:
        assert step.rendering is not None
        render = step.rendering.bind(self.scope)
        for place in moving:
            self._fill(place)
            try:
                render()
            except RenderError as error:
                self.changes.unrenderable[place, step.step.id] = error_text(error)

    def _delay(self, step: CompiledStep, moving: Indexes) -> Indexes:
        now, onward, index = self.context.instant.now, [], step.index
        for place in moving:
            try:
                due = self._due(step, place)
            except InputError as error:
                if not self._fail(place, step, error_text(error)):
                    onward.append(place)
                continue
            facts = to_json({"until": due.isoformat(), "duration": max(0.0, (due - now).total_seconds())}).decode()
            if due <= now:
                self._mark(
                    place,
                    TraceEntry(step.step.id, "step_completed", None, f"{due.isoformat()} is past", "waited", facts),
                )
                onward.append(place)
            else:
                self._mark(
                    place, TraceEntry(step.step.id, "step_waiting", None, f"until {due.isoformat()}", "waiting", facts)
                )
                self.changes.waits.append(Wait(due, JobKind.ADVANCE.value, self.runs.ids[place], index))
                self._suspend((place,), index)
        return onward

    def _due(self, step: CompiledStep, place: int) -> datetime:
        delay = step.step
        assert isinstance(delay, Delay)
        overrides = self._overrides(step, place)
        if overrides:
            return after(self.context.instant.now, {overrides["unit"]: overrides["amount"]})
        if step.until is None:
            return after(self.context.instant.now, delay.span)
        self._fill(place)
        return step.until.moment(self.scope)

    def _custom(self, step: CompiledStep, moving: Indexes) -> Indexes:
        """A pure function runs here, on plain data; any other outside of every transaction, as a delivery does."""
        custom = step.step
        assert isinstance(custom, Custom)
        needs = function_name(self.workflow.key, custom.id)
        if not custom.pure:
            return self._wait(moving, step, JobKind.CUSTOM, self.context.instant.now, needs=needs)
        if isinstance(custom.run, Missing):
            return self._wait(moving, step, JobKind.ADVANCE, self.context.instant.now, needs=needs)
        onward = []
        for place in moving:
            self._fill(place)
            try:
                returned = fields_returned(custom.id, custom.run(context_of(self.workflow.shape, self.scope)))
            except Exception as error:  # the host's code: whatever it raises fails this step of this run only
                if not self._fail(place, step, error_text(error)):
                    onward.append(place)
                continue
            self._mark(
                place, TraceEntry(custom.id, "step_completed", None, None, "completed", to_json(returned).decode())
            )
            onward.append(place)
        return onward

    # -- what happens to one run

    def _fill(self, place: int) -> None:
        """Let the scope be that of one run."""
        runs, scope = self.runs, self.scope
        event, own = runs.events[place], runs.payloads[place]
        scope["payload"] = event.payload if own is None else own
        scope["actor"], scope["tenant"] = event.actor, event.tenant
        scope["steps"] = self.context.trace.records[runs.paths[place]]
        if self._sees_subscriber:
            person = runs.subscribers[place]
            seen = self._views.get(id(person))
            if seen is None:
                seen = self._views[id(person)] = view(person)
            scope["subscriber"] = seen

    def _overrides(self, step: CompiledStep, place: int) -> Json:
        overrides = self.runs.events[place].overrides
        return for_step(overrides, step.step) if overrides else {}

    def _mark(self, place: int, entry: TraceEntry) -> None:
        self.runs.paths[place] = self.context.trace.add(self.runs.paths[place], entry)

    def _fail(self, place: int, step: CompiledStep, problem: str) -> bool:
        """Note a failed step; whether it ends the run."""
        channel = step.step.channel is not None
        kind, facts = ("message_failed", NO_DELIVERY) if channel else ("step_failed", "{}")
        self._mark(place, TraceEntry(step.step.id, kind, problem, None, "failed", facts))
        if step.step.stop_on_fail:
            self.changes.status[place], self.changes.steps[place] = FAILED, step.index
        return step.step.stop_on_fail

    def _suspend(self, places: Iterable[int], index: int) -> None:
        for place in places:
            self.changes.status[place], self.changes.steps[place] = WAITING, index

    def _wait(self, places: Indexes, step: CompiledStep, kind: JobKind, due: datetime, *, needs: str) -> Indexes:
        """Let runs wait at a step for a function of the host."""
        for place in places:
            self.changes.waits.append(Wait(due, kind.value, self.runs.ids[place], step.index, needs=needs))
        self._suspend(places, step.index)
        return ()

    @staticmethod
    def _without(moving: Indexes, stopped: Sequence[int]) -> list[int]:
        gone = set(stopped)
        return [place for place in moving if place not in gone]
