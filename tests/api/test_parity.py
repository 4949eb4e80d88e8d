"""Both notifiers have the same verbs, arguments and words; the awaited one is what the generator writes."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import notifykit as nk
from notifykit.api import aio
from notifykit.unit_of_work.unit import Namespace

ROOT = Path(__file__).parents[2]
TWINS: dict[str, str] = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
REPLACED = {
    "Iterator": "AsyncIterator",
    "Host": "AsyncHost",
    "Hook": "AsyncHook",
    "Many": "AsyncMany",
    "Bind": "AsyncBind",
    "On": "AsyncOn",
    "Notifier": "AsyncNotifier",
    "Engine": "AsyncEngine",
    "Inbox": "AsyncInbox",
    "TransactionContext": "AsyncTransactionContext",
    "AbstractContextManager": "AbstractAsyncContextManager",
}


def kinds() -> list[tuple[type[Any], type[Any]]]:
    """Every sync class with its twin."""
    classes = [nk.Notifier, nk.Engine, *Namespace.__subclasses__()]
    return [
        (kind, getattr(aio, f"Async{kind.__name__}")) for kind in classes if kind.__module__.startswith("notifykit")
    ]


def methods(kind: type[Any]) -> dict[str, Any]:
    """The public methods that a class defines itself."""
    found = {name: value for name, value in vars(kind).items() if inspect.isfunction(value)}
    return {
        name: value
        for name, value in found.items()
        if not name.startswith("_") or name in {*TWINS, *TWINS.values(), "__init__"}
    }


def words(annotation: Any) -> str:
    """An annotation as the awaited notifier would have it."""
    return "".join(REPLACED.get(part, part) for part in re.split(r"(\w+)", str(annotation)))


def is_verb(function: Any) -> bool:
    """Whether a method runs in a unit; its arguments are then the same on both notifiers."""
    return hasattr(function, "write")


@pytest.mark.parametrize(("kind", "twin"), kinds(), ids=lambda kind: kind.__name__)
def test_a_twin_has_the_same_methods_arguments_and_words(kind: type[Any], twin: type[Any]) -> None:
    assert kind.__doc__ == twin.__doc__
    mine, theirs = methods(kind), methods(twin)
    if issubclass(kind, Namespace):
        mine.pop("__init__", None)
    assert {TWINS.get(name, name) for name in mine} == set(theirs)
    for name, method in mine.items():
        other = theirs[TWINS.get(name, name)]
        assert inspect.getdoc(method) == inspect.getdoc(other), name
        signature, awaited = inspect.signature(method), inspect.signature(other)
        assert list(signature.parameters) == list(awaited.parameters)
        for parameter in signature.parameters.values():
            found = awaited.parameters[parameter.name]
            assert (parameter.kind, parameter.default) == (found.kind, found.default)
            expected = str(parameter.annotation) if is_verb(method) else words(parameter.annotation)
            assert expected == str(found.annotation)
        expected = str(signature.return_annotation) if is_verb(method) else words(signature.return_annotation)
        assert expected == str(awaited.return_annotation)


def test_what_reaches_the_database_is_awaited_and_nothing_else() -> None:
    plain = {"__init__", "inbox", "within", "scoped", "transaction", "deliver", "register", "each", "members"}
    for _, twin in kinds():
        for name, method in methods(twin).items():
            assert inspect.iscoroutinefunction(method) is (name not in plain), name


def test_the_generated_file_is_fresh() -> None:
    told = subprocess.run([sys.executable, ".ci/awaited.py", "--check"], capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 0, told.stderr
