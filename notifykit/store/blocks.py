"""Ids from a database's own sequence: blocks, of which a process keeps what it did not need."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from notifykit.model.sequence import BLOCK
from notifykit.store.dialect import Dialect

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from notifykit.store.unit import Unit

FIRST_ID = 2
"""1 is the default organization's and environment's."""


class BlockDialect(Dialect):
    """A database with sequences. A block once taken is never given back, so a rollback loses ids and repeats none."""

    def __init__(self, core: Any, where: str) -> None:
        """Start without a block."""
        super().__init__(core, where)
        self._kept: list[range] = []
        self._process = os.getpid()
        self._guard = threading.Lock()

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

    def _starts(self, connection: Connection, blocks: int) -> list[int]:
        """The first ids of new blocks."""
        raise NotImplementedError

    def _take(self, count: int) -> tuple[list[range], int]:
        found: list[range] = []
        with self._guard:
            if self._process != os.getpid():  # a fork may not hand out its parent's ids
                self._kept, self._process = [], os.getpid()
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
