"""Which event loop the connections of an async pool belong to: on another one they hang, or fail in odd words."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import Literal, TypeAlias

from sqlalchemy import AsyncAdaptedQueuePool, Engine, Pool

from notifykit.errors import UnitError

Key: TypeAlias = tuple[int, "weakref.ref[Pool]", "weakref.ref[asyncio.AbstractEventLoop]"]

PORTABLE = {"aiosqlite", "psycopg", "psycopg_async"}
"""Drivers whose idle connections outlive the loop that they were made on."""
NO_LOOP = (
    "AsyncEngine runs on asyncio, and no asyncio loop runs here: under trio, and in code that does not await, use "
    "notifykit.Engine, from trio by `trio.to_thread.run_sync`"
)
OTHER_LOOP = (
    "the connections of this AsyncEngine belong to another event loop, which is {which}: make an AsyncEngine inside "
    "each loop (each `asyncio.run`), and at its end `await {close}`"
)


def running() -> asyncio.AbstractEventLoop:
    """The loop that runs here.

    Raises:
        UnitError: None does.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise UnitError(NO_LOOP) from None


class Home:
    """The loop that an engine's pool is used on."""

    def __init__(self, engine: Engine, *, own: bool) -> None:
        """Belong to none yet.

        Args:
            engine: The sync face of an async engine.
            own: We made it, and so may give it another pool.
        """
        self._engine = engine
        self._own = own
        self._known: Key | None = None

    def enter(self) -> Pool | None:
        """Use the pool on the running loop.

        Returns:
            A pool of our own that was left behind on a loop that is closed, for the caller to dispose of.

        Raises:
            UnitError: The pool is used on another loop, or was and cannot be taken along.
        """
        loop, pool = running(), self._engine.pool
        if not isinstance(pool, AsyncAdaptedQueuePool):  # no pool, or one connection that waits for nobody
            return None
        where = self._where(loop, pool)
        if where == "open" or (where == "closed" and not self._is_portable):
            raise UnitError(OTHER_LOOP.format(which=where, close="notify.close()" if self._own else "engine.dispose()"))
        left = pool if where == "closed" and self._own else None
        if left is not None:
            self._engine.dispose(close=False)
        self._known = (os.getpid(), weakref.ref(self._engine.pool), weakref.ref(loop))
        return left

    def is_foreign(self) -> bool:
        """Whether the pool can only be forgotten here, not closed."""
        return self._where(running(), self._engine.pool) != "here" and not self._is_portable

    @property
    def _is_portable(self) -> bool:
        return self._engine.dialect.driver in PORTABLE

    def _where(self, loop: asyncio.AbstractEventLoop, pool: Pool) -> Literal["here", "closed", "open"]:
        """On this loop, or on another one: closed, or still open."""
        if self._known is None:
            return "here"
        process, known, home = self._known
        if process != os.getpid() or known() is not pool:  # a fork, or somebody has disposed of the pool
            return "here"
        other = home()
        if other is loop:
            return "here"
        return "closed" if other is None or other.is_closed() else "open"
