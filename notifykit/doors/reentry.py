"""Whether a verb is called from inside an open unit of the same engine: it would wait for itself for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from notifykit.doors.runtime import Runtime
from notifykit.errors import UnitError

Owner = tuple[int, "asyncio.Task[Any] | None"]


@dataclass(eq=False, slots=True)
class Inside:
    """One open unit. Context variables are copied into tasks and threads: only its owner is really inside."""

    runtime: Runtime[Any]
    owner: Owner
    outer: Inside | None
    active: bool = True


_inside: ContextVar[Inside | None] = ContextVar("notifykit_inside", default=None)


@contextmanager
def entered(runtime: Runtime[Any]) -> Iterator[None]:
    """Be inside a unit of an engine.

    Raises:
        UnitError: We are inside one already.
    """
    owner = current_owner()
    check(runtime, owner)
    outer = _inside.get()
    while outer is not None and not outer.active:
        outer = outer.outer
    mine = Inside(runtime, owner, outer)
    _inside.set(mine)
    try:
        yield
    finally:
        mine.active = False
        if _inside.get() is mine:  # a generator fixture may be left in another context than it was entered in
            _inside.set(outer)


def check(runtime: Runtime[Any], owner: Owner | None = None) -> None:
    """Refuse to open a unit of an engine inside one of its own.

    Raises:
        UnitError: This thread or task has one open.
    """
    owner = owner or current_owner()
    inside = _inside.get()
    while inside is not None:
        if inside.runtime is runtime and inside.active and inside.owner == owner:
            raise UnitError(
                "this engine has a unit open here already, and a second one would wait for it for ever: inside "
                "`transaction()` call the verbs of the door it gave; a generator or callback passed to a verb may not "
                "call the engine"
            )
        inside = inside.outer


def current_owner() -> Owner:
    """This thread, and the task that runs in it."""
    try:
        return threading.get_ident(), asyncio.current_task()
    except RuntimeError:
        return threading.get_ident(), None
