"""A transaction of our own as a block, for those who need no unit."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from notifykit.store.turns import Hold

if TYPE_CHECKING:
    from notifykit.store.database import Database


class Transaction:
    """A transaction of our own, for as long as a block lasts."""

    __slots__ = ("__weakref__", "_connection", "_database", "_hold", "_write")

    def __init__(self, database: Database, write: bool) -> None:
        """Prefer `Database.transaction`."""
        self._database = database
        self._write = write
        self._hold = Hold(self, lost=database.give_up)
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
