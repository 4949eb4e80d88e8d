"""Named templates: what a step's template includes, imports and extends, found and checked when it is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import nodes

from notifykit.errors import DefinitionError, nearest
from notifykit.render.sandbox import Sandbox
from notifykit.render.templates import Part, parse
from notifykit.render.variables import VariablePath, roots, stored_names, variables

NAMING = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
COMPOSED = (*NAMING, nodes.Block)
"""What makes of a part a template of its own: it is no plain piece of a longer one."""


@dataclass(frozen=True)
class ParsedPart:
    """A template of a step with the named templates that it stands on.

    Attributes:
        part: The template as it is written.
        tree: Its syntax tree.
        reads: The names that it and its named templates take from outside.
        variables: Every variable that they name, with the place it stands at.
    """

    part: Part
    tree: nodes.Template
    reads: frozenset[str]
    variables: tuple[tuple[str, VariablePath], ...]

    @property
    def is_composed(self) -> bool:
        """Whether it includes, imports, extends or has blocks."""
        return next(self.tree.find_all(COMPOSED), None) is not None


@dataclass(frozen=True)
class Found:
    """A template that was reached: the place to name in errors, and its tree."""

    place: str
    tree: nodes.Template


def parse_part(part: Part, environment: Sandbox) -> ParsedPart:
    """Parse a template, and compile every named template that it reaches.

    Raises:
        DefinitionError: One of them is refused, or a name is unknown; says where.
    """
    own = Found(part.place, parse(part, environment))
    found = [own, *_reached(own, part, environment, set(), sees_roots=True)]
    # One may take what another sets: a block what the template that extends sets, a footer the variable of a loop.
    stored = frozenset().union(*(stored_names(each.tree) for each in found))
    return ParsedPart(
        part,
        own.tree,
        reads=frozenset().union(*(roots(each.tree) for each in found)) - stored,
        variables=tuple((each.place, path) for each in found for path in variables(each.tree)),
    )


def _reached(
    by: Found, part: Part, environment: Sandbox, seen: set[tuple[str, bool]], *, sees_roots: bool
) -> Iterator[Found]:
    """The named templates that a template reaches, each once, those that they reach in turn behind it."""
    for node in by.tree.find_all(NAMING):
        name = _name(node, by.place, environment)
        place = f"{part.place}, template {name!r}"
        found = Found(place, parse(Part(environment.templates[name], place), environment))
        if isinstance(node, nodes.FromImport):
            _check_imported(node, name, by, found)
        sees = sees_roots and getattr(node, "with_context", True)
        if not sees and (unseen := roots(found.tree)):
            raise DefinitionError(
                f"{by.place}, line {node.lineno}: template {name!r} names {min(unseen)!r}, "
                "which it sees only where it is imported or included `with context`"
            )
        if (name, sees) not in seen:
            seen.add((name, sees))
            environment.of(html=part.html).get_template(name)
            yield found
            yield from _reached(found, part, environment, seen, sees_roots=sees)


def _check_imported(node: nodes.FromImport, name: str, by: Found, found: Found) -> None:
    """Jinja itself would say only when it is rendered that a template has no such macro."""
    there = stored_names(found.tree)
    for each in node.names:
        wanted = each if isinstance(each, str) else each[0]
        if wanted not in there:
            sentence = f"template {name!r} sets no {wanted!r}.{nearest(wanted, there)}"
            raise DefinitionError(f"{by.place}, line {node.lineno}: {sentence}")


def _name(node: nodes.Node, place: str, environment: Sandbox) -> str:
    """The name that stands in an `include`, `import` or `extends`."""
    given: nodes.Expr = node.template  # type: ignore[attr-defined]  # all of NAMING have one
    name = given.value if isinstance(given, nodes.Const) else None
    if not isinstance(name, str):
        raise DefinitionError(f"{place}, line {node.lineno}: write the template's name out, such as 'footer'")
    if name not in environment.templates:
        raise DefinitionError(
            f"{place}, line {node.lineno}: no template is named {name!r}.{nearest(name, environment.templates)}"
        )
    return name
