"""The pools of our own engines: an exception from a signal handler takes nothing away from them."""

from __future__ import annotations

import gc
import weakref
from collections import deque
from typing import Any

from sqlalchemy import Pool, StaticPool
from sqlalchemy.exc import TimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from notifykit.clock import monotonic
from notifykit.store.writer_lock import CLOSER, LOOK, WaitQueue

SLOT = "notifykit_place"


class Slot:
    """One of the places of a pool; free again as soon as nothing refers to it."""


class OwnPool(Pool):
    """What SQLAlchemy's queue does, without what an interruption breaks for ever: its lock, and what it counts.

    The connections that nobody uses are in a deque, where each comes and goes in one step. How many there are is how
    many places live: each is kept by its connection, or by the call that makes it.
    """

    def __init__(
        self, creator: Any, pool_size: int = 5, max_overflow: int = 10, timeout: float = 30.0, **kwargs: Any
    ) -> None:
        """Without a connection.

        Args:
            creator: Makes one.
            pool_size: How many are kept while nobody uses them.
            max_overflow: How many there may be beside them; -1 for as many as are asked for.
            timeout: Seconds to wait for one.
            **kwargs: As for every pool.
        """
        super().__init__(creator, **kwargs)
        self._sizes = {"pool_size": pool_size, "max_overflow": max_overflow, "timeout": timeout}
        self._size, self._timeout = pool_size, timeout
        self._limit = None if max_overflow < 0 else pool_size + max_overflow
        self._idle: deque[ConnectionPoolEntry] = deque()
        self._places: weakref.WeakSet[Slot] = weakref.WeakSet()
        self._waiters = WaitQueue()

    def status(self) -> str:
        """How many connections there are."""
        return f"OwnPool of {self._limit}: {len(self._places)} connections, {len(self._idle)} of them idle"

    def dispose(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread was faster
                return

    def recreate(self) -> OwnPool:
        """A new pool of the same kind."""
        return type(self)(
            self._creator,
            **self._sizes,  # type: ignore[arg-type]
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            pre_ping=self._pre_ping,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def _do_get(self) -> ConnectionPoolEntry:
        deadline, looks = None, 0
        while True:
            try:
                return self._idle.pop()
            except IndexError:
                place = self._place()
            if place is not None:
                return self._made(place)
            looks += 1
            if looks == CLOSER:
                gc.collect()  # SQLAlchemy's connections are cycles: lost ones stay until somebody asks for them
            now = monotonic()
            deadline = deadline or now + self._timeout
            if now >= deadline:
                raise TimeoutError(f"all {self._limit} connections were in use for {self._timeout:g} seconds")
            self._waiters.wait(min(LOOK, deadline - now), unless=self._has_room)

    def _place(self) -> Slot | None:
        place = Slot()
        self._places.add(place)
        return place if self._limit is None or len(self._places) <= self._limit else None

    def _made(self, place: Slot) -> ConnectionPoolEntry:
        record = self._create_connection()
        info: Any = record.record_info
        info[SLOT] = place
        return record

    def _has_room(self) -> bool:
        return bool(self._idle) or self._limit is None or len(self._places) < self._limit

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if len(self._idle) < self._size:
            self._idle.append(record)
        else:
            record.close()
            info: Any = record.record_info
            info.pop(SLOT, None)
        self._waiters.notify_all()


class KeptPool(StaticPool):
    """One connection, in which a private database in memory lives: it ends with the pool.

    SQLAlchemy throws a connection away where a statement or a rollback on it was interrupted, for nothing is known of
    its state. Here that would be the end of all tables, so the same connection is given out again, rolled back.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Without a connection."""
        super().__init__(*args, **kwargs)
        self._connect: Any = self._invoke_creator
        self._invoke_creator = self._connected  # type: ignore[assignment]
        self._kept: Any = None
        self._has_ended = False

    def dispose(self) -> None:
        """Close the connection."""
        self._has_ended = True
        super().dispose()
        if self._kept is not None:
            super()._close_connection(self._kept)
            self._kept = None

    def _connected(self, record: Any = None) -> Any:
        if self._kept is None:
            self._kept = self._connect(record)
        else:
            self._kept.rollback()
        return self._kept

    def _close_connection(self, connection: Any, *, terminate: bool = False) -> None:
        if self._has_ended:
            super()._close_connection(connection, terminate=terminate)
            self._kept = None
