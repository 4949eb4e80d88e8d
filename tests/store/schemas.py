"""What the tests of the tables share: what a database says of itself, a later version, processes that are killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa

from notifykit.store import schema
from notifykit.store.database import Database
from tests.store import later
from tests.store.conftest import bare

LOOKS = ("SELECT", "PRAGMA", "SHOW", "DESCRIBE", "SET", "BEGIN")
CHANGES = ("CREATE", "ALTER", "DROP")


class Killed(BaseException):
    """The process ends here."""


def structure(connection: sa.Connection) -> dict[str, Any]:
    """All that the database itself says of its tables."""
    if connection.dialect.name == "sqlite":
        return dict(tuple(row) for row in connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").all())
    if connection.dialect.name == "mariadb":
        names = [row[0] for row in connection.exec_driver_sql("SHOW FULL TABLES").all()]
        texts = {name: connection.exec_driver_sql(f"SHOW CREATE TABLE {name}").all()[0][1] for name in names}
        return {name: sorted(line.rstrip(",") for line in text.splitlines()) for name, text in texts.items()}
    columns = (
        "SELECT table_name, column_name, data_type, character_maximum_length, collation_name, is_nullable "
        "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    )
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
    sequences = "SELECT sequencename, start_value, increment_by FROM pg_sequences"
    return {query: [tuple(row) for row in connection.exec_driver_sql(query)] for query in (columns, indexes, sequences)}


ROWS = ("notifykit_organization", "notifykit_environment", "notifykit_sequence", "notifykit_version", "notifykit_topic")


def contents(url: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The tables, and the rows that a database starts with."""
    engine = Database.open(url).engine
    with engine.connect() as connection:
        rows = {name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}")] for name in ROWS}
        found = structure(connection)
    engine.dispose()
    return found, rows


def without_tables(url: str) -> str:
    """The URL of the database, which has no tables any more; another file where it is one."""
    if url.startswith("sqlite"):
        return url.replace("app.db", "other.db")
    bare(url)
    return url


@contextmanager
def behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library knows a later version while the block lasts."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "REVISIONS", {**schema.REVISIONS, later.VERSION: later.__name__})
        patch.setattr(schema, "HEAD", later.VERSION)
        yield


def in_pieces(url: str) -> int:
    """Migrate in one process after the other, each killed before one of its changes, until one reaches its end.

    MariaDB keeps changes of tables: there each process gets one of them further than the last. Elsewhere nothing is
    kept, and each process gets further by some changes.

    Returns:
        How many were killed.
    """
    database = Database.open(url)
    keeps = database.dialect.name == "mariadb"
    allowed = 0
    for killed in count():
        done = changes_until_killed(database, allowed)
        if done is None:
            database.close()
            return killed
        is_kept = keeps and any(text.lstrip().startswith(CHANGES) for text in done)
        allowed = 0 if is_kept else allowed + (1 if keeps else 5)
    raise AssertionError


def changes_until_killed(database: Database, allowed: int) -> list[str] | None:
    """Migrate as a process that is killed before a change or a commit.

    Args:
        database: Where.
        allowed: How many come to their end before.

    Returns:
        Those; None where the process reached its end.
    """
    done: list[str] = []
    dead: list[str] = []

    def count_down(text: str) -> None:
        if not dead and text.lstrip().upper().startswith(LOOKS):
            return
        if dead or len(done) == allowed:
            dead.append(text)
            raise Killed
        done.append(text)

    def before(connection: sa.Connection, cursor: Any, text: str, *args: Any) -> None:
        count_down(text)

    def commits(connection: sa.Connection) -> None:
        count_down("COMMIT")

    sa.event.listen(database.engine, "before_cursor_execute", before)
    sa.event.listen(database.engine, "commit", commits)
    try:
        database.migrate()
    except Killed:
        return done
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", before)
        sa.event.remove(database.engine, "commit", commits)
        database.engine.dispose()
    return None
