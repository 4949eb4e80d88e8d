"""Workflows ready to run: every template and condition compiled once, and what each of them needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from notifykit.errors import DefinitionError
from notifykit.render.conditions import CompiledCondition, Expression, Function
from notifykit.render.rendering import Rendering
from notifykit.render.sandbox import SANDBOX, Sandbox
from notifykit.render.step_template import CONTENTS
from notifykit.workflow.context import ROOTS
from notifykit.workflow.definition import Workflow
from notifykit.workflow.paths import Path
from notifykit.workflow.steps import Step

PERSONAL = frozenset({"subscriber", "steps"})
"""Roots that differ from one recipient of an event to the next."""


@dataclass(frozen=True)
class CompiledStep:
    """One step ready to run.

    Attributes:
        step: The step.
        index: Its place.
        condition: What `when` says, or None.
        rendering: Its templates; None for steps without a channel.
        awaited: The run waits for the outcome of this step's message before it goes on.
    """

    step: Step
    index: int
    condition: CompiledCondition | None
    rendering: Rendering | None
    awaited: bool

    @cached_property
    def personal(self) -> bool:
        """Whether what it renders differs from one recipient of an event to the next."""
        return self.rendering is not None and not self.rendering.reads.isdisjoint(PERSONAL)

    @property
    def reads(self) -> frozenset[str]:
        """The roots that the step needs; all of them where it calls the host."""
        if self.step.calls_host:
            return frozenset(ROOTS)
        own = {path.root for path in self.step.paths.values()}
        return frozenset(own).union(*(one.reads for one in (self.condition, self.rendering) if one))


@dataclass(frozen=True)
class Compiled:
    """One workflow ready to run.

    Attributes:
        workflow: The workflow.
        steps: All steps, those that are not active included.
        reads: The roots that any active step needs.
        dates: The times of the payload that active delays wait for.
    """

    workflow: Workflow[Any, ...]
    steps: tuple[CompiledStep, ...]
    reads: frozenset[str]
    dates: tuple[Path, ...]


def compiled(workflow: Workflow[Any, ...]) -> Compiled:
    """A workflow ready to run, made once for each workflow object.

    Raises:
        DefinitionError: A template or condition is refused; says where.
    """
    known: Compiled | None = workflow.__dict__.get("_compiled")
    if known is None:
        known = workflow.__dict__["_compiled"] = _compile(workflow)
    return known


def _compile(workflow: Workflow[Any, ...]) -> Compiled:
    environment = Sandbox(workflow.templates) if workflow.templates else SANDBOX
    conditions = [_condition(workflow, step, environment) for step in workflow.steps]
    active = [
        condition for condition, step in zip(conditions, workflow.steps, strict=True) if condition and step.active
    ]
    awaited = frozenset().union(*(condition.awaits for condition in active))
    steps = tuple(
        CompiledStep(
            step=step,
            index=index,
            condition=condition,
            rendering=_rendering(workflow, step, environment),
            awaited=step.channel is not None and (step.stop_on_fail or step.id in awaited),
        )
        for index, (step, condition) in enumerate(zip(workflow.steps, conditions, strict=True))
    )
    used = [step for step in steps if step.step.active]
    return Compiled(
        workflow,
        steps,
        reads=frozenset().union(*(step.reads for step in used)),
        dates=tuple(path for step in used for path in step.step.paths.values() if path.root == "payload"),
    )


def _rendering(workflow: Workflow[Any, ...], step: Step, environment: Sandbox) -> Rendering | None:
    if step.kind not in CONTENTS:
        return None
    where = place(workflow, step)
    with not_too_deep(where):
        return Rendering(step, where, environment)


def _condition(workflow: Workflow[Any, ...], step: Step, environment: Sandbox) -> CompiledCondition | None:
    if step.when is None:
        return None
    if callable(step.when):
        return Function(step.when, workflow, step.id)
    where = f"{place(workflow, step)}, when"
    with not_too_deep(where):
        return Expression(step.when, where, environment)


@contextmanager
def not_too_deep(where: str) -> Iterator[None]:
    """What Python itself refuses to compile is nested too deeply; Jinja lets its errors through."""
    try:
        yield
    except (RecursionError, SyntaxError, MemoryError) as error:
        raise DefinitionError(f"{where}: it is nested too deeply ({error})") from error


def place(workflow: Workflow[Any, ...], step: Step) -> str:
    """Where something stands, for errors."""
    return f"workflow {workflow.key!r}, step {step.id!r}"
