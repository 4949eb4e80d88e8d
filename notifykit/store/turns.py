"""Whose turn it is to write: one lock for each engine on SQLite, waited for before any connection is taken."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from notifykit.errors import StorageError, UnitError
from notifykit.settings import BUSY_TIMEOUT

RE_ENTRY = (
    "this {owner} already has a transaction of this engine open: use the door that `notify.transaction()` gave, "
    "not the engine, inside it"
)
WAITED = (
    "{where} is locked: another {owner} of this process kept its transaction open for {seconds:.0f} seconds. "
    "Make it shorter, or try again."
)
SECONDS = BUSY_TIMEOUT.total_seconds()


class Turns:
    """A lock between threads that knows its owner."""

    def __init__(self, where: str) -> None:
        """Be free.

        Args:
            where: The file or database, as errors name it.
        """
        self.where = where
        self._lock = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            UnitError: This thread holds it already.
            StorageError: It did not come free in time.
        """
        me = threading.get_ident()
        if self._owner == me:
            raise UnitError(RE_ENTRY.format(owner="thread"))
        if not self._lock.acquire(timeout=SECONDS):
            raise StorageError(WAITED.format(where=self.where, owner="thread", seconds=SECONDS))
        self._owner = me
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()


class AwaitedTurns:
    """A fair lock between tasks, of any number of event loops.

    It is waited for on the loop, before work reaches a thread or a greenlet: a task that waited there would block the
    thread that the lock's holder needs to commit.
    """

    def __init__(self, where: str) -> None:
        """Be free.

        Args:
            where: The file or database, as errors name it.
        """
        self.where = where
        self._guard = threading.Lock()
        self._held = False
        self._owner: asyncio.Task[Any] | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Hold the lock.

        Raises:
            UnitError: This task holds it already.
            StorageError: It did not come free in time.
        """
        me = asyncio.current_task()
        if me is not None and self._owner is me:
            raise UnitError(RE_ENTRY.format(owner="task"))
        await self._acquire()
        self._owner = me
        try:
            yield
        finally:
            self._owner = None
            self._release()

    async def _acquire(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
        try:
            async with asyncio.timeout(SECONDS):
                await turn
        except BaseException as error:
            self._give_up(turn)
            if isinstance(error, TimeoutError):
                raise StorageError(WAITED.format(where=self.where, owner="task", seconds=SECONDS)) from error
            raise

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self._release()  # it was handed over in the same instant

    def _release(self) -> None:
        with self._guard:
            while self._waiting:
                turn = self._waiting.popleft()
                try:
                    turn.get_loop().call_soon_threadsafe(_wake, turn)
                except RuntimeError:  # that loop is closed, and its task with it
                    continue
                return
            self._held = False


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
