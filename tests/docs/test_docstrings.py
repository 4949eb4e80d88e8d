"""Docstrings name the arguments and attributes that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "notifykit"
FILES = [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in sorted(PACKAGE.rglob("*.py"))]
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def section(node: Definition, title: str) -> list[str]:
    """The names that a section of a docstring explains."""
    text = ast.get_docstring(node) or ""
    found = re.search(rf"^{title}:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    return re.findall(r"^    \**(\w+):", found[1], re.MULTILINE) if found else []


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The names of a function's arguments."""
    given = node.args
    several = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return {argument.arg for argument in several}


def attributes(node: ast.ClassDef) -> set[str]:
    """The names that a class or its instances have by its own text."""
    names = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(inner.name)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            names.add(inner.attr)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
    return names


def definitions(path: Path) -> Iterator[Definition]:
    """Every class and function of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, Definition):
            yield node


@pytest.mark.parametrize("path", FILES)
def test_every_name_that_a_docstring_explains_exists(path: Path) -> None:
    stale = []
    for node in definitions(path):
        if isinstance(node, ast.ClassDef):
            stale += [f"{node.name}.{name}" for name in section(node, "Attributes") if name not in attributes(node)]
        else:
            stale += [f"{node.name}({name})" for name in section(node, "Args") if name not in arguments(node)]
    assert stale == []
