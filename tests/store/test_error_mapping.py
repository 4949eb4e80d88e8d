from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from notifykit.errors import ConfigurationError, StorageError
from notifykit.model import TopicMember
from notifykit.store import sqlite
from notifykit.store import writer_lock as turns
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from notifykit.store.rows import insert_rows
from tests.store.conftest import unit_of

INSERT = "INSERT INTO notifykit_topic_member (topic, subscriber) VALUES (?, 1)"


def write(database: Database) -> None:
    with unit_of(database) as unit:
        insert_rows(unit, TopicMember, ("topic", "subscriber"), [(9, 9)])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a lock takes no time in this test."""
    monkeypatch.setattr(sqlite, "BUSY", 20)
    monkeypatch.setattr(turns, "SECONDS", 0.02)


def failure(work: Callable[[], Any]) -> str:
    with pytest.raises(StorageError) as caught:
        work()
    assert caught.value.__cause__ is not None
    return str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_locked(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    database = Database.open(f"sqlite:///{path}")
    write(database)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    said = failure(lambda: write(database))
    assert f"{str(path)!r} is locked" in said
    assert "pass session=" in said
    other.close()
    with unit_of(database) as unit:
        assert unit.ids(1)
    database.close()


def test_read_only(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    first = Database.open(f"sqlite:///{path}")
    write(first)
    first.close()
    database = Database.open(f"sqlite:///file:{path}?mode=ro&uri=true")
    with unit_of(database, write=False) as unit:
        assert unit.connection.exec_driver_sql("SELECT count(*) FROM notifykit_topic_member").scalar() == 1
    assert "read-only" in failure(lambda: write(database))
    database.close()


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and long enough to be read as a header of a page\n" * 20)
    before = path.read_bytes()
    database = Database.open(f"sqlite:///{path}")
    said = failure(lambda: write(database))
    assert "notes.txt' is not an SQLite database" in said
    assert path.read_bytes() == before
    database.close()


def test_no_such_folder(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/missing/app.db")
    assert "cannot be opened: check that its folder exists" in failure(lambda: write(database))
    database.close()


def test_full(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/app.db")
    write(database)

    def fill() -> None:
        with unit_of(database) as unit:
            unit.connection.exec_driver_sql("PRAGMA max_page_count=60")
            insert_rows(unit, TopicMember, ("topic", "subscriber"), [(n, n) for n in range(10, 200_000)])

    assert "is full: nothing of this transaction was stored" in failure(fill)
    with unit_of(database, write=False) as unit:
        assert unit.connection.exec_driver_sql("SELECT count(*) FROM notifykit_topic_member").scalar() == 1
    database.close()


def test_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    database = Database.open(f"sqlite:///{path}")
    with unit_of(database) as unit:
        insert_rows(unit, TopicMember, ("topic", "subscriber"), [(n, n) for n in range(5_000)])
    database.close()
    data = bytearray(path.read_bytes())
    data[4096 * 4 :] = b"\x55" * len(data[4096 * 4 :])
    path.write_bytes(data)
    again = Database.open(f"sqlite:///{path}")

    def read() -> None:
        with unit_of(again, write=False) as unit:
            unit.dialect.fetch(unit.connection, "SELECT count(*), sum(topic) FROM notifykit_topic_member", ())

    assert "is corrupt" in failure(read)
    again.close()


def test_a_lost_connection(server: str) -> None:
    database = Database.open(server)
    write(database)
    kill = {
        "postgresql": "SELECT pg_terminate_backend({0})",
        "mariadb": "KILL {0}",
    }[database.dialect.name]
    who = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}[database.dialect.name]

    def lose() -> None:
        with unit_of(database) as unit:
            number = unit.connection.exec_driver_sql(who).scalar()
            other = Database.open(server)
            with other.engine.connect() as connection:
                connection.exec_driver_sql(kill.format(number))
            other.close()
            unit.ids(3000)

    said = failure(lose)
    assert "was lost" in said
    assert "transaction_id" in said
    with unit_of(database) as unit:
        assert unit.ids(1)
    database.close()


def test_an_absent_database_and_a_refused_login(server: str) -> None:
    url = sa.make_url(server).set(database="notifykit_absent")
    database = Database.open(url.render_as_string(hide_password=False))
    assert "does not exist" in failure(lambda: write(database))
    database.close()
    url = sa.make_url(server).set(port=1, username="somebody", password="topsecret")
    database = Database.open(url.render_as_string(hide_password=False))
    said = failure(lambda: write(database))
    assert "127.0.0.1:1 cannot be connected to: check that the server runs" in said
    assert "topsecret" not in said
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("app.db", "is not a database URL: write sqlite:///app.db"),
        ("oracle://x", "'oracle' is no database that notifykit knows"),
        ("sqllite:///x", "Did you mean 'sqlite'"),
        ("postgresql+nodriver://x/y", "cannot be used"),
        ("postgresql+asyncpg://x/y", "is for the async notifier|not installed .*: write postgresql:// and pip install"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Database.open(url)


@pytest.mark.parametrize("url", ["postgresql://x/y", "mysql://x/y"])
@pytest.mark.parametrize("kind", [Database, AsyncDatabase])
def test_a_missing_driver_names_the_extra(url: str, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("psycopg", "pymysql", "asyncmy"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    extra = "postgres" if "postgres" in url else "mysql"
    with pytest.raises(ConfigurationError, match=rf'pip install "notifykit-engine\[{extra}\]"'):
        kind.open(url)


@pytest.mark.parametrize("url", ["postgresql+psycopg2://x/y", "mariadb+mysqldb://x/y"])
def test_a_sync_driver_on_the_async_notifier(url: str) -> None:
    with pytest.raises(ConfigurationError):
        AsyncDatabase.open(url)


def test_a_url_of_the_other_notifier_is_understood(tmp_path: Path) -> None:
    for url in (f"sqlite+aiosqlite:///{tmp_path}/a.db", "postgres+psycopg://x/y", "mysql+asyncmy://x/y"):
        database = Database.open(url)
        assert not database.engine.dialect.is_async
        database.close()
