"""A delay: a pause for a span, or until a time that stands in the payload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from pydantic_core import to_json

from notifykit.errors import DefinitionError, InputError
from notifykit.flow.steps.behaviour import Behaviour, Record
from notifykit.flow.trace_log import TraceEntry
from notifykit.model.codes import JobKind
from notifykit.texts import error_text
from notifykit.workflow.paths import Path
from notifykit.workflow.span import UNITS, after
from notifykit.workflow.span import problem as span_problem
from notifykit.workflow.steps import Step

if TYPE_CHECKING:
    from notifykit.flow.moving import MovingRuns
    from notifykit.flow.run_columns import Indexes
    from notifykit.flow.trace_log import TraceLog
    from notifykit.render.compiled import CompiledStep


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Delay(Step):
    """A pause: for a span, or until a time that stands in the payload.

    Attributes:
        until: A path from a root of templates to an ISO 8601 time, such as `payload.send_at`; instead of a span.
        seconds: The units add up: `Delay("wait", hours=1, minutes=30)`.
        months: Those of the calendar.
    """

    kind: ClassVar[str] = "delay"
    record: ClassVar[tuple[str, ...] | None] = ("until", "duration")

    until: str | None = None
    seconds: float | None = None
    minutes: float | None = None
    hours: float | None = None
    days: float | None = None
    weeks: float | None = None
    months: int | None = None

    @property
    def span(self) -> dict[str, float]:
        """The units that were given, with their amounts."""
        return {unit: amount for unit in UNITS if (amount := getattr(self, unit)) is not None}

    @property
    def paths(self) -> Mapping[str, Path]:
        """Where the time stands that it waits for."""
        return {} if self.until is None else {"until": Path.read(self.until)}

    @property
    def takes_general_overrides(self) -> bool:
        """A delay until a time keeps it, unless a trigger names this very step."""
        return self.until is None

    def problems(self) -> Iterator[str]:
        """What registration refuses."""
        yield from super().problems()
        if self.until is None and not self.span:
            yield "a delay needs a span, such as minutes=10, or until='payload.send_at'"
        elif self.until is not None and self.span:
            yield "a delay has a span or `until`, not both"
        elif self.until is None:
            if found := span_problem(self.span):
                yield found
        else:
            try:
                Path.read(self.until)
            except DefinitionError as error:
                yield f"until: {error}"


class DelayBehaviour(Behaviour[Delay]):
    """Runs wait until the time has come; where it is past they go on."""

    def move(self, moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
        """Let runs wait until their time."""
        now, onward = moving.context.instant.now, []
        for index in indexes:
            try:
                due = _due(moving, step, index)
            except InputError as error:
                if not moving.fail(index, step, error_text(error)):
                    onward.append(index)
                continue
            facts = to_json({"until": due.isoformat(), "duration": max(0.0, (due - now).total_seconds())}).decode()
            if due <= now:
                moving.record(
                    index,
                    TraceEntry(step.step.id, "step_completed", None, f"{due.isoformat()} is past", "waited", facts),
                )
                onward.append(index)
            else:
                moving.record(
                    index, TraceEntry(step.step.id, "step_waiting", None, f"until {due.isoformat()}", "waiting", facts)
                )
                moving.wait((index,), step, JobKind.ADVANCE, due)
        return onward

    def resume(self, step: Delay, trace: TraceLog, path: int) -> int:
        """The wait is over."""
        return trace.finish_step(path, TraceEntry(step.id, "step_completed", None, None, "waited"))

    def assumed(self, record: Record, at: datetime, *, renders: bool) -> Record:
        """The wait is over by then."""
        return {**record, "status": "waited", "at": at.isoformat()} if record["status"] == "waiting" else record


def _due(moving: MovingRuns, step: CompiledStep, index: int) -> datetime:
    """When the wait of a run is over."""
    delay: Delay = step.step  # type: ignore[assignment]  # the table of kinds says so
    now, overrides = moving.context.instant.now, moving.overrides(step, index)
    if overrides:
        return after(now, {overrides["unit"]: overrides["amount"]})
    if delay.until is None:
        return after(now, delay.span)
    moving.fill(index)
    return delay.paths["until"].find_time(moving.scope)
