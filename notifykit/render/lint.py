"""What registration refuses: the form of a workflow, and names in its templates that nothing will ever stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from notifykit.errors import DefinitionError, nearest
from notifykit.render.compiled import Compiled, CompiledStep, compiled, place
from notifykit.render.variables import VariablePath
from notifykit.workflow.checks import problems, unreadable
from notifykit.workflow.context import ROOTS
from notifykit.workflow.definition import Workflow
from notifykit.workflow.steps import Step, record_fields


def check(workflow: Workflow[Any, ...]) -> None:
    """Refuse a workflow that could not work; what passes is compiled.

    Raises:
        DefinitionError: What is wrong, with step, place and the nearest valid name; a line for each problem.
        ConfigurationError: Its payload needs an extra that is not there.
    """
    if not isinstance(workflow, Workflow):
        raise DefinitionError(f"a Workflow is expected, not {type(workflow).__name__}")
    found = list(problems(workflow)) or list(_names(compiled(workflow)))
    try:
        found = found or list(unreadable(workflow))
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise DefinitionError(f"workflow {workflow.key!r}: payload: {error}") from error
    if found:
        raise DefinitionError("\n".join(found))


def _names(whole: Compiled) -> Iterator[str]:
    for one in whole.steps:
        for where, path, known in _variables(whole, one):
            if not known:
                yield f"{where}, line {path.line}: nothing is named {path.root!r}.{_proposal(path.root, whole)}"
            elif path.root == "steps":
                yield from (f"{where}, line {path.line}: {found}" for found in _steps(whole, one, path))


def _variables(whole: Compiled, one: CompiledStep) -> Iterator[tuple[str, VariablePath, bool]]:
    """Every variable of a step: where it stands, and whether its root is known."""
    where = place(whole.workflow, one.step)
    for part in one.rendering.parts if one.rendering else ():
        strange = part.reads.difference(ROOTS)
        yield from ((at, path, path.root not in strange) for at, path in part.variables)
    if one.condition is not None:
        strange = one.condition.reads.difference(ROOTS)
        yield from ((f"{where}, when", path, path.root not in strange) for path in one.condition.variables)
    for option, time in one.step.paths.items():
        yield f"{where}, {option}", VariablePath(time.root, time.keys, whole=True, line=1), True


def _proposal(name: str, whole: Compiled) -> str:
    """The nearest root; for the rest of an id that was written with a hyphen, the right spelling."""
    for step in whole.workflow.steps:
        if "-" in step.id and name in step.id.split("-"):
            return f' Write steps["{step.id}"] for the step {step.id!r}: a hyphen is a minus in an expression.'
    return nearest(name, ROOTS)


def _steps(whole: Compiled, one: CompiledStep, path: VariablePath) -> Iterator[str]:
    """What is wrong with a variable that names a step's record."""
    if not path.keys:
        if not path.whole:
            yield "which step is only known when this is rendered; name it: steps.<id>"
        return
    id = str(path.keys[0])
    steps = whole.workflow.steps
    named = next((step for step in steps if step.id == id), None)
    earlier = [step.id for step in steps[: one.index]]
    if named is None:
        yield f"no step is named {id!r}.{_hyphenated(id, steps) or nearest(id, earlier)}"
    elif id not in earlier:
        what = "is this very step" if named is one.step else "comes later"
        yield f"steps.{id} {what}; only steps before it have a record.{nearest(id, earlier)}"
    elif len(path.keys) > 1 and (fields := record_fields(named)) is not None and path.keys[1] not in fields:
        yield f"the record of step {id!r} has no {path.keys[1]!r}.{nearest(str(path.keys[1]), fields)}"


def _hyphenated(id: str, steps: tuple[Step, ...]) -> str:
    found = next((step.id for step in steps if step.id.startswith(f"{id}-")), None)
    return f' Write steps["{found}"]: a hyphen is a minus in an expression.' if found else ""
