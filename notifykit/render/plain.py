"""The fast way: templates of text and variables, and simple conditions, as Python functions.

They index plain data and nothing else. Whatever raises in them is done again by the sandbox, which gives the right
answer or the right error; so they need not know what is undefined, null or wrongly typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jinja2 import nodes
from markupsafe import escape

from notifykit.workflow.context import ROOTS

OPERATORS = {
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "gteq": ">=",
    "lt": "<",
    "lteq": "<=",
    "in": "in",
    "notin": "not in",
}
CONSTANTS = (str, int, float, bool, type(None))


class NotPlain(Exception):
    """A template holds more than text and variables."""


class Variables:
    """The variables of one function: each is looked up once."""

    def __init__(self) -> None:
        """No variables yet."""
        self.names: dict[str, str] = {}
        self.roots: set[str] = set()

    def name(self, node: nodes.Node) -> str:
        """The local name under which a variable is found."""
        return self.names.setdefault(self.path(node), f"v{len(self.names)}")

    def path(self, node: nodes.Node) -> str:
        """A variable as a Python expression."""
        if isinstance(node, nodes.Name) and node.name in ROOTS:
            self.roots.add(node.name)
            return node.name
        if isinstance(node, nodes.Getattr):
            return f"{self.path(node.node)}[{node.attr!r}]"
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and type(node.arg.value) in (str, int):
            return f"{self.path(node.node)}[{node.arg.value!r}]"
        raise NotPlain

    def root_lines(self) -> list[str]:
        """The statements that look the roots up."""
        return [f"{root} = scope[{root!r}]" for root in sorted(self.roots)]

    def lines(self) -> list[str]:
        """The statements that look roots and variables up."""
        return self.root_lines() + [f"{name} = {path}" for path, name in self.names.items()]


def text(tree: nodes.Template, variables: Variables, *, html: bool) -> str:
    """A template as an f-string.

    Raises:
        NotPlain: It holds more than text and variables.
    """
    pieces = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            raise NotPlain
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                pieces.append(node.data.replace("{", "{{").replace("}", "}}"))
            else:
                name = variables.name(node)
                pieces.append(f"{{escape({name})!s}}" if html else f"{{{name}!s}}")
    return "f" + repr("".join(pieces))


def condition(node: nodes.Node, variables: Variables) -> str:
    """A condition of variables, constants, comparisons, `not`, `and`, `or` as a Python expression.

    Raises:
        NotPlain: It holds more than that.
    """
    if isinstance(node, nodes.Not):
        return f"(not {condition(node.node, variables)})"
    if isinstance(node, nodes.And | nodes.Or):
        word = "and" if isinstance(node, nodes.And) else "or"
        return f"({condition(node.left, variables)} {word} {condition(node.right, variables)})"
    if isinstance(node, nodes.Compare):
        operands = "".join(f" {OPERATORS[one.op]} {condition(one.expr, variables)}" for one in node.ops)
        return f"({condition(node.expr, variables)}{operands})"
    if isinstance(node, nodes.Const) and type(node.value) in CONSTANTS:
        return repr(node.value)
    return variables.path(node)


def function(lines: Sequence[str], result: str, names: dict[str, Any]) -> Callable[[Any], Any]:
    """A function of a scope, made from statements and the expression that it returns.

    Args:
        lines: Statements.
        result: An expression.
        names: What both may call.
    """
    body = [*lines, f"return {result}"]
    source = "def rendering(scope):\n" + "".join(f"    {line}\n" for line in body)
    space: dict[str, Any] = {"escape": escape, **names}
    exec(compile(source, "<notifykit template>", "exec"), space)
    made: Callable[[Any], Any] = space["rendering"]
    return made
