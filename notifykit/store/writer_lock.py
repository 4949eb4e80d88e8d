"""Who may write: one lock for each engine on SQLite, waited for before any connection is taken.

An exception from a signal handler may arrive between any two steps, also in the middle of giving back. So nothing here
is believed because somebody promised to give it back: whoever wants it looks whether its holder is still there.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING, Any

from notifykit.clock import monotonic
from notifykit.errors import StorageError, UnitError
from notifykit.settings import BUSY_TIMEOUT

if TYPE_CHECKING:
    from sqlalchemy import Connection

RE_ENTRY = (
    "this {owner} already has a transaction of this engine open: use the notifier that `notify.transaction()` gave, "
    "not the engine, inside it"
)
WAITED = (
    "{where} is locked: another {owner} of this process kept its transaction open for {seconds:g} seconds. "
    "Make it shorter, or try again."
)
SECONDS = BUSY_TIMEOUT.total_seconds()
LOOK = 0.25
"""Seconds after which those who wait look whether the holder is still there."""
CLOSER = 5
"""How many looks until one is closer, which takes as long as a garbage collection."""
HOLDER = "holder"
WITH = {"__enter__", "__exit__", "is_left"}
"""The functions that have a keeper in their hands: the last is `Hold`'s own, which may be interrupted as well."""

Owner = tuple[int, "weakref.ref[asyncio.Task[Any]] | None"]


def current_owner() -> Owner:
    """This thread, and the task that runs in it; not kept by this: it keeps what it failed with."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return threading.get_ident(), None
    return threading.get_ident(), None if task is None else weakref.ref(task)


class LockHolder:
    """What one open unit holds, and whether somebody is still there to give it back.

    Attributes:
        owner: The thread and task that opened it.
        pid: The process.
        frame: The running function that holds it, or gives it back: once that has ended nobody will, even if a
            traceback still refers to everything in it. It must not refer to a connection.
        is_of_task: Its task holds it, and nobody after that has ended.
        left: Holds whose holders were gone before: what they have open is rolled back before this one begins.
        wait: Seconds to wait for others, for this lock and for SQLite's lock each; None: as long as usual.
    """

    __slots__ = ("_connection", "_keeper", "frame", "is_of_task", "left", "owner", "pid", "wait")

    def __init__(
        self, keeper: object, frame: FrameType | None = None, lost: Callable[[LockHolder], object] | None = None
    ) -> None:
        """Hold nothing yet.

        Args:
            keeper: What gives it back; gone where nothing refers to it any more.
            frame: The running function that holds it, where that is one function.
            lost: Is told where the keeper goes without having given it back.
        """
        self.owner = current_owner()
        self.pid = os.getpid()
        self._connection: weakref.ref[Connection] | None = None
        self.left: list[LockHolder] = []
        self.wait: float | None = None
        self._keeper: weakref.ref[object] | None = weakref.ref(keeper, lost and (lambda _: lost(self)))
        self.frame = frame
        self.is_of_task = False

    @property
    def connection(self) -> Connection | None:
        """What was checked out for it; not kept by this: one that nobody refers to is rolled back by its pool."""
        return None if self._connection is None else self._connection()

    @connection.setter
    def connection(self, connection: Connection) -> None:
        self._connection = weakref.ref(connection)

    def is_gone(self) -> bool:
        """Whether nobody is there any more to give it back."""
        if self._keeper is None or self._keeper() is None or (self.frame is not None and _has_ended(self.frame)):
            return True
        return self.is_of_task and self._is_done()

    def _is_done(self) -> bool:
        task = None if self.owner[1] is None else self.owner[1]()
        return task is None or task.done()

    def is_left(self) -> bool:
        """The same, looked at more closely: whether only ended frames of an interrupted `with` keep it."""
        keeper = None if self._keeper is None else self._keeper()
        if keeper is not None and not self.is_gone():
            for frame in gc.get_referrers(keeper):
                if isinstance(frame, FrameType) and frame.f_code.co_name in WITH:
                    _has_ended(frame)
        del keeper
        return self.is_gone()

    def end(self) -> None:
        """Everything is given back."""
        self._keeper = self.frame = None

    def open(self) -> list[Connection]:
        """The connections that are still to be given back."""
        found = [connection for each in self.left for connection in each.open()]
        if self.connection is not None and not self.connection.closed:
            found.append(self.connection)
        return found


def _has_ended(frame: FrameType) -> bool:
    try:
        frame.clear()
    except RuntimeError:  # it runs, or another greenlet will go on in it
        return False
    return True


class WaitQueue:
    """Threads that wait until something may be free; each looks again after a moment, whatever rang or did not."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._waiting: deque[threading.Lock] = deque()

    def wait(self, seconds: float, *, unless: Callable[[], bool]) -> None:
        """Wait to be released.

        Args:
            seconds: At most.
            unless: Asked once this thread would be released: it may be free already.
        """
        waiter = threading.Lock()
        waiter.acquire()
        self._waiting.append(waiter)
        if not unless():
            waiter.acquire(timeout=seconds)
        try:
            self._waiting.remove(waiter)
        except ValueError:  # it was released
            return

    def notify_all(self) -> None:
        """Let the one go on who has waited longest."""
        try:
            if self._waiting:
                self._waiting.popleft().release()
        except IndexError:  # another thread was faster
            return


class WriterLock:
    """A lock between threads that knows its holder."""

    def __init__(self, where: str) -> None:
        """Be free.

        Args:
            where: The file or database, as errors name it.
        """
        self.where = where
        self._held_by: dict[str, LockHolder] = {}  # taken by `setdefault`, in one step that nothing tears
        self._waiters = WaitQueue()
        self._evicting = threading.RLock()

    @property
    def holder(self) -> LockHolder | None:
        """Who holds it."""
        return self._held_by.get(HOLDER)

    def take(self, hold: LockHolder) -> None:
        """Hold the lock; what a holder who is gone has left open is then the caller's to give back.

        Args:
            hold: The caller's.

        Raises:
            UnitError: This thread holds it already.
            StorageError: It did not come free in time.
        """
        seconds = SECONDS if hold.wait is None else hold.wait
        deadline, looks = None, 0
        while (holder := self._held_by.setdefault(HOLDER, hold)) is not hold:
            is_mine, looks = holder.owner[0] == hold.owner[0], looks + 1
            if holder.is_gone() or ((is_mine or looks == CLOSER) and holder.is_left()):
                self._evict(holder, hold)
                continue
            if is_mine:
                raise UnitError(RE_ENTRY.format(owner="thread"))
            now = monotonic()
            deadline = deadline or now + seconds
            if now >= deadline:
                raise StorageError(WAITED.format(where=self.where, owner="thread", seconds=seconds)) from TimeoutError()
            self._waiters.wait(min(LOOK, deadline - now), unless=lambda: not self._held_by)

    def leave(self, hold: LockHolder) -> None:
        """Give the lock back; nothing happens to who does not hold it."""
        if self._held_by.get(HOLDER) is hold:
            del self._held_by[HOLDER]
        self._waiters.notify_all()

    def _evict(self, gone: LockHolder, hold: LockHolder) -> None:
        with self._evicting:
            if self._held_by.get(HOLDER) is gone:
                hold.left.append(gone)
                self._held_by[HOLDER] = hold


class AsyncWriterLock:
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
        self._guard = threading.RLock()
        self.holder: LockHolder | None = None
        self._waiting: deque[tuple[LockHolder, asyncio.Future[None]]] = deque()

    async def take(self, hold: LockHolder, *, for_ever: bool = False) -> None:
        """Hold the lock; what a holder who is gone has left open is then the caller's to give back.

        Args:
            hold: The caller's.
            for_ever: Wait without a limit; else as long as the hold says.

        Raises:
            UnitError: This task holds it already.
            StorageError: It did not come free in time.
        """
        if not self._has_taken(hold):
            await self._wait(hold, None if for_ever else SECONDS if hold.wait is None else hold.wait)

    @asynccontextmanager
    async def taken(self, *, for_ever: bool = False) -> AsyncIterator[None]:
        """Hold the lock for as long as a block lasts; see `take`."""
        keeper = _Keeper()
        hold = LockHolder(keeper)
        try:
            await self.take(hold, for_ever=for_ever)
            yield
        finally:
            self.leave(hold)

    def leave(self, hold: LockHolder) -> None:
        """Give the lock back, to who has waited longest; nothing happens to who does not hold it."""
        with self._guard:
            if self.holder is not hold:
                return
            while self._waiting:
                self.holder, future = self._waiting.popleft()
                try:
                    future.get_loop().call_soon_threadsafe(_wake, future)
                except RuntimeError:  # that loop is closed, and its task with it
                    continue
                return
            self.holder = None

    def _has_taken(self, hold: LockHolder) -> bool:
        with self._guard:
            there = self.holder
            if there is not None and there is not hold and not there.is_gone():
                if there.owner[1] is not None and there.owner == hold.owner:
                    raise UnitError(RE_ENTRY.format(owner="task"))
                return False
            if there is not None and there is not hold:
                hold.left.append(there)
            self.holder = hold
            return True

    async def _wait(self, hold: LockHolder, seconds: float | None) -> None:
        deadline = None if seconds is None else monotonic() + seconds
        future = asyncio.get_running_loop().create_future()
        mine = (hold, future)
        self._waiting.append(mine)
        try:
            for looks in count():
                if self._has_taken(hold):
                    break
                if looks == CLOSER:
                    gc.collect()  # a task that failed is a cycle, with all that it had in its hands
                if deadline is not None and monotonic() >= deadline:
                    raise StorageError(
                        WAITED.format(where=self.where, owner="task", seconds=seconds)
                    ) from TimeoutError()
                await asyncio.wait([future], timeout=LOOK if deadline is None else min(LOOK, deadline - monotonic()))
        except BaseException:
            self._give_up(mine)
            raise
        self._forget(mine)

    def _give_up(self, mine: tuple[LockHolder, asyncio.Future[None]]) -> None:
        self._forget(mine)
        self.leave(mine[0])  # it may have been handed over in the same instant

    def _forget(self, mine: tuple[LockHolder, asyncio.Future[None]]) -> None:
        with self._guard:
            if mine in self._waiting:
                self._waiting.remove(mine)


class _Keeper:
    """Something whose end can be seen."""


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
