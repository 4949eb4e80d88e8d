"""Points at which work can be stopped: before each of its statements and commits, and before each call to the outside.

A *stopper* is told of every point that the thread it stands in comes to. It may wait there, or raise.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

TABLE = re.compile(r"\bnotifykit_(\w+)")
TAILS = ("FOR UPDATE OF", "FOR UPDATE", "SKIP LOCKED", "ON CONFLICT", "ON DUPLICATE KEY")
_here = threading.local()


class Dead(BaseException):
    """The process of this work has died: nothing that it would do from now on happens."""


class Stopper:
    """What stands in a thread and is told of its points.

    Attributes:
        points: The points so far.
        dead: Its process has died.
    """

    def __init__(self) -> None:
        self.points: list[str] = []
        self.dead = False

    def reach(self, what: str, connection: sa.Connection | None) -> None:
        """Come to a point."""
        self.points.append(what)

    def leave(self, what: str) -> None:
        """A transaction of its own is rolled back."""

    def die(self, connection: sa.Connection | None) -> None:
        """End as a killed process does: its connection is gone, and the server rolls back."""
        self.dead = True
        if connection is not None and not connection.invalidated:
            connection.invalidate()
        raise Dead


class Interrupt(Stopper):
    """Interrupts the work of its thread at one point.

    Attributes:
        at: The number of the point, from 0; what ends before is not interrupted.
        among: Only points that start like this are counted.
        deadly: The process dies there; else `KeyboardInterrupt` is raised, and cleaning up goes on.
    """

    def __init__(self, at: int, *, among: str = "", deadly: bool = False) -> None:
        super().__init__()
        self.at = at
        self.among = among
        self.deadly = deadly

    def reach(self, what: str, connection: sa.Connection | None) -> None:
        """Raise at the chosen point."""
        if not what.startswith(self.among):
            return
        super().reach(what, connection)
        if len(self.points) - 1 == self.at:
            if self.deadly:
                self.die(connection)
            raise KeyboardInterrupt


@contextmanager
def standing(stopper: Stopper | None) -> Iterator[None]:
    """Let a stopper stand in this thread; None lets the block pass without any."""
    before, _here.stopper = getattr(_here, "stopper", None), stopper
    try:
        yield
    finally:
        _here.stopper = before


def point(what: str) -> None:
    """A point of its own, such as a call to the outside. Without a stopper nothing happens."""
    _told(what, None)


@contextmanager
def listened() -> Iterator[None]:
    """Tell the stoppers of all threads of the points that they come to."""
    hooks = {"before_cursor_execute": _statement, "commit": _commit, "rollback": _rollback}
    for name, hook in hooks.items():
        sa.event.listen(sa.Engine, name, hook)
    try:
        yield
    finally:
        for name, hook in hooks.items():
            sa.event.remove(sa.Engine, name, hook)


def interrupted(work: Callable[[], Any], at: int, *, among: str = "", deadly: bool = False) -> bool:
    """Do a piece of work, interrupted at a point.

    Args:
        work: What to do; if it dies, its engines are of no use any more.
        at: The number of the point.
        among: Only points that start like this are counted.
        deadly: As if its process were killed.

    Returns:
        Whether it got as far as that point.
    """
    stopper = Interrupt(at, among=among, deadly=deadly)
    with listened(), standing(stopper):
        try:
            work()
        except (Dead, KeyboardInterrupt):
            return True
    return len(stopper.points) > at


def summary(statement: str) -> str:
    """A statement in a few words: what it does to which tables, and how it locks."""
    text = " ".join(statement.split())
    upper = text.upper()
    tables = dict.fromkeys(TABLE.findall(text))
    tails = [tail for tail in TAILS if tail in upper and not (tail == "FOR UPDATE" and "FOR UPDATE OF" in upper)]
    return " ".join([upper.split(" ", 1)[0], ", ".join(tables), *tails]) if tables else text[:60]


def _told(what: str, connection: sa.Connection | None) -> None:
    stopper: Stopper | None = getattr(_here, "stopper", None)
    if stopper is None:
        return
    if stopper.dead:
        stopper.die(connection)
    stopper.reach(what, connection)


def _statement(connection: Any, cursor: Any, text: str, parameters: Any, context: Any, executemany: bool) -> None:
    _told(summary(text), connection)


def _commit(connection: Any) -> None:
    _told("COMMIT", connection)


def _rollback(connection: Any) -> None:
    stopper: Stopper | None = getattr(_here, "stopper", None)
    if stopper is not None and not stopper.dead:
        stopper.leave("ROLLBACK")
