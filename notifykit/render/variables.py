"""What templates name: roots, and the variables that hang on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes
from jinja2.meta import find_undeclared_variables

from notifykit.render.sandbox import GLOBALS
from notifykit.workflow.context import ROOTS


@dataclass(frozen=True)
class VariablePath:
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
        return written(self.root, self.keys)


def written(root: str, keys: Sequence[str | int]) -> str:
    """A root and keys as one writes them in a template."""
    return root + "".join(f".{key}" if isinstance(key, int) or key.isidentifier() else f"[{key!r}]" for key in keys)


def roots(tree: nodes.Template) -> frozenset[str]:
    """The names that a template takes from outside."""
    # Jinja counts a name that is set in one branch only among those from outside.
    return frozenset(find_undeclared_variables(tree)) - set(GLOBALS) - stored_names(tree)


def stored_names(tree: nodes.Template) -> frozenset[str]:
    """The names that a template sets: variables, macros, what it imports; a root stays one though it is set."""
    names = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    names |= {node.name for node in tree.find_all(nodes.Macro)}
    names |= {node.target for node in tree.find_all(nodes.Import)}
    for node in tree.find_all(nodes.FromImport):
        names |= {name if isinstance(name, str) else name[1] for name in node.names}
    return frozenset(names) - set(ROOTS)


def variables(tree: nodes.Node) -> Iterator[VariablePath]:
    """Every variable that a template names, the longest form of each."""
    inner: set[int] = set()
    for node in nodes.Output([tree]).find_all((nodes.Getattr, nodes.Getitem, nodes.Name)):
        if id(node) not in inner and (found := _path(node, inner)) is not None:
            yield found


def _path(node: nodes.Node, inner: set[int]) -> VariablePath | None:
    """The path that ends at a node; the nodes it leads through are noted in `inner`."""
    keys: list[str | int | None] = []
    line = node.lineno
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        keys.append(node.attr if isinstance(node, nodes.Getattr) else _constant_key(node.arg))
        node = node.node
        inner.add(id(node))
    if not isinstance(node, nodes.Name) or node.ctx != "load":
        return None
    known: list[str | int] = []
    for key in reversed(keys):
        if key is None:
            break
        known.append(key)
    return VariablePath(node.name, tuple(known), len(known) == len(keys), line)


def _constant_key(node: nodes.Node) -> str | int | None:
    value = node.value if isinstance(node, nodes.Const) else None
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def undefined(name: str, known: Sequence[VariablePath], scope: Mapping[str, Any]) -> tuple[str, str]:
    """What is undefined.

    Args:
        name: The last name of it: Jinja says no more.
        known: The variables that the template names.
        scope: What they were looked up in.

    Returns:
        Its whole path, and a sentence about it.
    """
    for path in known:
        if path.root not in scope:
            if name == path.root or (path.keys and str(path.keys[-1]) == name):
                return path.text, f"{path.text} is undefined"
            continue
        at, holder = _first_missing(path, scope)
        if at is not None and str(path.keys[at]) == name:
            text = written(path.root, path.keys[: at + 1])
            why = f": {written(path.root, path.keys[:at])} is null" if holder is None else ""
            return text, f"{text} is undefined{why}"
    return name, f"{name} is undefined"


def _first_missing(path: VariablePath, scope: Mapping[str, Any]) -> tuple[int | None, Any]:
    """The place of the first key of a path that is not there, or None; and what it was looked up in."""
    value: Any = scope[path.root]
    for at, key in enumerate(path.keys):
        try:
            value = value[key]
        except (TypeError, LookupError):
            return at, value
    return None, value
