"""The first call of a process comes inside the host's transaction, and the host may hold every connection there is."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import notifykit as nk
from notifykit.store import database as databases
from notifykit.store import engines, pool_capacity, schema
from notifykit.store.database import Database
from tests.harness.statements import statements
from tests.store.conftest import SERVERS, bare

ALL = 3
"""Connections of the host's pool, and threads that hold one each."""
INSERT = sa.text("INSERT INTO orders VALUES (1)")
hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello")])
MADE_LATER = r"began before they were made .*run it again; call notify\.migrate\(\) at start-up"
NO_ROOM = rf"no connection is free: .* with pool_size={ALL} and max_overflow=0: call notify\.migrate\(\) at start-up"


class NeverWaited(sa.QueuePool):
    """A pool whose connections nobody asks for while all are in use."""

    def _do_get(self) -> Any:
        assert self.checkedout() < ALL, "a thread that holds a connection waits for another one"
        return super()._do_get()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for what cannot come."""
    monkeypatch.setattr(pool_capacity, "WAIT", timedelta(milliseconds=60))
    monkeypatch.setattr(databases, "BESIDE_HOST", timedelta(seconds=1))


@pytest.fixture
def small(empty_url: str) -> Iterator[sa.Engine]:
    """The host's engine with a small pool, and a table."""
    engine = sa.create_engine(engines.parsed(empty_url), poolclass=NeverWaited, pool_size=ALL, max_overflow=0)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
    yield engine
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE orders")
    engine.dispose()


def made(url: str) -> None:
    database = Database.open(url)
    database.migrate()
    database.close()


def orders_of(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM orders").scalar_one())


def each_in_its_session(engine: sa.Engine, work: Callable[[Session, int], Any]) -> list[Any]:
    """Work in as many threads as the pool has connections, each in an open transaction of its own."""
    together = threading.Barrier(ALL, timeout=20)

    def run(number: int) -> Any:
        with Session(engine) as session:
            session.execute(sa.text("SELECT count(*) FROM orders")).all()
            together.wait()
            try:
                return work(session, number)
            finally:
                together.wait()

    with ThreadPoolExecutor(ALL) as pool:
        return list(pool.map(run, range(ALL)))


def test_tables_are_seen_where_no_other_connection_is_free(empty_url: str, small: sa.Engine) -> None:
    made(empty_url)
    with nk.Engine(bind=small, workflows=[hello]) as notify:
        counts = each_in_its_session(small, lambda session, _: notify.within(session).inbox("ada").unread_count())
        assert counts == [0] * ALL
    with nk.Engine(bind=small, workflows=[hello]) as notify, ExitStack() as stack:
        connections = [stack.enter_context(small.connect()) for _ in range(ALL)]
        orders_of(connections[0])
        assert notify.trigger(hello, to="ada", session=connections[0]).status == "processed"
        connections[0].commit()
        assert notify.within(connections[1]).inbox("ada").unread_count() == 1


def test_missing_tables_and_no_free_connection_are_named(empty_url: str, small: sa.Engine) -> None:
    together = threading.Barrier(ALL, timeout=20)

    def work(session: Session, number: int) -> None:
        with pytest.raises(nk.SchemaError, match=NO_ROOM):
            notify.trigger(hello, to="ada", session=session)
        together.wait()  # until here all of them hold their connections
        if number == 0:  # one writer at a time, on SQLite
            session.execute(INSERT)
            session.commit()

    with nk.Engine(bind=small, workflows=[hello]) as notify:
        each_in_its_session(small, work)
        with small.connect() as connection:
            assert orders_of(connection) == 1
        assert notify.trigger(hello, to="ada").status == "processed"


@pytest.mark.parametrize("kind", SERVERS)
def test_one_free_connection_serves_all(
    kind: str, url_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = url_of(kind)
    bare(url)
    monkeypatch.setattr(pool_capacity, "WAIT", timedelta(seconds=20))
    options: dict[str, Any] = {"pool_size": ALL, "max_overflow": 1, "pool_timeout": 20}
    host = sa.create_engine(engines.parsed(url), isolation_level="READ COMMITTED", **options)
    together = threading.Barrier(ALL, timeout=20)

    def work(number: int) -> str:
        with Session(host) as session:
            session.connection()
            together.wait()
            done = notify.within(session).subscribers.upsert(f"user-{number}")
            session.commit()
            return done.subscriber_id

    with nk.Engine(bind=host) as notify, ThreadPoolExecutor(ALL) as pool:
        assert list(pool.map(work, range(ALL))) == [f"user-{number}" for number in range(ALL)]
    host.dispose()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_transaction_that_began_before_the_tables_is_told_to_run_again(
    kind: str, url_of: Callable[[str], str]
) -> None:
    url = url_of(kind)
    bare(url)
    host = sa.create_engine(engines.parsed(url), isolation_level="REPEATABLE READ")
    with host.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER)")
    with nk.Engine(bind=host, workflows=[hello]) as notify, host.connect() as connection:
        assert orders_of(connection) == 0
        with pytest.raises(nk.SchemaError, match=MADE_LATER):
            notify.trigger(hello, to="ada", session=connection)
        connection.execute(INSERT)
        connection.commit()
        assert orders_of(connection) == 1
        assert notify.trigger(hello, to="ada", session=connection).status == "processed"
        connection.exec_driver_sql("DROP TABLE orders")
        connection.commit()
    host.dispose()


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_what_the_host_made_and_rolled_back_is_not_remembered(kind: str, url_of: Callable[[str], str]) -> None:
    url = url_of(kind)
    if kind in SERVERS:
        bare(url)
    host = sa.create_engine(engines.parsed(url))
    with nk.Engine(bind=host, workflows=[hello]) as notify:
        with host.connect() as connection:
            if kind == "file":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql("SAVEPOINT inner_one")
            schema.create(connection, notify._runtime.database.dialect)
            assert notify.within(connection).inbox("ada").unread_count() == 0
            connection.rollback()
        with host.connect() as connection:
            assert notify.trigger(hello, to="ada", session=connection).status == "processed"
    host.dispose()


@pytest.mark.parametrize("kind", ["file", *SERVERS])
def test_a_look_is_remembered_once_the_tables_are_there_for_good(kind: str, url_of: Callable[[str], str]) -> None:
    url = url_of(kind)
    made(url)
    host = sa.create_engine(engines.parsed(url))
    with nk.Engine(bind=host, workflows=[hello]) as notify, host.connect() as connection:
        for looks in (True, False):
            with statements() as seen:
                notify.within(connection).inbox("ada").unread_count()
            assert any(schema.versions.name in text for text in seen) is looks
        connection.rollback()
    host.dispose()


AWAITED = {"file": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+asyncmy"}


@pytest.fixture(params=AWAITED)
def awaited(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> Iterator[str]:
    """The URL of a database without tables, for an asynchronous host."""
    url = url_of(request.param)
    if request.param in SERVERS:
        bare(url)
    return url.replace(sa.make_url(url).drivername, AWAITED[request.param], 1)


@pytest.mark.parametrize("is_made", [True, False])
async def test_the_awaited_notifier_looks_where_no_other_connection_is_free(awaited: str, is_made: bool) -> None:
    if is_made:
        made(awaited)
    host = create_async_engine(awaited, pool_size=ALL, max_overflow=0, pool_timeout=2)
    together = asyncio.Barrier(ALL)

    async def work() -> int | str:
        async with AsyncSession(host) as session:
            await session.execute(sa.text("SELECT 1"))
            await together.wait()
            try:
                return await notify.within(session).inbox("ada").unread_count()
            except nk.SchemaError as error:
                await session.execute(sa.text("SELECT 1"))
                return str(error)
            finally:
                await together.wait()

    async with nk.AsyncEngine(bind=host, workflows=[hello]) as notify:
        done = await asyncio.gather(*(work() for _ in range(ALL)))
        if is_made:
            assert done == [0] * ALL
        else:
            assert all(re.search(NO_ROOM, str(each)) for each in done)
        async with AsyncSession(host) as session:
            assert (await notify.trigger(hello, to="ada", session=session)).status == "processed"
    await host.dispose()


async def test_the_awaited_notifier_in_a_thread_looks_at_the_hosts_connection(url_of: Callable[[str], str]) -> None:
    url = url_of("file")
    made(url)
    host = create_async_engine(url.replace("sqlite", "sqlite+aiosqlite", 1))
    async with nk.AsyncEngine(url, workflows=[hello]) as notify, AsyncSession(host) as session:
        await session.execute(sa.text("BEGIN IMMEDIATE"))
        assert (await notify.trigger(hello, to="ada", session=session)).status == "processed"
        await session.commit()
        assert await notify.inbox("ada").unread_count() == 1
    await host.dispose()
