"""A transaction of our own as a block, for those who need no unit."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol

from sqlalchemy import Connection

from notifykit.store.writer_lock import LockHolder


class Transactional(Protocol):
    """What begins and ends transactions."""

    def enter(self, hold: LockHolder, *, write: bool) -> Connection:
        """Begin one."""
        ...

    def leave(self, hold: LockHolder, *, commit: bool) -> None:
        """End it."""
        ...

    def give_up(self, hold: LockHolder) -> None:
        """Give back whatever it still has, wherever it was interrupted."""
        ...


class Transaction:
    """A transaction of our own, for as long as a block lasts."""

    __slots__ = ("__weakref__", "_connection", "_database", "_hold", "_write")

    def __init__(self, database: Transactional, write: bool) -> None:
        """Prefer `Database.transaction`."""
        self._database = database
        self._write = write
        self._hold = LockHolder(self, lost=database.give_up)
        self._connection: Connection | None = None

    def __enter__(self) -> Connection:
        """Begin it."""
        self._connection = connection = self._database.enter(self._hold, write=self._write)
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        hold = self._hold
        try:
            hold.frame = sys._getframe()
            self._database.leave(hold, commit=kind is None)
        except BaseException:
            self._database.give_up(hold)
            raise
        hold.end()
