"""Templates as syntax trees, refused where nothing could be rendered from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser

from notifykit.errors import DefinitionError, nearest
from notifykit.render.sandbox import Sandbox


@dataclass(frozen=True)
class Part:
    """One template: its source, the place it stands at for errors, and whether what is filled in is HTML-escaped."""

    source: str
    place: str
    html: bool = False


def parse(part: Part, environment: Sandbox) -> nodes.Template:
    """The syntax tree of one template.

    Raises:
        DefinitionError: It does not parse, or names a filter or test that is not there; says where.
    """
    check_source(part.source, part.place)
    try:
        tree = environment.parse(part.source)
    except TemplateSyntaxError as error:
        raise DefinitionError(f"{part.place}, line {error.lineno}: {error.message}") from error
    _check_tree(tree, part.place, environment)
    return tree


def parse_expression(source: str, place: str, environment: Sandbox) -> nodes.Expr:
    """The syntax tree of one expression, and nothing but one.

    Raises:
        DefinitionError: It is not exactly one expression; says where.
    """
    check_source(source, place)
    try:
        parser = Parser(environment, source, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError(f"one expression is expected, not {source!r}", parser.stream.current.lineno)
    except TemplateSyntaxError as error:
        raise DefinitionError(f"{place}, line {error.lineno}: {error.message}") from error
    tree.set_environment(environment)
    _check_tree(tree, place, environment)
    return tree


def check_source(source: Any, place: str) -> None:
    """Refuse what is no text, or no text that can be stored.

    Raises:
        DefinitionError: Says where.
    """
    if not isinstance(source, str):
        raise DefinitionError(f"{place}: text is expected, not {type(source).__name__}")
    _check_text(source, place)


def _check_text(text: str, place: str) -> None:
    if "\0" in text:
        raise DefinitionError(f"{place}: NUL characters cannot be stored")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise DefinitionError(f"{place}: half of a surrogate pair cannot be stored")


def _check_tree(tree: nodes.Node, place: str, environment: Sandbox) -> None:
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, str):
            _check_text(constant.value, f"{place}, line {constant.lineno}")
    # Jinja itself says that a filter is unknown only when the template is compiled, and only the first.
    for kind, known in ((nodes.Filter, environment.filters), (nodes.Test, environment.tests)):
        for node in tree.find_all(kind):
            name: str | None = node.name
            if name is not None and name not in known:
                what = f"no {kind.__name__.lower()} is named {name!r}.{nearest(name, known)}"
                raise DefinitionError(f"{place}, line {node.lineno}: {what}")


def literal_text(tree: nodes.Template) -> str | None:
    """The text of a template that fills nothing in, or None."""
    pieces = [node for output in tree.body for node in (output.nodes if isinstance(output, nodes.Output) else [output])]
    texts = [node.data for node in pieces if isinstance(node, nodes.TemplateData)]
    return "".join(texts) if len(texts) == len(pieces) else None


def text_before(tree: nodes.Template) -> str:
    """The text before the first thing that a template fills in."""
    first = tree.body[0].nodes[0] if isinstance(tree.body[0], nodes.Output) else None
    return first.data if isinstance(first, nodes.TemplateData) else ""
