"""The sandbox: the host's own engine on a throw-away database, with a fake clock and a captured outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, overload

from notifykit.api.aio import AsyncEngine
from notifykit.engine import Engine
from notifykit.errors import InputError
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from notifykit.testing.clock import FakeClock
from notifykit.testing.kit import AsyncKit, Kit
from notifykit.testing.outbox import Outbox
from notifykit.unit_of_work.runtime import Runtime

SWAPPED = ("database", "clock", "registry", "outbox", "pending", "unrecorded", "closed")
"""The parts of an engine's runtime that a sandbox has of its own."""


@overload
def sandbox(engine: Engine) -> AbstractContextManager[Kit]: ...
@overload
def sandbox(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncKit]: ...
def sandbox(engine: Engine | AsyncEngine) -> Any:
    """Point an engine at a throw-away database, a fake clock and a captured outbox; put everything back after.

    Everything is done for real but the last call to the outside: workflows run, templates are rendered, signals fire.
    The database is an in-memory SQLite whatever the engine's is, so `session=` has no place in it.

    Args:
        engine: The host's own engine; nothing touches its database.

    Returns:
        A context manager that gives a `Kit`, for an `AsyncEngine` an async one that gives an `AsyncKit`.

    Raises:
        InputError: It is no engine.

    Example:
        ```python
        with sandbox(notify) as kit:
            notify.trigger(shipped(order=7), to=nk.Recipient("ada", email="ada@example.com"))
            kit.travel(minutes=10)
            assert "7" in kit.outbox.one(shipped, to="ada", channel="email").subject
        ```
    """
    if isinstance(engine, Engine):
        return _sandbox(engine)
    if isinstance(engine, AsyncEngine):
        return _async_sandbox(engine)
    raise InputError(f"engine: an Engine or AsyncEngine is expected, not {type(engine).__name__}", field="engine")


@contextmanager
def _sandbox(engine: Engine) -> Iterator[Kit]:
    database = Database.open(None)
    try:
        with _swapped(engine._runtime, database) as (clock, outbox):
            yield Kit(engine, outbox, clock)
    finally:
        database.close()


@asynccontextmanager
async def _async_sandbox(engine: AsyncEngine) -> AsyncIterator[AsyncKit]:
    database = AsyncDatabase.open(None)
    try:
        with _swapped(engine._runtime, database) as (clock, outbox):
            yield AsyncKit(engine, outbox, clock)
    finally:
        await database.close()


@contextmanager
def _swapped(runtime: Runtime[Any], database: Database | AsyncDatabase) -> Iterator[tuple[FakeClock, Outbox]]:
    before = {part: getattr(runtime, part) for part in SWAPPED}
    clock, registry = FakeClock(), runtime.registry.fork()
    outbox = Outbox(lambda: registry.registered.keys())
    ours: tuple[Any, ...] = (database, clock, registry, outbox.send, [], [], False)
    try:
        vars(runtime).update(zip(SWAPPED, ours, strict=True))
        yield clock, outbox
    finally:
        vars(runtime).update(before)
