"""An asynchronous host's transactions: the same promises; observers are awaited inside its commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session, async_sessionmaker

import notifykit as nk
from tests.unit_of_work.conftest import hello, orders, said

INSERT = sa.text("INSERT INTO orders DEFAULT VALUES")


@pytest.fixture(params=["thread", "aiosqlite", "bound"])
async def notify(
    request: pytest.FixtureRequest, url: str, async_database: AsyncEngine
) -> AsyncIterator[nk.AsyncEngine]:
    """An engine that runs its own units in a thread, in greenlets, or on the host's engine."""
    how: dict[str, Any] = {"bind": async_database} if request.param == "bound" else {"url": url}
    if request.param == "aiosqlite":
        how["url"] = url.replace("sqlite:", "sqlite+aiosqlite:")
    async with nk.AsyncEngine(**how, workflows=[hello]) as engine:
        await engine.migrate()
        yield engine


@pytest.fixture
def told(notify: nk.AsyncEngine) -> list[str]:
    """What awaited observers hear."""
    told: list[str] = []

    @notify.on.trigger_processed
    async def tell(event: nk.TriggerProcessed) -> None:
        await asyncio.sleep(0.001)
        told.append(event.transaction_id)

    return told


async def test_it_commits_and_rolls_back_with_the_host(
    notify: nk.AsyncEngine, async_database: AsyncEngine, database: sa.Engine, told: list[str]
) -> None:
    for text, end in (("one", "commit"), ("two", "rollback")):
        async with AsyncSession(async_database) as session:
            await session.execute(INSERT)
            await notify.trigger(hello, session=session, **said(text))
            assert told == ["one"][: end == "rollback"]
            await getattr(session, end)()
    assert (told, orders(database)) == (["one"], 1)
    assert await notify.inbox("ada").unread_count() == 1


async def test_savepoints_of_the_host(notify: nk.AsyncEngine, async_database: AsyncEngine, told: list[str]) -> None:
    async with AsyncSession(async_database) as session, session.begin():
        await session.execute(INSERT)
        notifier = notify.within(session)
        async with session.begin_nested():
            await notifier.trigger(hello, **said("released"))
        inner = await session.begin_nested()
        await notifier.trigger(hello, **said("rolled back"))
        await inner.rollback()
        await notifier.trigger_bulk([{"name": "hello", **said("last")}])
    assert told == ["released", "last"]


async def test_a_connection(notify: nk.AsyncEngine, async_database: AsyncEngine, told: list[str]) -> None:
    for text, end in (("one", "commit"), ("two", "rollback")):
        async with async_database.connect() as connection:
            await notify.trigger(hello, session=connection, **said(text))
            await getattr(connection, end)()
        assert told == ["one"][: text == "two"]
    await notify.drain()
    assert told == ["one"]


async def test_savepoints_of_a_connection(notify: nk.AsyncEngine, async_database: AsyncEngine, told: list[str]) -> None:
    async with async_database.begin() as connection:
        await connection.execute(INSERT)
        inner = await connection.begin_nested()
        await notify.trigger(hello, session=connection, **said("rolled back"))
        await inner.rollback()
        await notify.trigger(hello, session=connection, **said("kept"))
    await notify.drain()
    assert told == ["kept"]


async def test_a_scoped_session(notify: nk.AsyncEngine, async_database: AsyncEngine, told: list[str]) -> None:
    sessions = async_scoped_session(async_sessionmaker(async_database), scopefunc=asyncio.current_task)
    await notify.trigger(hello, session=sessions, **said("one"))
    await sessions.commit()
    await sessions.remove()
    assert told == ["one"]


async def test_observers_are_awaited_to_their_end_though_the_task_is_cancelled(
    notify: nk.AsyncEngine, async_database: AsyncEngine
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @notify.on.trigger_processed
    async def slow(event: nk.TriggerProcessed) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        ended.set()

    async def work() -> None:
        async with AsyncSession(async_database) as session:
            await notify.trigger(hello, session=session, **said("one"))
            await session.commit()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    assert await notify.inbox("ada").unread_count() == 1


async def test_an_awaited_observer_may_call_the_engine(notify: nk.AsyncEngine, async_database: AsyncEngine) -> None:
    counts: list[int] = []

    @notify.on.trigger_processed
    async def count(event: nk.TriggerProcessed) -> None:
        counts.append(await notify.inbox("ada").unread_count())

    async with AsyncSession(async_database) as session, session.begin():
        await notify.trigger(hello, session=session, **said("one"))
    await notify.trigger(hello, **said("two"))
    assert counts == [1, 2]


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
async def test_no_tables_and_no_wal_while_the_host_writes(url: str, async_database: AsyncEngine, driver: str) -> None:
    async with (
        nk.AsyncEngine(url.replace("sqlite", driver, 1), workflows=[hello]) as engine,
        AsyncSession(async_database) as session,
    ):
        await session.execute(INSERT)
        began = monotonic()
        with pytest.raises(nk.SchemaError, match=r"notify.migrate\(\) at start-up"):
            await engine.trigger(hello, session=session, **said("one"))
        assert monotonic() - began < 15
        await session.commit()
        assert (await engine.trigger(hello, session=session, **said("one"))).status == "processed"
        await session.commit()
        assert await engine.inbox("ada").unread_count() == 1
