"""Conditions: one expression, or one function of the host. What cannot be evaluated does not pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, UndefinedError

from notifykit.errors import ConfigurationError
from notifykit.render import plain
from notifykit.render.sandbox import SANDBOX
from notifykit.render.templates import Chain, chains, parse_expression, roots, undefined
from notifykit.texts import error_text, sanitize
from notifykit.workflow.context import ROOTS, context_of
from notifykit.workflow.definition import Workflow
from notifykit.workflow.serialization import MissingFunction
from notifykit.workflow.steps import function_name

Verdict = tuple[bool, str | None]
"""Whether a condition passes, and why it could not be evaluated where it could not."""
Judge = Callable[[], Verdict]


class CompiledCondition:
    """The condition of one step.

    Attributes:
        source: The expression, or the function's name.
        reads: The roots that it names; all of them where it is a function.
        awaits: Ids of the steps whose `delivery` it names: the run waits for these outcomes first.
        function: `workflow/step` where it is a function of the host, else None.
    """

    source: str
    reads: frozenset[str]
    awaits: frozenset[str] = frozenset()
    function: str | None = None

    def judge(self, scope: Mapping[str, Any]) -> Judge:
        """Bind the condition to a scope whose entries are replaced from one run to the next.

        Args:
            scope: One dictionary of payload, subscriber, actor, tenant, steps.

        Returns:
            A function that says whether the condition passes for what the scope holds by then, and the problem if it
            could not be evaluated.
        """
        raise NotImplementedError

    def bind(self, scope: Mapping[str, Any]) -> Callable[[], bool]:
        """Like `judge`, without the reason."""
        judge = self.judge(scope)
        return lambda: judge()[0]

    def test(self, scope: Mapping[str, Any]) -> Verdict:
        """Whether the condition passes once, and the problem if it could not be evaluated."""
        return self.judge(scope)()


class Expression(CompiledCondition):
    """A condition given as a Jinja expression."""

    def __init__(self, source: str, place: str) -> None:
        """Compile an expression.

        Args:
            source: The expression.
            place: Where it stands, for errors.

        Raises:
            DefinitionError: It is not exactly one expression.
        """
        tree = parse_expression(source, place)
        self.source = source
        self.chains: tuple[Chain, ...] = tuple(chains(tree))
        self.reads = roots(tree)
        self.awaits = frozenset(str(chain.keys[0]) for chain in self.chains if _names_delivery(chain))
        self._template = SANDBOX.from_string(_as_template(tree))
        self._plain = _fast(tree)

    def judge(self, scope: Mapping[str, Any]) -> Judge:
        """Bind the expression."""
        slow, quick = self._slow(scope), self._plain
        if quick is None:
            return slow

        def judge() -> Verdict:
            try:
                return (True, None) if quick(scope) else (False, None)
            except Exception:
                return slow()

        return judge

    def _slow(self, scope: Mapping[str, Any]) -> Judge:
        run = self._template.root_render_func
        context = self._template.new_context(scope, True)  # type: ignore[arg-type]
        context.vars.update(SANDBOX.globals)

        def judge() -> Verdict:
            try:
                return next(iter(run(context)), "") == "1", None
            except UndefinedError as error:
                return False, sanitize(undefined(str(error.message), self.chains, scope)[1])
            except SecurityError as error:
                return False, sanitize(str(error))
            except Exception as error:
                return False, error_text(error)

        return judge


class Function(CompiledCondition):
    """A condition given as a function of the host."""

    def __init__(self, function: Callable[..., Any], workflow: Workflow[Any, ...], step: str) -> None:
        """Keep the function and whose it is."""
        self.function = function_name(workflow.key, step)
        self.source = sanitize(getattr(function, "__qualname__", self.function))
        self.reads = frozenset(ROOTS)
        self._workflow = workflow
        self._call = function

    @property
    def missing(self) -> bool:
        """This process does not have the function."""
        return isinstance(self._call, MissingFunction)

    def judge(self, scope: Mapping[str, Any]) -> Judge:
        """Bind the function."""

        def judge() -> Verdict:
            try:
                answer = self._call(context_of(self._workflow.adapter, scope))
                if type(answer) is CoroutineType:
                    answer.close()
                    return False, f"{self.function} is a coroutine; a condition must be a plain function"
                return bool(answer), None
            except ConfigurationError as error:
                return False, error_text(error)
            except Exception as error:  # of the function, or of what it returned when asked whether it is true
                return False, sanitize(f"{self.function} raised {error_text(error)}")

        return judge


def _as_template(tree: nodes.Expr) -> nodes.Template:
    passed = nodes.Output([nodes.TemplateData("1")])
    template = nodes.Template([nodes.If(tree, [passed], [], [])], lineno=1)
    template.set_lineno(1)
    template.set_environment(SANDBOX)
    return template


def _fast(tree: nodes.Expr) -> Callable[[Any], Any] | None:
    variables = plain.Variables()
    try:
        result = plain.condition(tree, variables)
    except plain.NotPlain:
        return None
    return plain.function(variables.root_lines(), result, {})


def _names_delivery(chain: Chain) -> bool:
    if chain.root != "steps" or not chain.keys:
        return False
    field = chain.keys[1] if len(chain.keys) > 1 else None
    return field in ("delivery", "get") or (field is None and not chain.whole)
