"""Whatever goes wrong while tables are looked at, made or changed is an error of ours that says what to do."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.store import hilo, schema
from notifykit.store.database import Database
from notifykit.store.mariadb import _lock_name
from notifykit.store.postgres import SCHEMA_LOCK
from tests.harness.databases import SERVERS as KNOWN
from tests.harness.databases import run
from tests.store import later
from tests.store.conftest import SERVERS, bare
from tests.store.schemas import behind


def refusal(url: str, kind: type[Exception], **options: Any) -> str:
    """What `migrate` raises."""
    with nk.Engine(url, **options) as notify, pytest.raises(kind) as caught:
        notify.migrate()
    assert type(caught.value) is kind
    return str(caught.value)


def made(url: str, *versions: str) -> None:
    """Make the tables, then say that they are of these versions."""
    with nk.Engine(url) as notify:
        notify.migrate()
        with notify._runtime.database.engine.begin() as connection:
            connection.execute(schema.versions.delete())
            for version in versions:
                connection.execute(schema.versions.insert().values(version_num=version))


def test_two_versions(empty_url: str) -> None:
    made(empty_url, "0001", "0002")
    assert "several versions of the notifykit tables in notifykit_version (0001, 0002): delete all rows but" in refusal(
        empty_url, nk.SchemaError
    )


def test_no_version_beside_whole_tables_is_written_again(empty_url: str) -> None:
    made(empty_url)
    made(empty_url, schema.HEAD)


def test_no_version_beside_tables_of_another_one(empty_url: str) -> None:
    made(empty_url)
    with nk.Engine(empty_url) as notify, notify._runtime.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE notifykit_topic DROP COLUMN name")
    assert "a table notifykit_topic without the column name, and no version" in refusal(empty_url, nk.SchemaError)


@contextmanager
def limited(url: str, kind: str) -> Iterator[str]:
    """The URL of the database for a user who may read and write what is there, and make nothing."""
    server, name, password = KNOWN[kind], f"nk_{os.getpid()}_{secrets.token_hex(3)}", secrets.token_hex(8)
    place = sa.make_url(url)
    admin = server.admin()
    if kind == "postgresql":
        run(admin, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    else:
        run(admin, f"CREATE USER {name}@'%%' IDENTIFIED BY '{password}'")
        run(admin, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {place.database}.* TO {name}@'%%'")
    try:
        yield place.set(username=name, password=password).render_as_string(hide_password=False)
    finally:
        run(admin, f"DROP ROLE {name}" if kind == "postgresql" else f"DROP USER {name}@'%%'")
        admin.dispose()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_user_who_may_not_make_tables_is_told_the_rights(kind: str, url_of: Callable[[str], str]) -> None:
    url = url_of(kind)
    bare(url)
    with limited(url, kind) as theirs:
        text = refusal(theirs, nk.SchemaError)
        assert "give it " in text
        assert "CREATE" in text
        assert "denied" in text
        assert "everybody else needs " in text
        assert sa.make_url(theirs).password not in text
        with nk.Engine(theirs) as notify, pytest.raises(nk.SchemaError, match="CREATE"):
            notify.inbox("ada").unread_count()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_user_who_may_not_change_tables_is_told_the_rights(
    kind: str, url_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = url_of(kind)
    made(url, schema.HEAD)
    with limited(url, kind) as theirs, behind(monkeypatch):
        if kind == "postgresql":
            grant(url, sa.make_url(theirs).username)
        assert "give it " in refusal(theirs, nk.SchemaError)
        if kind == "postgresql":
            grant(url, sa.make_url(theirs).username, back=True)


def grant(url: str, name: str | None, *, back: bool = False) -> None:
    """Let a role read and write what is there."""
    words = "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM" if back else "GRANT ALL ON ALL TABLES IN SCHEMA public TO"
    with nk.Engine(url) as notify, notify._runtime.database.engine.begin() as connection:
        connection.exec_driver_sql(f"{words} {name}")


LOCKS = {
    "postgresql": lambda connection: f"SELECT pg_advisory_lock({SCHEMA_LOCK})",
    "mariadb": lambda connection: f"SELECT GET_LOCK('{_lock_name(connection)}', 1)",
}


@pytest.mark.parametrize("kind", SERVERS)
def test_another_process_that_does_not_end(
    kind: str, url_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hilo, "BUSY_TIMEOUT", timedelta(seconds=1))
    url = url_of(kind)
    bare(url)
    other = Database.open(url)
    with other.engine.connect() as connection:
        connection.exec_driver_sql(LOCKS[kind](connection)).all()
        assert "try again" in refusal(url, nk.StorageError)
        connection.invalidate()
    other.close()
    made(url, schema.HEAD)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_transaction_that_uses_the_tables_does_not_end(
    kind: str, url_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hilo, "BUSY_TIMEOUT", timedelta(seconds=1))
    url = url_of(kind)
    made(url, schema.HEAD)
    other = Database.open(url)
    with behind(monkeypatch):
        with other.engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM notifykit_topic").all()
            assert "is locked" in refusal(url, nk.StorageError)
        made(url, later.VERSION)
    other.close()


def kill(connection: sa.Connection) -> None:
    """End the server's side of a connection."""
    name = connection.dialect.name
    number = connection.connection.driver_connection
    admin = KNOWN[name].admin()
    if name == "postgresql":
        run(admin, f"SELECT pg_terminate_backend({number.info.backend_pid}, 1000)")  # type: ignore[union-attr]
    else:
        run(admin, f"KILL {number.thread_id()}")  # type: ignore[union-attr]
    admin.dispose()


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("when", ["CREATE TABLE notifykit_message", "INSERT INTO notifykit_version"])
def test_a_connection_that_is_lost(kind: str, url_of: Callable[[str], str], when: str) -> None:
    url = url_of(kind)
    bare(url)
    with nk.Engine(url) as notify:
        engine = notify._runtime.database.engine

        def lose(connection: sa.Connection, cursor: Any, text: str, *args: Any) -> None:
            if when in text:
                kill(connection)

        sa.event.listen(engine, "before_cursor_execute", lose)
        with pytest.raises(nk.StorageError, match="the connection was lost"):
            notify.migrate()
        sa.event.remove(engine, "before_cursor_execute", lose)
        notify.migrate()
        assert notify.inbox("ada").unread_count() == 0


def test_a_full_disk(url_of: Callable[[str], str]) -> None:
    with nk.Engine(url_of("file")) as notify:
        engine = notify._runtime.database.engine

        @sa.event.listens_for(engine, "connect")
        def small(dbapi: Any, record: Any) -> None:
            dbapi.execute("PRAGMA max_page_count = 12")

        with pytest.raises(nk.StorageError, match="is full"):
            notify.migrate()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda op: op.drop_column("notifykit_nowhere", "name"), "call notify.migrate() again"),
        (lambda op: op.execute(sa.insert(schema.versions).values(version_num="0002")), "call notify.migrate() again"),
        (lambda op: {}["config"], "could not be brought to version 0003: 'config'"),
        (lambda op: op.create_table(later.TABLE, sa.Column("id")), "call notify.migrate() again"),
    ],
    ids=["refused", "duplicate", "bug", "compile"],
)
def test_a_step_that_fails(empty_url: str, monkeypatch: pytest.MonkeyPatch, wrong: Any, said: str) -> None:
    made(empty_url, schema.HEAD)
    with monkeypatch.context() as patch, behind(monkeypatch):
        patch.setattr(later, "upgrade", wrong)
        with nk.Engine(empty_url) as notify, pytest.raises((nk.SchemaError, nk.StorageError)) as caught:
            notify.migrate()
        assert said in str(caught.value)
        patch.undo()
        made(empty_url, later.VERSION)


def test_a_step_that_is_not_in_this_installation(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made(empty_url, schema.HEAD)
    gone = "notifykit.store.migrations.versions.v0003_gone"
    with behind(monkeypatch), monkeypatch.context() as patch:
        patch.setattr(schema, "REVISIONS", {**schema.REVISIONS, "0003": gone})
        text = refusal(empty_url, nk.SchemaError)
    assert f"The module {gone}" in text
    assert "version 0003" in text
    assert text.endswith("build it with `--collect-all notifykit`.")
