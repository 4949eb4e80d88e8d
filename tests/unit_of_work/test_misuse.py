"""What is passed as a transaction and is none, or the wrong one: refused by name, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import notifykit as nk
from tests.unit_of_work.conftest import hello, said


def test_the_sync_notifier_refuses_what_is_awaited_or_no_transaction(notify: nk.Engine, database: sa.Engine) -> None:
    async_engine = create_async_engine("sqlite+aiosqlite://")
    for wrong, words in (
        (AsyncSession(async_engine), "AsyncSession was passed to the sync notifier: use AsyncEngine"),
        (AsyncConnection(async_engine), "AsyncConnection was passed to the sync notifier"),
        (
            async_scoped_session(async_sessionmaker(async_engine), scopefunc=lambda: 1),
            "async_scoped_session was passed to the sync notifier",
        ),
        (database, "an engine is no transaction"),
        (async_engine, "an engine is no transaction"),
        (sessionmaker(database), "call it first"),
        ("session", "is expected, not str"),
    ):
        given: Any = wrong
        with pytest.raises(nk.UnitError, match=words):
            notify.within(given)
        with pytest.raises(nk.UnitError, match=words):
            notify.trigger(hello, session=given, **said("one"))
    assert notify.subscribers.find("ada") is None


async def test_the_awaited_notifier_refuses_what_is_not_awaited(
    awaited: nk.AsyncEngine, async_database: AsyncEngine, database: sa.Engine
) -> None:
    with database.connect() as connection:
        for wrong, words in (
            (Session(database), "Session was passed to the awaited notifier: use Engine"),
            (scoped_session(sessionmaker(database)), "scoped_session was passed to the awaited notifier"),
            (connection, "Connection was passed to the awaited notifier"),
            (async_database, "an engine is no transaction"),
            (async_database.connect(), "not started"),
            (None.__class__, "is expected, not type"),
        ):
            given: Any = wrong
            with pytest.raises(nk.UnitError, match=words):
                await awaited.trigger(hello, session=given, **said("one"))


def test_another_database_is_refused(notify: nk.Engine, tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'other.db'}", "sqlite://", "sqlite:///file::memory:?uri=true"):
        other = sa.create_engine(url)
        with Session(other) as session, pytest.raises(nk.UnitError, match="pass its engine as `bind=`"):
            notify.trigger(hello, session=session, **said("one"))
        other.dispose()


def test_a_private_memory_is_nobody_elses(database: sa.Engine) -> None:
    words = "in a sandbox leave `session=` out"
    with (
        nk.Engine(workflows=[hello]) as engine,
        Session(database) as session,
        pytest.raises(nk.UnitError, match=words),
    ):
        engine.trigger(hello, session=session, **said("one"))


def test_the_same_file_under_another_name_is_the_same(url: str, notify: nk.Engine, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    other = sa.create_engine(f"sqlite:///{tmp_path / 'sub' / '..' / 'app.db'}")
    with Session(other) as session, session.begin():
        assert notify.trigger(hello, session=session, **said("one")).status == "processed"
    other.dispose()


def test_a_session_or_connection_that_is_over_is_refused(notify: nk.Engine, database: sa.Engine) -> None:
    with database.connect() as connection:
        pass
    with pytest.raises(nk.UnitError, match="connection is closed"):
        notify.trigger(hello, session=connection, **said("one"))
    with Session(database, close_resets_only=False) as session:
        pass
    with pytest.raises(nk.UnitError, match="no usable transaction"):
        notify.trigger(hello, session=session, **said("one"))


def test_a_session_without_one_database_is_refused(notify: nk.Engine) -> None:
    with Session() as session, pytest.raises(nk.UnitError, match="no one database"):
        notify.trigger(hello, session=session, **said("one"))
