"""Whether a pool has a connection to give: all may be held by transactions that wait for the one who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Engine, QueuePool
from sqlalchemy.pool import Pool

from notifykit.clock import pause

WAIT = timedelta(seconds=2)
PAUSE = timedelta(milliseconds=20)


def limit(pool: Pool) -> int | None:
    """How many connections a pool gives at most, or None where nothing bounds it."""
    if not isinstance(pool, QueuePool) or pool._max_overflow < 0 or not pool.size():
        return None
    return pool.size() + pool._max_overflow


def is_full(pool: Pool) -> bool:
    """Whether every connection that a pool may give is in use."""
    most = limit(pool)
    return most is not None and isinstance(pool, QueuePool) and pool.checkedout() >= most


def wait_for_room(engine: Engine, is_needless: Callable[[], bool]) -> bool:
    """Wait a moment for a connection, far shorter than the pool itself would.

    Args:
        engine: Whose pool.
        is_needless: Whether somebody else has done meanwhile what the connection was wanted for.

    Returns:
        False where none came free.
    """
    for _ in range(WAIT // PAUSE):
        if is_needless() or not is_full(engine.pool):
            return True
        _pause(engine, PAUSE.total_seconds())
    return is_needless() or not is_full(engine.pool)


def described(pool: Pool) -> str:
    """A pool as an error names it."""
    if not isinstance(pool, QueuePool):
        return type(pool).__name__
    return f"{type(pool).__name__} with pool_size={pool.size()} and max_overflow={pool._max_overflow}"


def _pause(engine: Engine, seconds: float) -> None:
    if not engine.dialect.is_async:
        pause(seconds)
        return
    from sqlalchemy.util import await_only  # needs greenlet, which a sync host may lack

    await_only(asyncio.sleep(seconds))
