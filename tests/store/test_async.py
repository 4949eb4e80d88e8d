from __future__ import annotations

import asyncio
import contextvars
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from notifykit.errors import StorageError, UnitError
from notifykit.model import TopicMember
from notifykit.store import writer_lock as turns
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.rows import insert_rows
from notifykit.store.writer_lock import AsyncWriterLock
from notifykit.unit_of_work.unit import Unit
from tests.store.conftest import in_unit, unit_on

COUNT = "SELECT count(*) FROM notifykit_topic_member"
request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


def add(unit: Unit, topic: int) -> None:
    insert_rows(unit, TopicMember, ("topic", "subscriber"), [(topic, 1)])


def counted(unit: Unit) -> int:
    return int(unit.connection.exec_driver_sql(COUNT).scalar_one())


async def test_commit_and_rollback(awaited: AsyncDatabase) -> None:
    await in_unit(awaited, add, 1)
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with awaited.transaction(write=True) as transaction:
            await transaction.call(lambda connection: add(unit_on(connection, awaited.dialect), 2))
            raise RuntimeError
    assert await in_unit(awaited, counted, write=False) == 1


async def test_many_tasks_lose_no_update(awaited: AsyncDatabase) -> None:
    await in_unit(awaited, add, 0)
    lock = " FOR UPDATE" if awaited.dialect.locking else ""

    async def work() -> None:
        async with awaited.transaction(write=True) as transaction:
            before = await transaction.call(
                lambda connection: connection.exec_driver_sql(
                    f"SELECT topic FROM notifykit_topic_member{lock}"
                ).scalar()
            )
            await asyncio.sleep(0)
            await transaction.call(
                lambda connection: connection.exec_driver_sql(f"UPDATE notifykit_topic_member SET topic = {before + 1}")
            )
        async with awaited.transaction(write=False) as transaction:
            await transaction.call(lambda connection: connection.exec_driver_sql(COUNT).scalar())

    await asyncio.gather(*(work() for _ in range(12)))
    found = await in_unit(
        awaited, lambda unit: unit.connection.exec_driver_sql("SELECT topic FROM notifykit_topic_member").scalar()
    )
    assert found == 12


async def test_a_cancelled_task_waits_for_its_chunk_and_rolls_back(awaited: AsyncDatabase) -> None:
    await awaited.migrate()
    started, finished = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    pause = {"postgresql": "SELECT pg_sleep(0.1)", "mariadb": "SELECT SLEEP(0.1)"}.get(awaited.dialect.name)

    def chunk(connection: sa.Connection) -> None:
        loop.call_soon_threadsafe(started.set)
        for topic in range(200):
            add(unit_on(connection, awaited.dialect), topic)
        if pause:
            connection.exec_driver_sql(pause)
        finished.set()

    async def work() -> None:
        async with awaited.transaction(write=True) as transaction:
            await transaction.call(chunk)
            raise AssertionError("the task was cancelled")

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finished.is_set()
    assert await in_unit(awaited, counted) == 0


async def test_a_task_cancelled_while_it_waits_for_its_turn(awaited: AsyncDatabase) -> None:
    await awaited.migrate()
    async with awaited.transaction(write=True) as transaction:
        waiting = asyncio.create_task(in_unit(awaited, add, 5))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.sleep(0)
        await transaction.call(lambda connection: add(unit_on(connection, awaited.dialect), 1))
    await asyncio.gather(waiting, return_exceptions=True)
    assert await in_unit(awaited, counted) >= 1


async def test_many_readers_at_once_do_not_wait_for_each_other(tmp_path: Path) -> None:
    database = AsyncDatabase.open(f"sqlite:///{tmp_path}/app.db")
    await in_unit(database, add, 1)
    all_in = asyncio.Barrier(40)

    async def read() -> int:
        async with database.transaction(write=False) as transaction:
            await all_in.wait()
            return await transaction.call(lambda connection: counted(unit_on(connection, database.dialect)))

    assert await asyncio.gather(*(read() for _ in range(40))) == [1] * 40
    await database.close()


async def test_work_sees_the_callers_context(awaited: AsyncDatabase) -> None:
    request.set("mine")
    assert await in_unit(awaited, lambda unit: request.get()) == "mine"


async def test_a_timeout_is_a_cancellation(awaited: AsyncDatabase) -> None:
    await awaited.migrate()
    with pytest.raises(TimeoutError):  # noqa: PT012
        async with asyncio.timeout(0.02), awaited.transaction(write=True) as transaction:
            await transaction.call(lambda connection: add(unit_on(connection, awaited.dialect), 1))
            await asyncio.sleep(5)
    assert await in_unit(awaited, counted) == 0


async def test_a_transaction_inside_its_own_task_is_named() -> None:
    database = AsyncDatabase.open(None)
    async with database.transaction(write=True):
        with pytest.raises(UnitError, match="task already has a transaction"):
            await in_unit(database, add, 1)
    await database.close()


async def test_one_thread_is_started_late_and_ends_with_the_database(tmp_path: Path) -> None:
    before = threading.active_count()
    database = AsyncDatabase.open(f"sqlite:///{tmp_path}/app.db")
    assert threading.active_count() == before
    await asyncio.gather(*(in_unit(database, add, topic) for topic in range(5)))
    assert threading.active_count() == before + 1
    await database.close()
    assert threading.active_count() == before


def test_one_database_serves_two_loops_at_once(tmp_path: Path) -> None:
    database = AsyncDatabase.open(f"sqlite:///{tmp_path}/app.db")

    async def work(start: int) -> None:
        for topic in range(start, start + 20):
            await in_unit(database, add, topic)

    threads = [threading.Thread(target=lambda start=start: asyncio.run(work(start))) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    async def end() -> int:
        found = await in_unit(database, counted)
        await database.close()
        return int(found)

    assert asyncio.run(end()) == 60


class TestTurns:
    async def test_first_come_first_served(self) -> None:
        turn = AsyncWriterLock("It")
        order: list[int] = []

        async def work(number: int) -> None:
            async with turn.taken():
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(work(number) for number in range(5)))
        assert order == [0, 1, 2, 3, 4]

    async def test_who_was_cancelled_in_the_instant_of_its_turn_passes_it_on(self) -> None:
        turn = AsyncWriterLock("It")
        done: list[str] = []

        async def work(name: str) -> None:
            async with turn.taken():
                done.append(name)

        async with turn.taken():
            first, second = asyncio.create_task(work("first")), asyncio.create_task(work("second"))
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert done == ["second"]

    async def test_it_is_not_waited_for_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(turns, "SECONDS", 0.01)
        turn = AsyncWriterLock("It")

        async def work() -> None:
            async with turn.taken():
                pass

        async with turn.taken():
            with pytest.raises(StorageError, match="It is locked: another task"):
                await asyncio.create_task(work())
        await work()


async def test_no_task_is_left_with_an_unseen_error(awaited: AsyncDatabase) -> None:
    seen: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))

    def fail(connection: sa.Connection) -> None:
        raise RuntimeError("unseen")

    async def work() -> None:
        async with awaited.transaction(write=True) as transaction:
            await transaction.call(fail)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen == []
