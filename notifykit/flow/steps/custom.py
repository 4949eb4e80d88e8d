"""A custom step: a function of the host. A pure one runs here, on plain data; any other outside, as a delivery does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import to_json

from notifykit.flow.steps.behaviour import Behaviour
from notifykit.flow.trace_log import TraceEntry
from notifykit.model.codes import JobKind
from notifykit.model.values import Json
from notifykit.texts import error_text
from notifykit.workflow.context import Context, context_of, fields_returned
from notifykit.workflow.serialization import MissingFunction
from notifykit.workflow.steps import Step, function_name

if TYPE_CHECKING:
    from notifykit.flow.moving import MovingRuns
    from notifykit.flow.run_columns import Indexes
    from notifykit.render.compiled import CompiledStep

RUNS_OUTSIDE = "the function runs outside, when a worker takes it"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Custom(Step):
    """A function of the host.

    It runs outside any transaction, at least once, with a stable key; what it returns is in `steps.<id>`.

    Attributes:
        run: Gets a `Context`, returns fields for the step's record or None.
        pure: It only computes: it is called inline, and may be called again with the same data.
    """

    kind: ClassVar[str] = "custom"
    record: ClassVar[tuple[str, ...] | None] = None

    run: Callable[[Context[Any]], Json | None] = field(kw_only=False)
    pure: bool = False

    @property
    def function(self) -> Callable[[Context[Any]], Json | None]:
        """The host's function."""
        return self.run

    def problems(self) -> Iterator[str]:
        """What registration refuses."""
        yield from super().problems()
        run: Any = self.run
        if not callable(run):
            yield f"run: a function is expected, not {run!r}"
        pure: Any = self.pure
        if not isinstance(pure, bool):
            yield f"pure must be True or False, not {pure!r}"


class CustomBehaviour(Behaviour[Custom]):
    """A pure function is called at once; a run waits for any other, and for one that this process lacks."""

    def move(self, moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
        """Call the function, or let runs wait for it."""
        custom: Custom = step.step  # type: ignore[assignment]  # the table of kinds says so
        now, needs = moving.context.instant.now, function_name(moving.workflow.key, custom.id)
        if not custom.pure:
            return moving.wait(indexes, step, JobKind.CUSTOM, now, needs=needs)
        if isinstance(custom.run, MissingFunction):
            return moving.wait(indexes, step, JobKind.ADVANCE, now, needs=needs)
        return [index for index in indexes if _call(moving, step, custom, index)]

    def is_unknown(self, step: Custom) -> bool:
        """Nobody knows what a function that runs outside will return."""
        return not step.pure

    def waiting_rule(self, step: Custom) -> str | None:
        """It runs when a worker takes it."""
        return RUNS_OUTSIDE


def _call(moving: MovingRuns, step: CompiledStep, custom: Custom, index: int) -> bool:
    """Call a pure function for one run; whether the run goes on."""
    moving.fill(index)
    try:
        returned = fields_returned(custom.id, custom.run(context_of(moving.workflow.adapter, moving.scope)))
    except Exception as error:  # the host's code: whatever it raises fails this step of this run only
        return not moving.fail(index, step, error_text(error))
    entry = TraceEntry(custom.id, "step_completed", None, None, "completed", to_json(returned).decode())
    moving.record(index, entry)
    return True
