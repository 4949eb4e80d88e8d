"""Processes that are killed while they make or change the tables: the next one goes on."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from notifykit.model import Topic
from notifykit.store.database import Database
from tests.store import later
from tests.store.conftest import NOW
from tests.store.schemas import behind, contents, in_pieces, without_tables


def migrated(url: str, *, topic: bool = False) -> str:
    """The URL of a database with tables, made at once, and maybe with a row for the later version to change."""
    database = Database.open(url)
    database.migrate()
    if topic:
        with database.engine.begin() as connection:
            connection.execute(insert(Topic).values(id=7, environment=1, key="news", created_at=NOW))
    database.close()
    return url


def test_a_first_start_killed_at_any_statement_is_finished_by_the_next(empty_url: str) -> None:
    assert in_pieces(empty_url) > 3
    found = contents(empty_url)
    assert found == contents(migrated(without_tables(empty_url)))


def test_an_upgrade_killed_at_any_statement_is_finished_by_the_next(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(empty_url, topic=True)
    with behind(monkeypatch):
        assert in_pieces(empty_url) > 1
        found = contents(empty_url)
        assert found[1]["notifykit_version"] == [(later.VERSION,)]
        assert found[1]["notifykit_topic"][0][-1] == "red"
    whole = without_tables(empty_url)
    migrated(whole, topic=True)
    with behind(monkeypatch):
        assert found == contents(migrated(whole))
