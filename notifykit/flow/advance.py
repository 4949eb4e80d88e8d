"""Move runs that stand at the same step of the same version until each waits, is finished or has failed.

Pure: plain values in, plain values out; no SQL, no clock. Runs that were just stored and runs that fell due come this
way, and so does `explain`. What a step does with them says its kind (`notifykit/flow/steps/`).
"""

from __future__ import annotations

from notifykit.flow.moving import AdvanceContext, MovingRuns
from notifykit.flow.run_columns import Changes, Indexes, RunColumns
from notifykit.flow.steps import behaviour_of
from notifykit.model.codes import JobKind
from notifykit.render.compiled import CompiledStep, compiled
from notifykit.workflow.serialization import MissingFunction


def advance(runs: RunColumns, position: int, context: AdvanceContext) -> Changes:
    """Move runs on from a step.

    Args:
        runs: Runs standing before the same step of the same version; their paths are moved on in place.
        position: The index of that step.
        context: Everything else.

    Returns:
        The rows that this makes, and where each run stands then.
    """
    moving = MovingRuns(runs, context)
    indexes: Indexes = range(len(runs))
    for step in compiled(moving.workflow).steps[position:]:
        if step.step.active and indexes:
            indexes = _through(moving, step, indexes)
    return moving.changes


def _through(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
    """Move runs through one step; those that go on to the next."""
    when = step.step.when
    if isinstance(when, MissingFunction):
        return moving.wait(indexes, step, JobKind.ADVANCE, moving.context.instant.now, needs=when.name)
    advanced = behaviour_of(step.step).move(moving, step, _passing(moving, step, indexes))
    skipped = moving.take_skipped()
    return sorted([*skipped, *advanced]) if skipped else advanced


def _passing(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
    """Those for which the step's condition is true; what cannot be evaluated is not."""
    if step.condition is None:
        return indexes
    test = step.condition.bind(moving.scope)
    passed = []
    for index in indexes:
        moving.fill(index)
        passes, problem = test()
        if passes:
            passed.append(index)
        else:
            moving.skip(index, step, "condition", problem or step.condition.source)
    return passed
