"""Servers and connections that cannot hold what we store: refused by name at their first use."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

import notifykit as nk
from notifykit.store import engines
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from tests.harness import databases
from tests.store.conftest import bare, in_unit, unit_of

NOTE = nk.Workflow("note", steps=[nk.InApp("bell", body="{{ payload.text }}")])


@contextmanager
def encoded(encoding: str) -> Iterator[str]:
    """A PostgreSQL database in an encoding."""
    if reason := databases.missing("postgresql"):
        pytest.skip(reason)
    server, name = databases.SERVERS["postgresql"], f"notifykit_test_{secrets.token_hex(4)}"
    admin = server.admin()
    databases.run(admin, f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        databases.run(admin, server.drop.format(name=name))
        admin.dispose()


def failure(kind: Any, given: Any) -> str:
    database = kind.bound(given) if isinstance(given, sa.Engine) else kind.open(given)
    with pytest.raises(nk.ConfigurationError) as caught, unit_of(database):
        pass
    database.close()
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding(encoding: str) -> None:
    with encoded(encoding) as url:
        said = failure(Database, url)
        host = sa.create_engine(engines.parsed(url), connect_args={"client_encoding": "utf8"})
        assert failure(Database, host) == said
        host.dispose()
    assert f"has the server encoding {encoding}" in said
    assert "ENCODING 'UTF8'" in said


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a host's connection that nobody has
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_client_in_another_encoding(
    url_of: Callable[[str], str], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = url_of("postgresql")
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    host = sa.create_engine(engines.parsed(url))
    assert f"has the client encoding {encoding}" in failure(Database, host)
    host.dispose()
    gc.collect()
    with nk.Engine(f"{url}?client_encoding={encoding}", workflows=[NOTE]) as own:  # ours asks for what it needs
        own.trigger(NOTE, to="ada", payload={"text": "\N{GRINNING FACE}"}).raise_for_status()
    async with nk.AsyncEngine(url) as awaited:
        assert (await awaited.inbox("ada").list()).items[0].body == "\N{GRINNING FACE}"


async def test_a_joined_client_in_another_encoding(url_of: Callable[[str], str]) -> None:
    url = sa.make_url(url_of("postgresql")).set(drivername="postgresql+psycopg")
    host = sa.create_engine(url, connect_args={"client_encoding": "latin1"})
    with nk.Engine(url.render_as_string(hide_password=False), workflows=[NOTE]) as notify:
        notify.migrate()
        for _ in range(2):
            with Session(host) as session, pytest.raises(nk.ConfigurationError, match="client encoding LATIN1"):
                notify.trigger(NOTE, to="ada", payload={"text": "x"}, session=session)
    host.dispose()


@pytest.mark.parametrize("charset", ["latin1", "utf8"])
async def test_a_connection_in_another_character_set(url_of: Callable[[str], str], charset: str) -> None:
    url = url_of("mariadb")
    said = failure(Database, f"{url}?charset={charset}")
    assert f"character_set_client={charset}" in said
    assert "write `?charset=utf8mb4`" in said
    awaited = AsyncDatabase.open(f"{url}?charset={charset}")
    with pytest.raises(nk.ConfigurationError, match="utf8mb4"):
        await in_unit(awaited, lambda unit: None)
    await awaited.close()


async def test_tables_are_made_with_transactions_whatever_the_server_prefers(url_of: Callable[[str], str]) -> None:
    bare(url_of("mariadb"))
    url = sa.make_url(url_of("mariadb"))
    arguments = {"connect_args": {"init_command": "SET default_storage_engine = MyISAM"}}
    host = sa.create_engine(url.set(drivername="mariadb+pymysql"), **arguments)
    awaited = create_async_engine(url.set(drivername="mariadb+asyncmy"), **arguments)
    query = "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = DATABASE()"
    with unit_of(Database.bound(host)) as unit:
        assert unit.connection.exec_driver_sql(query).scalars().all() == ["InnoDB"]
        assert unit.connection.exec_driver_sql("SELECT @@default_storage_engine").scalar() == "MyISAM"
        unit.connection.exec_driver_sql("ALTER TABLE notifykit_message ENGINE = MyISAM")
    try:
        assert "run `ALTER TABLE notifykit_message ENGINE=InnoDB`" in failure(Database, host)
        with pytest.raises(nk.ConfigurationError, match="keeps rows over a rollback"):
            await in_unit(AsyncDatabase.bound(awaited), lambda unit: None)
    finally:
        databases.run(host, "ALTER TABLE notifykit_message ENGINE = InnoDB")
        host.dispose()
        await awaited.dispose()
