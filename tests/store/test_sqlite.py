from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from notifykit.errors import ConfigurationError, SchemaError, UnitError
from notifykit.model import TopicMember
from notifykit.store import database as databases
from notifykit.store import sqlite
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from notifykit.store.rows import insert_rows
from notifykit.unit_of_work.unit import Unit
from tests.store.conftest import in_unit, unit_of

ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY)"


def add(unit: Unit, topic: int) -> None:
    insert_rows(unit, TopicMember, ("topic", "subscriber"), [(topic, 1)])


def count(connection: sa.Connection, table: str = "notifykit_topic_member") -> int:
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def recipe(engine: sa.Engine) -> None:
    """SQLAlchemy's own recipe for right transactions on SQLite."""

    @sa.event.listens_for(engine, "connect")
    def _(dbapi: Any, record: Any) -> None:
        dbapi.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")


def hosts(path: Path) -> dict[str, sa.Engine]:
    shared = {"poolclass": sa.StaticPool, "connect_args": {"check_same_thread": False}}
    engines = {
        "file": sa.create_engine(f"sqlite:///{path}/file.db"),
        "static": sa.create_engine("sqlite://", **shared),
        "threads": sa.create_engine("sqlite://"),
        "recipe": sa.create_engine(f"sqlite:///{path}/recipe.db"),
        "recipe-static": sa.create_engine("sqlite://", **shared),
        "autocommit": sa.create_engine(f"sqlite:///{path}/autocommit.db", isolation_level="AUTOCOMMIT"),
        "null": sa.create_engine(f"sqlite:///{path}/null.db", poolclass=sa.NullPool),
    }
    for name in ("recipe", "recipe-static"):
        recipe(engines[name])
    return engines


HOSTS = ("file", "static", "threads", "recipe", "recipe-static", "autocommit", "null")
ONE_CONNECTION = ("static", "threads", "recipe-static")


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    engines = hosts(tmp_path)
    engine = engines.pop(request.param)
    with engine.begin() as connection:
        connection.exec_driver_sql(ORDERS)
    yield engine
    for each in (engine, *engines.values()):
        each.dispose()


# Our own engines


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_the_pragmas_of_our_own_files(tmp_path: Path, durability: Any, level: int) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/app.db", durability=durability)
    with database.transaction(write=False) as connection:
        wanted = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000, "synchronous": level}
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted} == wanted
    database.close()


@pytest.mark.parametrize("url", [None, "sqlite://", "sqlite:///:memory:", "file"])
def test_threads_lose_no_update(url: str | None, tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/app.db" if url == "file" else url)
    with unit_of(database) as unit:
        add(unit, 0)

    def work() -> None:
        for _ in range(50):
            with database.transaction(write=True) as connection:
                before = connection.exec_driver_sql("SELECT topic FROM notifykit_topic_member").scalar_one()
                connection.exec_driver_sql("UPDATE notifykit_topic_member SET topic = ?", (before + 1,))
            with database.transaction(write=False) as connection:
                count(connection)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction(write=False) as connection:
        assert connection.exec_driver_sql("SELECT topic FROM notifykit_topic_member").scalar_one() == 400
    database.close()


def test_two_private_databases_in_memory_are_two(tmp_path: Path) -> None:
    one, two = Database.open(None), Database.open(None)
    with unit_of(one) as unit:
        add(unit, 1)
    with unit_of(two) as unit:
        assert count(unit.connection) == 0
    one.close()
    two.close()


def test_readers_do_not_wait_for_a_writer_of_a_file(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/app.db")
    with unit_of(database) as unit:
        add(unit, 1)
        seen: list[int] = []

        def read() -> None:
            with database.transaction(write=False) as connection:
                seen.append(count(connection))

        reader = threading.Thread(target=read)
        reader.start()
        reader.join(5)
        assert seen == [0]
    database.close()


def test_a_transaction_inside_its_own_thread_is_named(tmp_path: Path) -> None:
    database = Database.open(None)
    with unit_of(database), pytest.raises(UnitError, match="already has a transaction"), unit_of(database):
        pass
    with unit_of(database) as unit:
        assert unit.ids(1)
    database.close()
    with pytest.raises(UnitError, match="closed"), unit_of(database):
        pass


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 2)])
def test_old_versions(version: tuple[int, ...]) -> None:
    assert not sqlite.is_safe(version)


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 52, 0), (4, 0, 0)])
def test_mended_versions(version: tuple[int, ...]) -> None:
    assert sqlite.is_safe(version)


@pytest.fixture
def old_sqlite(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What is logged of an old SQLite from now on, at the level at which it is logged."""
    monkeypatch.setattr(sqlite, "_warned", False)
    caplog.set_level(logging.DEBUG, "notifykit.store")
    return lambda: [f"{each.levelname}: {each.message}" for each in caplog.records if "3.51.3" in each.message]


def test_an_old_sqlite_is_logged_once_and_never_warned_of(
    tmp_path: Path, old_sqlite: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "is_safe", lambda version: False)
    for name in ("a", "b"):
        database = Database.open(f"sqlite:///{tmp_path}/{name}.db")
        database.ready()
        database.close()
    [said] = old_sqlite()
    assert said.startswith(f"INFO: SQLite {sqlite3.sqlite_version} has a bug")
    assert "bind=create_engine(url, module=pysqlite3)" in said


def test_an_engine_made_as_the_log_advises_has_another_sqlite(
    tmp_path: Path, old_sqlite: Callable[[], list[str]]
) -> None:
    pysqlite3 = pytest.importorskip("pysqlite3", reason="pysqlite3 is not installed: pip install pysqlite3")
    host = sa.create_engine(f"sqlite:///{tmp_path}/app.db", module=pysqlite3)
    database = Database.bound(host)
    with unit_of(database) as unit:
        add(unit, 1)
        found = unit.connection.exec_driver_sql("SELECT sqlite_version()").scalar()
    assert found == pysqlite3.sqlite_version
    assert old_sqlite() == []
    host.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_gets_connections_and_locks_of_its_own(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/app.db")
    with unit_of(database) as unit:
        add(unit, 1)
        before = database.engine.pool
        child = os.fork()
        if child == 0:
            try:
                assert database.engine.pool is not before
                with database.transaction(write=False) as connection:  # the parent's writer is still open
                    assert count(connection) == 0
                assert database._writer_lock.holder is None
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        add(unit, 2)
    with unit_of(database) as unit:
        assert count(unit.connection) == 2
    database.close()


# The host's engines


@pytest.mark.parametrize("host", HOSTS, indirect=True)
def test_our_own_units_on_a_hosts_engine(host: sa.Engine) -> None:
    database = Database.bound(host)
    with unit_of(database) as unit:
        assert sqlite.in_transaction(unit.connection.connection.dbapi_connection)
        add(unit, 1)
    with pytest.raises(RuntimeError), unit_of(database) as unit:  # noqa: PT012
        add(unit, 2)
        raise RuntimeError
    with unit_of(database, write=False) as unit:
        assert count(unit.connection) == 1
    with host.connect() as connection:
        assert count(connection) == 1
    with Session(host) as session:  # the host goes on as it was
        session.execute(sa.text("INSERT INTO orders DEFAULT VALUES"))
        session.commit()
        assert session.execute(sa.text("SELECT count(*) FROM orders")).scalar_one() == 1
    database.close()
    with host.connect() as connection:  # and keeps its engine
        assert count(connection, "orders") == 1


@pytest.mark.parametrize("host", HOSTS, indirect=True)
def test_no_update_is_lost_against_a_second_writer(host: sa.Engine) -> None:
    if host.url.database in {None, ""}:
        pytest.skip("no second connection")
    database = Database.bound(host)
    with unit_of(database) as unit:
        add(unit, 1)
        with host.connect() as other:
            other.connection.dbapi_connection.execute("PRAGMA busy_timeout=1")  # type: ignore[union-attr]
            with pytest.raises(sa.exc.OperationalError, match="locked"):
                other.exec_driver_sql("INSERT INTO orders DEFAULT VALUES")


@pytest.mark.parametrize("host", ONE_CONNECTION, indirect=True)
def test_the_hosts_open_transaction_on_the_only_connection_survives(host: sa.Engine) -> None:
    database = Database.bound(host)
    database.migrate()
    with host.connect() as connection:
        connection.exec_driver_sql("INSERT INTO orders DEFAULT VALUES")
        for write in (True, False):
            with pytest.raises(UnitError, match="pass session="), unit_of(database, write=write):
                pass
        database.ready(connection)
        assert count(connection, "orders") == 1
        connection.commit()
    with host.connect() as connection:
        assert count(connection, "orders") == 1
        connection.exec_driver_sql("INSERT INTO orders DEFAULT VALUES")
        with pytest.raises(UnitError), unit_of(database):
            pass
        connection.rollback()
        assert count(connection, "orders") == 1


@pytest.mark.parametrize("host", HOSTS, indirect=True)
def test_inside_a_hosts_transaction_no_table_is_made_in_it(host: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "BESIDE_HOST", timedelta(milliseconds=20))
    database = Database.bound(host)
    with host.connect() as connection:
        connection.exec_driver_sql("INSERT INTO orders DEFAULT VALUES")
        if not sqlite.in_transaction(connection.connection.dbapi_connection):
            pytest.skip("this host has no transaction")
        with pytest.raises(SchemaError, match=r"call notify\.migrate\(\) at start-up"):
            database.ready(connection)
        connection.rollback()
        assert count(connection, "orders") == 0
        assert not sa.inspect(connection).has_table("notifykit_version")
    database.migrate()
    with host.connect() as connection:
        connection.exec_driver_sql("INSERT INTO orders DEFAULT VALUES")
        database.ready(connection)
        connection.commit()
        assert count(connection, "orders") == 1


@pytest.mark.parametrize("host", ["file"], indirect=True)
def test_the_host_keeps_its_own_busy_timeout(host: sa.Engine) -> None:
    database = Database.bound(host)
    database.ready()
    with host.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000


@pytest.mark.parametrize("host", ["file", "static"], indirect=True)
def test_what_the_hosts_engine_lacks_is_logged_once(host: sa.Engine, caplog: pytest.LogCaptureFixture) -> None:
    database = Database.bound(host)
    for _ in range(2):
        with unit_of(database):
            pass
    said = [record.message for record in caplog.records if "your engine lacks" in record.message]
    assert len(said) == ("file.db" in str(host.url))
    assert not said or 'cursor.execute("PRAGMA foreign_keys=ON")' in said[0]
    assert all("journal_mode=WAL" in each for each in said)


def test_an_engine_of_the_other_notifier_is_refused() -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    with pytest.raises(ConfigurationError, match=r"notifykit\.AsyncEngine"):
        Database.bound(engine)
    with pytest.raises(ConfigurationError, match=r"notifykit\.AsyncEngine"):
        Database.bound(engine.sync_engine)
    plain = sa.create_engine("sqlite://")
    with pytest.raises(ConfigurationError, match=r"notifykit\.Engine"):
        AsyncDatabase.bound(plain)


@pytest.mark.parametrize("url", ["sqlite+aiosqlite://", "sqlite+aiosqlite:///{0}/app.db"])
async def test_our_own_units_on_an_async_hosts_engine(tmp_path: Path, url: str) -> None:
    engine = create_async_engine(url.format(tmp_path))
    database = AsyncDatabase.bound(engine)
    await in_unit(database, add, 1)
    async with engine.connect() as connection:
        await connection.exec_driver_sql("INSERT INTO notifykit_topic_member VALUES (7, 7)")
        if url.endswith("//"):
            with pytest.raises(UnitError, match="pass session="):
                await in_unit(database, add, 2)
        await connection.run_sync(database.database.ready)
        await connection.commit()
    async with engine.connect() as connection:
        assert await connection.run_sync(count) == 2
    await database.close()
    await engine.dispose()
