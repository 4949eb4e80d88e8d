"""What a kind of step does: how it moves runs, how they resume, how `explain` shows it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from notifykit.workflow.steps import Step

if TYPE_CHECKING:
    from notifykit.flow.moving import MovingRuns
    from notifykit.flow.run_columns import Indexes
    from notifykit.flow.trace_log import TraceLog
    from notifykit.queries.facts import Loader
    from notifykit.render.compiled import CompiledStep

S = TypeVar("S", bound=Step)

Record = Mapping[str, Any]


class Behaviour(Generic[S]):
    """One kind of step. What it does not say for itself is what most kinds do."""

    def loaders(self) -> Collection[Loader]:
        """What is read once for a chunk of runs in which such a step stands, whatever their workflows."""
        return ()

    def move(self, moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
        """Move runs whose condition is true through the step.

        Args:
            moving: The runs; a run may be skipped, failed, suspended or made to wait by its methods.
            step: The step.
            indexes: Which of the runs.

        Returns:
            Those that go on to the next step; skipped ones go on by themselves.
        """
        raise NotImplementedError

    def resume(self, step: S, trace: TraceLog, path: int) -> int:
        """What becomes of the path of a run that goes on behind the step: its record is there."""
        return path

    def has_failed(self, record: Record) -> bool:
        """Whether the record of a run that goes on says that the step failed."""
        return bool(record["status"] == "failed")

    def is_unknown(self, step: S) -> bool:
        """Whether nobody knows what its record will hold before it has run."""
        return False

    def waiting_rule(self, step: S) -> str | None:
        """What `explain` says of a run that waits here; None where the trace says it."""
        return None

    def assumed(self, record: Record, at: datetime, *, renders: bool) -> Record:
        """The record of a step that lies behind a run, as `explain` takes it to be by a later moment.

        Args:
            record: As it was when the run waited.
            at: When it goes on.
            renders: Its message can be rendered.
        """
        return record
