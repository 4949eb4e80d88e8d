"""Ids from a database's own sequence: blocks, of which a process keeps what it did not need."""

from __future__ import annotations

from collections import deque
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from notifykit.errors import NotifyKitError
from notifykit.model.sequence import BLOCK
from notifykit.settings import BUSY_TIMEOUT
from notifykit.store import forks
from notifykit.store.dialect import Dialect
from notifykit.store.joining import refuse_driver_mode
from notifykit.store.statement import ExecutionContext

FIRST_ID = 2
"""1 is the default organization's and environment's."""


def lock_seconds(wait: float | None) -> int:
    """How long a change of the tables waits for the locks of others; the servers' own answer is a day, or for ever."""
    return int(BUSY_TIMEOUT.total_seconds() if wait is None else wait)


class HiLoDialect(Dialect):
    """A database with sequences. A block once taken is never given back, so a rollback loses ids and repeats none."""

    def __init__(self, core: Any, where: str) -> None:
        """Start without a block."""
        super().__init__(core, where)
        self._kept: deque[range] = deque()
        self._commits_everything = False

    def execute(self, connection: Connection, text: str, arguments: Any) -> Any:
        """Run SQL; a connection whose call was interrupted is thrown away, for its answer may be on the wire yet.

        Raises:
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        try:
            return super().execute(connection, text, arguments)
        except (SQLAlchemyError, NotifyKitError):
            raise
        except BaseException:
            if not connection.closed and not connection.invalidated:
                connection.invalidate()
            raise

    def ids(self, unit: ExecutionContext, count: int) -> list[int]:
        """That many new ids, ascending; what is left of a block is kept for the next call in this process."""
        forks.look()  # in a host's transaction nobody else has
        found, missing = self._take(count)
        if missing:
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

    def begin(self, connection: Connection, *, write: bool, wait: float | None) -> None:
        """Begin a real transaction, whatever the host's engine is set to: a level of ours on the connection wins."""
        if self._commits_everything:
            connection.execution_options(isolation_level="READ COMMITTED")
        super().begin(connection, write=write, wait=wait)

    def after_fork(self) -> None:
        """Never hand out what the parent kept."""
        self._kept = deque()

    def _starts(self, connection: Connection, blocks: int) -> list[int]:
        """The first ids of new blocks."""
        raise NotImplementedError

    def _take(self, count: int) -> tuple[list[range], int]:
        """What is left of blocks; each is taken out in one step, so an interruption loses ids and repeats none."""
        found: list[range] = []
        while count and self._kept:
            try:
                block = self._kept.popleft()
            except IndexError:  # another thread was faster
                break
            found.append(block[:count])
            self._keep(block[count:])
            count -= len(found[-1])
        return found, count

    def _keep(self, rest: range) -> None:
        if rest:
            self._kept.append(rest)
