"""Templates as syntax trees: what they name, and many as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser

from notifykit.errors import DefinitionError, nearest
from notifykit.render.sandbox import GLOBALS, SANDBOX
from notifykit.workflow.context import ROOTS

SEPARATOR = "\0"
"""Stands between the parts of a unit: no template and no payload may hold one."""
REFUSED: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "block",
}
STATEFUL = (nodes.Assign, nodes.AssignBlock, nodes.Macro)


@dataclass(frozen=True)
class Part:
    """One template: its source, the place it stands at for errors, and whether what is filled in is HTML-escaped."""

    source: str
    place: str
    html: bool = False


@dataclass(frozen=True)
class Chain:
    """One variable as a template names it: a root, then constant keys as far as they go.

    Attributes:
        root: The name it starts with.
        keys: Items or attributes.
        whole: Nothing follows that is only known when it is rendered.
        line: Where it stands.
    """

    root: str
    keys: tuple[str | int, ...]
    whole: bool
    line: int

    @property
    def text(self) -> str:
        """The variable as one writes it."""
        return self.root + "".join(
            f".{key}" if isinstance(key, int) or key.isidentifier() else f"[{key!r}]" for key in self.keys
        )


def parse(part: Part) -> nodes.Template:
    """The syntax tree of one template.

    Raises:
        DefinitionError: It does not parse, or uses what templates here do not have; says where.
    """
    check_source(part.source, part.place)
    try:
        tree = SANDBOX.parse(part.source)
    except TemplateSyntaxError as error:
        raise DefinitionError(f"{part.place}, line {error.lineno}: {error.message}") from error
    for node in tree.find_all(tuple(REFUSED)):
        raise DefinitionError(
            f"{part.place}, line {node.lineno}: templates here have no {REFUSED[type(node)]!r}; write the text itself"
        )
    _check_constants(tree, part.place)
    _check_names(tree, part.place)
    return tree


def parse_expression(source: str, place: str) -> nodes.Expr:
    """The syntax tree of one expression, and nothing but one.

    Raises:
        DefinitionError: It is not exactly one expression; says where.
    """
    check_source(source, place)
    try:
        parser = Parser(SANDBOX, source, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError(f"one expression is expected, not {source!r}", parser.stream.current.lineno)
    except TemplateSyntaxError as error:
        raise DefinitionError(f"{place}, line {error.lineno}: {error.message}") from error
    tree.set_environment(SANDBOX)
    _check_constants(tree, place)
    _check_names(tree, place)
    return tree


def check_source(source: Any, place: str) -> None:
    """Refuse what is no text, or no text that can be stored."""
    if not isinstance(source, str):
        raise DefinitionError(f"{place}: text is expected, not {type(source).__name__}")
    _check_text(source, place)


def _check_text(text: str, place: str) -> None:
    if SEPARATOR in text:
        raise DefinitionError(f"{place}: NUL characters cannot be stored")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise DefinitionError(f"{place}: half of a surrogate pair cannot be stored")


def _check_constants(tree: nodes.Node, place: str) -> None:
    for node in tree.find_all(nodes.Const):
        if isinstance(node.value, str):
            _check_text(node.value, f"{place}, line {node.lineno}")


def _check_names(tree: nodes.Node, place: str) -> None:
    """Filters and tests must be there; Jinja itself says so only when the template is compiled, one at a time."""
    for kind, known in ((nodes.Filter, SANDBOX.filters), (nodes.Test, SANDBOX.tests)):
        for node in tree.find_all(kind):
            name: str | None = node.name
            if name is not None and name not in known:
                what = f"no {kind.__name__.lower()} is named {name!r}.{nearest(name, known)}"
                raise DefinitionError(f"{place}, line {node.lineno}: {what}")


def constant(tree: nodes.Template) -> str | None:
    """The text of a template that fills nothing in, or None."""
    texts = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if not isinstance(node, nodes.TemplateData):
                return None
            texts.append(node.data)
    return "".join(texts)


def roots(tree: nodes.Node) -> frozenset[str]:
    """The names that a template takes from outside."""
    whole = tree if isinstance(tree, nodes.Template) else nodes.Template([nodes.Output([tree])])
    whole.set_environment(SANDBOX)
    # Jinja counts a name that is set in one branch only among those from outside.
    own = {node.name for node in whole.find_all(nodes.Name) if node.ctx == "store"} - set(ROOTS)
    return frozenset(find_undeclared_variables(whole)) - set(GLOBALS) - own


def chains(tree: nodes.Node) -> Iterator[Chain]:
    """Every variable that a template names, the longest form of each."""
    inner: set[int] = set()
    tree = nodes.Output([tree])
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Name)):
        if id(node) in inner:
            continue
        found = _chain(node, inner)
        if found is not None:
            yield found


def _chain(node: nodes.Node, inner: set[int]) -> Chain | None:
    steps: list[str | int | None] = []
    line = node.lineno
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            steps.append(node.attr)
        else:
            value = node.arg.value if isinstance(node.arg, nodes.Const) else None
            steps.append(value if isinstance(value, str | int) and not isinstance(value, bool) else None)
        node = node.node
        inner.add(id(node))
    if not isinstance(node, nodes.Name) or node.ctx != "load":
        return None
    steps.reverse()
    known: list[str | int] = []
    for step in steps:
        if step is None:
            break
        known.append(step)
    return Chain(node.name, tuple(known), len(known) == len(steps), line)


def joined(trees: Sequence[nodes.Template], parts: Sequence[Part]) -> nodes.Template:
    """Several templates as one, a separator between them; none sees what another sets."""
    body: list[nodes.Node] = []
    for at, (tree, part) in enumerate(zip(trees, parts, strict=True)):
        if at:
            body.append(nodes.Output([nodes.TemplateData(SEPARATOR)]))
        own: list[nodes.Node] = list(tree.body)
        if next(tree.find_all(STATEFUL), None) is not None:
            own = [nodes.Scope(own)]
        if part.html:
            own = [nodes.ScopedEvalContextModifier([nodes.Keyword("autoescape", nodes.Const(True))], own)]
        body += own
    whole = nodes.Template(body, lineno=1)
    whole.set_lineno(1)
    whole.set_environment(SANDBOX)
    return whole


def undefined(name: str, known: Sequence[Chain], scope: Mapping[str, Any]) -> tuple[str, str]:
    """The path of an undefined variable of which only the last name is known, and a sentence about it."""
    for chain in known:
        value: Any = scope.get(chain.root)
        if chain.root not in scope:
            if name == chain.root or (chain.keys and str(chain.keys[-1]) == name):
                return chain.text, f"{chain.text} is undefined"
            continue
        for at, key in enumerate(chain.keys):
            try:
                value = value[key]
            except (TypeError, LookupError):
                path = Chain(chain.root, chain.keys[: at + 1], True, chain.line).text
                if str(key) == name:
                    holder = Chain(chain.root, chain.keys[:at], True, chain.line).text
                    return path, f"{path} is undefined" + (f": {holder} is null" if value is None else "")
                break
    return name, f"{name} is undefined"
