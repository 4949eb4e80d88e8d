"""Conditions: one expression, or one function of the host. What cannot be evaluated does not pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from types import CoroutineType
from typing import Any, TypeAlias

from jinja2 import nodes
from jinja2.exceptions import SecurityError, UndefinedError

from notifykit.errors import ConfigurationError
from notifykit.render.sandbox import Sandbox
from notifykit.render.templates import parse_expression
from notifykit.render.text_loop import TextLoop, as_template
from notifykit.render.variables import VariablePath, roots, undefined, variables
from notifykit.texts import error_text, sanitize
from notifykit.workflow.context import ROOTS, context_of
from notifykit.workflow.definition import Workflow
from notifykit.workflow.steps import function_name

PASSES, FAILS = "1", "0"

Evaluation: TypeAlias = tuple[bool, str | None]
"""Whether a condition passes, and why it could not be evaluated where it could not."""


class CompiledCondition(ABC):
    """The condition of one step.

    Attributes:
        source: The expression, or the function's name.
        reads: The roots that it names; all of them where it is a function.
        variables: Every variable that it names; none where it is a function.
        awaits: Ids of the steps whose `delivery` it names: the run waits for these outcomes first.
    """

    source: str
    reads: frozenset[str]
    variables: tuple[VariablePath, ...] = ()
    awaits: frozenset[str] = frozenset()

    @abstractmethod
    def bind(self, scope: Mapping[str, Any]) -> Callable[[], Evaluation]:
        """Bind the condition to a scope whose entries are replaced from one run to the next.

        Args:
            scope: One dictionary of all roots.

        Returns:
            A function that says whether the condition passes for what the scope holds by then, and the problem if it
            could not be evaluated.
        """


class Expression(CompiledCondition):
    """A condition given as a Jinja expression."""

    def __init__(self, source: str, place: str, environment: Sandbox) -> None:
        """Compile an expression.

        Args:
            source: The expression.
            place: Where it stands, for errors.
            environment: Of the workflow's templates.

        Raises:
            DefinitionError: It is not exactly one expression.
        """
        tree = parse_expression(source, place, environment)
        self.source = source
        self.variables = tuple(variables(tree))
        self.reads = roots(as_template([nodes.Output([tree])], environment))
        self.awaits = frozenset(str(path.keys[0]) for path in self.variables if _names_delivery(path))
        answers: list[nodes.Node] = [nodes.Output([nodes.TemplateData(answer)]) for answer in (PASSES, FAILS)]
        self._loop = TextLoop(environment, nodes.If(tree, answers[:1], [], answers[1:]), self.reads)

    def bind(self, scope: Mapping[str, Any]) -> Callable[[], Evaluation]:
        """Bind the expression."""
        begun: Iterator[str] | None = None

        def evaluate() -> Evaluation:
            nonlocal begun
            answers, begun = begun or self._loop.begin(scope), None
            try:
                passes = next(answers) == PASSES
                begun = answers
                return passes, None
            except UndefinedError as error:
                return False, sanitize(undefined(str(error.message), self.variables, scope)[1])
            except SecurityError as error:
                return False, sanitize(str(error))
            except Exception as error:
                return False, error_text(error)

        return evaluate


class Function(CompiledCondition):
    """A condition given as a function of the host."""

    def __init__(self, function: Callable[..., Any], workflow: Workflow[Any, ...], step: str) -> None:
        """Keep the function and whose it is."""
        self._name = function_name(workflow.key, step)
        self.source = sanitize(getattr(function, "__qualname__", self._name))
        self.reads = frozenset(ROOTS)
        self._workflow = workflow
        self._call = function

    def bind(self, scope: Mapping[str, Any]) -> Callable[[], Evaluation]:
        """Bind the function."""

        def evaluate() -> Evaluation:
            try:
                answer = self._call(context_of(self._workflow.adapter, scope))
                if type(answer) is CoroutineType:
                    answer.close()
                    return False, f"{self._name} is a coroutine; a condition must be a plain function"
                return bool(answer), None
            except ConfigurationError as error:
                return False, error_text(error)
            except Exception as error:  # of the function, or of what it returned when asked whether it is true
                return False, sanitize(f"{self._name} raised {error_text(error)}")

        return evaluate


def _names_delivery(path: VariablePath) -> bool:
    """Whether the outcome of a step's message may be what a path leads to."""
    if path.root != "steps" or not path.keys:
        return False
    field = path.keys[1] if len(path.keys) > 1 else None
    return field in ("delivery", "get") or (field is None and not path.whole)
