"""What an error may not show, with a host's engine either: passwords, and the values of statements."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import notifykit as nk
from notifykit.store import engines
from tests.harness import databases

SECRET = "topsecret"
KINDS: tuple[databases.Name, ...] = ("file", "postgresql", "mariadb")
ASYNC = {"sqlite": "aiosqlite", "postgresql": "psycopg_async", "mariadb": "asyncmy"}
BREAK = {
    "file": "CREATE TRIGGER broken BEFORE INSERT ON {0} BEGIN SELECT RAISE(ABORT, 'no'); END",
    "postgresql": "ALTER TABLE {0} ADD CONSTRAINT broken CHECK (id < 0)",
    "mariadb": "ALTER TABLE {0} ADD CONSTRAINT broken CHECK (id < 0)",
}
MEND = {"file": "DROP TRIGGER broken"}
NOTE = nk.Workflow("note", steps=[nk.InApp("bell", body="x")])


@contextmanager
def broken(host: sa.Engine, kind: str, table: str) -> Iterator[None]:
    """A table that takes no row."""
    databases.run(host, BREAK[kind].format(table))
    try:
        yield
    finally:
        databases.run(host, MEND.get(kind, "ALTER TABLE {0} DROP CONSTRAINT broken").format(table))


def text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 60], ids=["insert", "copy"])
async def test_no_error_shows_the_values_of_a_statement(
    place_of: databases.Opened, tmp_path: Path, kind: databases.Name, count: int
) -> None:
    url = engines.parsed(place_of(kind).fresh(tmp_path))
    backend = url.get_backend_name()
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    sync = sa.create_engine(url)
    awaited = create_async_engine(url.set(drivername=f"{backend}+{ASYNC[backend]}"))
    people = [nk.Recipient(f"{SECRET}-{n}", email=f"{SECRET}-{n}@x.org") for n in range(count)]
    with nk.Engine(bind=sync, workflows=[NOTE]) as notify, broken(admin, kind, "notifykit_subscriber"):
        with pytest.raises((nk.StorageError, sa.exc.IntegrityError)) as caught:
            notify.trigger(NOTE, to=people)
        with pytest.raises((nk.StorageError, sa.exc.IntegrityError)) as also:
            await nk.AsyncEngine(bind=awaited, workflows=[NOTE]).trigger(NOTE, to=people)
    sync.dispose()
    await awaited.dispose()
    for error in (caught.value, also.value):
        assert "notifykit_subscriber" in text_of(error)
        assert SECRET not in text_of(error)


@pytest.mark.parametrize(
    "url",
    [
        f"user:{SECRET}@host/db",
        f"host=localhost password={SECRET}",
        f"postgresql://user:pw@{SECRET}@host/db",
        f"postgresql://user:pw{SECRET}@host:port/db",
        f"postgresql://us/er:{SECRET}@host/db",
        f"mariadb://127.0.0.1:1/{SECRET}@host/db",
        f"postgresql:/user:{SECRET}@host/db",
        f"postgresql://user:{SECRET}@127.0.0.1:1/db?prepare_threshold=few",
        f"postgresql://127.0.0.1:1/db?password={SECRET}&connect_timeout=1",
        f"mariadb://user:{SECRET}@127.0.0.1:1/db",
        f"mariadb+nodriver://user:{SECRET}@127.0.0.1:1/db",
        f"oracle://user:{SECRET}@127.0.0.1:1/db",
    ],
)
@pytest.mark.parametrize("kind", [nk.Engine, nk.AsyncEngine])
async def test_no_error_shows_a_password(url: str, kind: Any) -> None:
    with pytest.raises((nk.ConfigurationError, nk.StorageError)) as caught:  # noqa: PT012
        found = kind(url)
        answer = found.subscribers.find("ada")
        if kind is nk.AsyncEngine:
            await answer
    assert SECRET not in text_of(caught.value)


def test_a_hosts_url_that_was_torn_apart_is_refused() -> None:
    host = sa.create_engine(f"postgresql+psycopg://user:pw@{SECRET}@host/db")
    with pytest.raises(nk.ConfigurationError, match="has an @ out of its place") as caught:
        nk.Engine(bind=host)
    assert SECRET not in str(caught.value)


def test_another_database_is_named_without_its_password(tmp_path: Path) -> None:
    host = sa.create_engine(f"postgresql+psycopg://user:{SECRET}@host/db?password={SECRET}")
    with nk.Engine(f"sqlite:///{tmp_path}/app.db") as notify, sa.orm.Session(host) as session:
        with pytest.raises(
            nk.UnitError, match="on the database 'db' at host, the engine on the database file"
        ) as caught:
            notify.within(session).subscribers.find("ada")
        assert SECRET not in str(caught.value)
