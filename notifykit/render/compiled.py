"""Workflows ready to run: every template and condition compiled once, and what each of them needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import SecurityError, UndefinedError

from notifykit.errors import DefinitionError, RenderError
from notifykit.render import plain
from notifykit.render.conditions import CompiledCondition, Expression, Function
from notifykit.render.fields import LAYOUTS, NAMES, Layout
from notifykit.render.sandbox import PERSONAL, SANDBOX, TEXT_LIMIT
from notifykit.render.templates import SEPARATOR, Chain, chains, joined, roots, undefined
from notifykit.texts import error_text
from notifykit.workflow.context import ROOTS
from notifykit.workflow.definition import Workflow
from notifykit.workflow.paths import Path
from notifykit.workflow.steps import Step


class Rendering:
    """All templates of one channel step as one unit.

    Attributes:
        reads: The roots that they name.
        chains: Every variable that they name, with the place it stands at.
    """

    def __init__(self, step: Step, place: str) -> None:
        """Compile a channel step's templates.

        Raises:
            DefinitionError: One of them is refused; says where.
        """
        layout = Layout(step, place)
        self.reads: frozenset[str] = frozenset().union(*map(roots, layout.trees))
        self.chains: tuple[tuple[str, Chain], ...] = tuple(
            (part.place, chain) for part, tree in zip(layout.parts, layout.trees, strict=True) for chain in chains(tree)
        )
        self._count = len(layout.parts)
        self._quick = _quick(layout)
        self._template = SANDBOX.from_string(joined(layout.trees, layout.parts))
        self._assembled = plain.function([], layout.expression(lambda at: f"scope[{at}]"), NAMES)

    def bind(self, scope: Mapping[str, Any]) -> Callable[[], Any]:
        """Bind the unit to a scope whose entries are replaced from one message to the next.

        Args:
            scope: One dictionary of payload, subscriber, actor, tenant, steps.

        Returns:
            A function that renders what the scope holds by then. For in-app it returns `(subject | None, body,
            cta as JSON text | None, data as JSON text | None)`; for other channels a dictionary of fields: e-mail
            `subject, text, html`, SMS and chat `body`, push `title, body, data`. It raises RenderError.
        """
        slow, quick = self._slow(scope), self._quick
        if quick is None:
            return slow
        if not self._count:
            return lambda: quick(scope)

        def render() -> Any:
            try:
                return quick(scope)
            except Exception:
                return slow()

        return render

    def render(self, scope: Mapping[str, Any]) -> Any:
        """Render once.

        Raises:
            RenderError: A variable is undefined, or a template failed otherwise.
        """
        return self.bind(scope)()

    def _slow(self, scope: Mapping[str, Any]) -> Callable[[], Any]:
        run, join = self._template.root_render_func, "".join
        context: Any = None

        def render() -> Any:
            nonlocal context
            if context is None:
                context = self._template.new_context(scope, True)  # type: ignore[arg-type]
                context.vars.update(SANDBOX.globals)
            try:
                return self._assembled(self._parts(join(run(context))))
            except Exception as error:
                # What failed in the middle may have left its escaping behind.
                context = None
                raise self._failure(error, scope) from error

        return render

    def _parts(self, text: str) -> list[str]:
        if len(text) > TEXT_LIMIT:
            raise RenderError(f"the text has {len(text):,} characters; at most {TEXT_LIMIT:,} are possible")
        parts = text.split(SEPARATOR)
        if len(parts) != self._count:
            raise RenderError("the text holds a NUL character, which cannot be stored")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RenderError("the text holds half of a surrogate pair, which cannot be stored") from None
        return parts

    def _failure(self, error: Exception, scope: Mapping[str, Any]) -> RenderError:
        if isinstance(error, RenderError):
            return error
        if isinstance(error, SecurityError):
            return RenderError(str(error))
        if isinstance(error, UndefinedError):
            path, sentence = undefined(str(error.message), [chain for _, chain in self.chains], scope)
            return RenderError(sentence, variable=path)
        return RenderError(error_text(error))


def _quick(layout: Layout) -> Callable[[Any], Any] | None:
    """One Python function for all parts, where they are only text and variables; too much text makes it give up."""
    variables = plain.Variables()
    try:
        texts = [
            plain.text(tree, variables, html=part.html) for tree, part in zip(layout.trees, layout.parts, strict=True)
        ]
    except plain.NotPlain:
        return None
    lines = variables.lines() + [f"t{at} = {text}" for at, text in enumerate(texts)]
    if texts:
        length = " + ".join(f"len(t{at})" for at in range(len(texts)))
        lines.append(f"if {length} > {TEXT_LIMIT}: raise NotPlain")
    return plain.function(lines, layout.expression(lambda at: f"t{at}"), {**NAMES, "NotPlain": plain.NotPlain})


@dataclass(frozen=True)
class CompiledStep:
    """One step ready to run.

    Attributes:
        step: The step.
        index: Its place.
        condition: What `when` says, or None.
        rendering: Its templates; None for steps without a channel.
        personal: What it renders differs from one recipient of an event to the next.
        awaited: The run waits for the outcome of this step's message before it goes on.
    """

    step: Step
    index: int
    condition: CompiledCondition | None
    rendering: Rendering | None
    personal: bool
    awaited: bool

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
    conditions = [_condition(workflow, step) for step in workflow.steps]
    active = [
        condition for condition, step in zip(conditions, workflow.steps, strict=True) if condition and step.active
    ]
    awaited = frozenset().union(*(condition.awaits for condition in active))
    steps = tuple(
        _compile_step(workflow, at, step, condition, awaited)
        for at, (step, condition) in enumerate(zip(workflow.steps, conditions, strict=True))
    )
    used = [step for step in steps if step.step.active]
    return Compiled(
        workflow,
        steps,
        reads=frozenset().union(*(step.reads for step in used)),
        dates=tuple(path for step in used for path in step.step.paths.values() if path.root == "payload"),
    )


def _compile_step(
    workflow: Workflow[Any, ...], index: int, step: Step, condition: CompiledCondition | None, awaited: frozenset[str]
) -> CompiledStep:
    rendering = None
    if step.kind in LAYOUTS:
        with not_too_deep(place(workflow, step)):
            rendering = Rendering(step, place(workflow, step))
    return CompiledStep(
        step=step,
        index=index,
        condition=condition,
        rendering=rendering,
        personal=bool(rendering and rendering.reads & PERSONAL),
        awaited=step.channel is not None and (step.stop_on_fail or step.id in awaited),
    )


def _condition(workflow: Workflow[Any, ...], step: Step) -> CompiledCondition | None:
    if step.when is None:
        return None
    if callable(step.when):
        return Function(step.when, workflow, step.id)
    where = f"{place(workflow, step)}, when"
    with not_too_deep(where):
        return Expression(step.when, where)


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
