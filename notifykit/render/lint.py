"""What registration refuses: the form of a workflow, and names in its templates that nothing will ever stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from notifykit.errors import DefinitionError, nearest
from notifykit.render.compiled import Compiled, CompiledStep, compiled, place
from notifykit.render.conditions import Expression
from notifykit.render.templates import Chain
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
        for where, chain, known in _variables(whole, one):
            if not known:
                yield f"{where}, line {chain.line}: nothing is named {chain.root!r}.{_proposal(chain.root, whole)}"
            elif chain.root == "steps":
                yield from (f"{where}, line {chain.line}: {found}" for found in _steps(whole, one, chain))


def _variables(whole: Compiled, one: CompiledStep) -> Iterator[tuple[str, Chain, bool]]:
    """Every variable of a step: where it stands, and whether its root is known."""
    where = place(whole.workflow, one.step)
    if one.rendering is not None:
        strange = one.rendering.reads.difference(ROOTS)
        yield from ((at, chain, chain.root not in strange) for at, chain in one.rendering.chains)
    if isinstance(one.condition, Expression):
        strange = one.condition.reads.difference(ROOTS)
        yield from ((f"{where}, when", chain, chain.root not in strange) for chain in one.condition.chains)
    for option, path in one.step.paths.items():
        yield f"{where}, {option}", Chain(path.root, path.keys, True, 1), True


def _proposal(name: str, whole: Compiled) -> str:
    """The nearest root; for the rest of an id that was written with a hyphen, the right spelling."""
    for step in whole.workflow.steps:
        if "-" in step.id and name in step.id.split("-"):
            return f' Write steps["{step.id}"] for the step {step.id!r}: a hyphen is a minus in an expression.'
    return nearest(name, ROOTS)


def _steps(whole: Compiled, one: CompiledStep, chain: Chain) -> Iterator[str]:
    if not chain.keys:
        if not chain.whole:
            yield "which step is only known when this is rendered; name it: steps.<id>"
        return
    id = str(chain.keys[0])
    steps = whole.workflow.steps
    named = next((step for step in steps if step.id == id), None)
    earlier = [step.id for step in steps[: one.index]]
    if named is None:
        yield f"no step is named {id!r}.{_hyphenated(id, steps) or nearest(id, earlier)}"
    elif id not in earlier:
        what = "is this very step" if named is one.step else "comes later"
        yield f"steps.{id} {what}; only steps before it have a record.{nearest(id, earlier)}"
    elif len(chain.keys) > 1 and (fields := record_fields(named)) is not None and chain.keys[1] not in fields:
        yield f"the record of step {id!r} has no {chain.keys[1]!r}.{nearest(str(chain.keys[1]), fields)}"


def _hyphenated(id: str, steps: tuple[Step, ...]) -> str:
    found = next((step.id for step in steps if step.id.startswith(f"{id}-")), None)
    return f' Write steps["{found}"]: a hyphen is a minus in an expression.' if found else ""
