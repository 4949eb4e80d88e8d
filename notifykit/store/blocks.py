"""Ids from a database's own sequence: blocks, of which a process keeps what it did not need."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from notifykit.model.sequence import BLOCK
from notifykit.settings import BUSY_TIMEOUT
from notifykit.store.dialect import Dialect
from notifykit.store.joining import refuse_driver_mode

if TYPE_CHECKING:
    from notifykit.store.unit import Unit

IMPATIENT = timedelta(seconds=2)
"""How long to wait for others' locks while the host's own transaction is open: it may be what holds them."""
FIRST_ID = 2
"""1 is the default organization's and environment's."""


def lock_seconds(patient: bool) -> int:
    """How long a change of the tables waits for the locks of others; the servers' own answer is a day, or for ever."""
    return int((BUSY_TIMEOUT if patient else IMPATIENT).total_seconds())


class BlockDialect(Dialect):
    """A database with sequences. A block once taken is never given back, so a rollback loses ids and repeats none."""

    def __init__(self, core: Any, where: str) -> None:
        """Start without a block."""
        super().__init__(core, where)
        self._kept: list[range] = []
        self._guard = threading.Lock()
        self._commits_everything = False

    def ids(self, unit: Unit, count: int) -> list[int]:
        """That many new ids, ascending; what is left of a block is kept for the next call in this process."""
        found, missing = self._take(count)
        if missing:
            # Never asked while the guard is held: a task that waits for the database would stop all others.
            for first in self._starts(unit.connection, -(-missing // BLOCK)):
                block = range(max(first, FIRST_ID), first + BLOCK)
                found.append(block[:missing])
                missing -= len(found[-1])
                self._keep(block[len(found[-1]) :])
            if missing:
                return sorted([number for part in found for number in part] + self.ids(unit, missing))
        found.sort(key=lambda part: part.start)
        return [number for part in found for number in part]

    def prepare_host(self, connection: Connection) -> None:
        """See whether the host's engine commits each statement: our own units on it must not.

        Raises:
            ConfigurationError: It does, and its driver would be left in another mode by ours.
        """
        self._commits_everything = self.commits_everything(connection)
        if self._commits_everything:
            refuse_driver_mode(connection, self.where)

    def begin(self, connection: Connection, *, write: bool, patient: bool) -> None:
        """Begin a real transaction, whatever the host's engine is set to: a level of ours on the connection wins."""
        if self._commits_everything:
            connection.execution_options(isolation_level="READ COMMITTED")
        super().begin(connection, write=write, patient=patient)

    def after_fork(self) -> None:
        """Never hand out what the parent kept."""
        self._kept, self._guard = [], threading.Lock()

    def _starts(self, connection: Connection, blocks: int) -> list[int]:
        """The first ids of new blocks."""
        raise NotImplementedError

    def _take(self, count: int) -> tuple[list[range], int]:
        found: list[range] = []
        with self._guard:
            while count and self._kept:
                block = self._kept.pop(0)
                found.append(block[:count])
                if rest := block[count:]:
                    self._kept.insert(0, rest)
                count -= len(found[-1])
        return found, count

    def _keep(self, rest: range) -> None:
        if rest:
            with self._guard:
                self._kept.append(rest)
                self._kept.sort(key=lambda block: block.start)
