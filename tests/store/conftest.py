"""Databases and units for the tests of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from notifykit.clock import SystemClock
from notifykit.errors import SchemaError
from notifykit.model import metadata
from notifykit.store import schema
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from notifykit.store.dialect import Dialect
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.registry import Registry
from tests.harness import databases
from tests.store import later

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SERVERS = ("postgresql", "mariadb")
KINDS = ("memory", "file", *SERVERS)
AWAITED = {
    "thread-memory": ("memory", None),
    "thread-file": ("file", None),
    "aiosqlite-memory": ("memory", "sqlite+aiosqlite://"),
    "aiosqlite-file": ("file", "sqlite+aiosqlite"),
    "psycopg": ("postgresql", None),
    "asyncmy": ("mariadb", None),
}


def unit_on(connection: sa.Connection, dialect: Dialect, now: datetime = NOW) -> Unit:
    """A unit as a notifier makes it, at a fixed instant."""
    return Unit(connection, dialect, SystemClock(), Registry(), now)


@contextmanager
def unit_of(database: Database, *, write: bool = True, now: datetime = NOW) -> Iterator[Unit]:
    """A unit in a transaction of its own."""
    with database.transaction(write=write) as connection:
        yield unit_on(connection, database.dialect, now)


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], str]]:
    """The URL of this session's database on a server."""
    known: dict[str, str] = {}
    with ExitStack() as stack:

        def url(kind: str) -> str:
            if reason := databases.missing(kind):
                pytest.skip(reason)
            if kind not in known:
                known[kind] = stack.enter_context(databases.on_server(kind))
            return known[kind]

        yield url


@pytest.fixture
def url_of(servers: Callable[[str], str], tmp_path: Path) -> Callable[[str], str | None]:
    """The URL of a database without any row of ours; a server's may have its tables: `bare` drops them."""

    def url(kind: str) -> str | None:
        if kind == "memory":
            return None
        if kind == "file":
            return f"sqlite:///{tmp_path / 'app.db'}"
        found = servers(kind)
        empty(found)
        return found

    return url


def empty(url: str) -> None:
    """Delete every row, which is far cheaper than to make the tables again; drop tables of another version."""
    database, found = Database.open(url), None
    with database.engine.connect() as connection, suppress(SchemaError):
        found = schema.stored_version(connection)
    if found == schema.HEAD:
        databases.empty(database.engine)
    else:
        bare(url)
    database.close()


def bare(url: str) -> None:
    """Drop our tables."""
    database = Database.open(url)
    with database.engine.begin() as connection:
        metadata.drop_all(connection)
        schema.versions.drop(connection, checkfirst=True)
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {later.TABLE}")
    database.close()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str | None]) -> str | None:
    """The URL of an empty database, of each kind."""
    return url_of(request.param)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, url_of: Callable[[str], str | None]) -> str:
    """The URL of an empty database on a server."""
    found = url_of(request.param)
    assert found is not None
    return found


@pytest.fixture(params=("file", *SERVERS))
def empty_url(request: pytest.FixtureRequest, url_of: Callable[[str], str | None]) -> Iterator[str]:
    """The URL of a database without any table; whatever version is written there ends with the test."""
    url = url_of(request.param)
    assert url is not None
    if request.param in SERVERS:
        bare(url)
    yield url
    if request.param in SERVERS:
        bare(url)


@pytest.fixture
def database(url: str | None) -> Iterator[Database]:
    """An empty database, of each kind."""
    found = Database.open(url)
    yield found
    found.close()


@pytest.fixture
def unit(database: Database) -> Iterator[Unit]:
    """A unit that writes, on each kind of database."""
    with unit_of(database) as found:
        yield found


@pytest.fixture(params=AWAITED)
def awaited_url(request: pytest.FixtureRequest, url_of: Callable[[str], str | None]) -> str | None:
    """The URL of an empty database for the async notifier, each way that it works."""
    kind, driver = AWAITED[request.param]
    found = url_of(kind)
    if driver is None:
        return found
    return driver if found is None else found.replace("sqlite", driver, 1)


@pytest.fixture
async def awaited(awaited_url: str | None) -> Any:
    """An empty database for the async notifier, each way that it works."""
    found = AsyncDatabase.open(awaited_url)
    yield found
    await found.close()


async def in_unit(database: AsyncDatabase, work: Callable[..., Any], *args: Any, write: bool = True) -> Any:
    """Run work on a unit of an async database."""
    async with database.transaction(write=write) as transaction:
        return await transaction.call(lambda connection: work(unit_on(connection, database.dialect), *args))


async def tick() -> None:
    """Let other tasks go on."""
    await asyncio.sleep(0)
