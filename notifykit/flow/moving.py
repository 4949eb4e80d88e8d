"""Runs on the move: what an advance knows of them, and what it may do with each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifykit.flow.run_columns import Changes, Indexes, Instant, RunColumns
from notifykit.flow.trace_log import TraceEntry, TraceLog
from notifykit.ids import step_key
from notifykit.model.codes import JobKind, RunStatus
from notifykit.model.job import NewJob
from notifykit.model.values import Json
from notifykit.queries.facts import Facts
from notifykit.queries.subscriber_fields import view
from notifykit.render.compiled import CompiledStep, compiled
from notifykit.workflow.context import ROOTS
from notifykit.workflow.overrides import for_step

WAITING = RunStatus.WAITING.value
FAILED = RunStatus.FAILED.value


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


class MovingRuns:
    """Runs that stand at the same step of the same version, the scope that templates see, and the changes so far.

    Attributes:
        runs: The runs, as columns.
        context: What an advance knows besides them.
        workflow: The version's.
        changes: What moving them has changed.
        scope: What templates, conditions and functions see: that of the run last given to `fill`.
        skipped: Runs for which the step at hand does nothing.
    """

    def __init__(self, runs: RunColumns, context: AdvanceContext) -> None:
        """Nothing has moved yet."""
        self.runs, self.context = runs, context
        self.workflow = runs.version.workflow
        self.changes = Changes.of(runs)
        self.scope: dict[str, Any] = dict.fromkeys(ROOTS)
        self.skipped: list[int] = []
        self._views: dict[int, Json] = {}
        self._sees_subscriber = "subscriber" in compiled(self.workflow).reads

    def fill(self, index: int) -> None:
        """Let the scope be that of one run."""
        runs, scope = self.runs, self.scope
        event, own = runs.events[index], runs.payloads[index]
        scope["payload"] = event.payload if own is None else own
        scope["actor"], scope["tenant"] = event.actor, event.tenant
        scope["steps"] = self.context.trace.records[runs.paths[index]]
        if self._sees_subscriber:
            person = runs.subscribers[index]
            seen = self._views.get(id(person))
            if seen is None:
                seen = self._views[id(person)] = view(person)
            scope["subscriber"] = seen

    def overrides(self, step: CompiledStep, index: int) -> Json:
        """What the trigger of a run overrides at a step."""
        overrides = self.runs.events[index].overrides
        return for_step(overrides, step.step) if overrides else {}

    def record(self, index: int, entry: TraceEntry) -> None:
        """Write into the trace of a run what happened to it."""
        self.runs.paths[index] = self.context.trace.add(self.runs.paths[index], entry)

    def skip(self, index: int, step: CompiledStep, reason: str, rule: str) -> None:
        """Let a run go on without a step."""
        definition = step.step
        self.record(
            index, TraceEntry(definition.id, definition.skipped, reason, rule, "skipped", definition.empty_record)
        )
        self.skipped.append(index)

    def fail(self, index: int, step: CompiledStep, problem: str) -> bool:
        """Note a failed step of a run; whether it ends the run."""
        definition = step.step
        self.record(
            index, TraceEntry(definition.id, definition.failed, problem, None, "failed", definition.empty_record)
        )
        if definition.stop_on_fail:
            self.changes.status[index], self.changes.steps[index] = FAILED, step.index
        return definition.stop_on_fail

    def suspend(self, indexes: Iterable[int], position: int) -> None:
        """Let runs wait at a step."""
        for index in indexes:
            self.changes.status[index], self.changes.steps[index] = WAITING, position

    def wait(
        self, indexes: Indexes, step: CompiledStep, kind: JobKind, due_at: datetime, *, needs: str = ""
    ) -> Indexes:
        """Let runs wait at a step for a job each; nobody goes on."""
        for index in indexes:
            run = self.runs.ids[index]
            number = step_key(run, step.index)
            self.changes.jobs.append(
                NewJob(number, self.context.environment, due_at, kind.value, run, step.index, needs=needs)
            )
        self.suspend(indexes, step.index)
        return ()

    def take_skipped(self) -> list[int]:
        """The runs that skipped the step at hand; none from here on."""
        skipped, self.skipped = self.skipped, []
        return skipped
