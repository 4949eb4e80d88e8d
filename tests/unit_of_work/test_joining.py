"""What cannot be joined is refused by name, and leaves no row behind the host's rollback; what can, is."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import notifykit as nk
from notifykit.store import engines
from tests.harness import databases
from tests.unit_of_work.conftest import hello, said
from tests.unit_of_work.test_host_session import nk_subscriber

AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
KINDS: tuple[databases.Name, ...] = ("file", "postgresql", "mariadb")
ASYNC = {"sqlite": "aiosqlite", "postgresql": "psycopg_async", "mariadb": "asyncmy"}
DRIVER: dict[str, dict[str, Any]] = {
    "file": {"isolation_level": None},
    "postgresql": {"autocommit": True},
    "mariadb": {"autocommit": True},
}
NEW_SQLITE = pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has no `autocommit` before Python 3.12")

FORMS: dict[str, Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]] = {
    "argument of the engine": lambda driver: (AUTOCOMMIT, {}, {}),
    "option of the engine": lambda driver: ({}, AUTOCOMMIT, {}),
    "option of the connection": lambda driver: ({}, {}, AUTOCOMMIT),
    "mode of the driver": lambda driver: ({"connect_args": driver}, {}, {}),
}
"""For each: arguments and options of an engine, options of a session's connection."""
VARIANTS = [pytest.param(kind, form, id=f"{kind}-{form}") for kind in KINDS for form in FORMS]


@pytest.fixture
def url_of(place_of: databases.Opened, tmp_path: Path) -> Callable[[databases.Name], str]:
    def url(kind: databases.Name) -> str:
        found = place_of(kind).fresh(tmp_path)
        assert found is not None
        return found

    return url


@contextmanager
def hosted(url: str, arguments: dict[str, Any], options: dict[str, Any]) -> Iterator[sa.Engine]:
    """A host's engine."""
    engine = sa.create_engine(engines.parsed(url), **arguments)
    yield engine.execution_options(**options)
    engine.dispose()


@asynccontextmanager
async def hosted_awaited(url: str, arguments: dict[str, Any], options: dict[str, Any]) -> AsyncIterator[Any]:
    """The same for an asynchronous host."""
    parsed = engines.parsed(url)
    backend = parsed.get_backend_name()
    engine = create_async_engine(parsed.set(drivername=f"{backend}+{ASYNC[backend]}"), **arguments)
    yield engine.execution_options(**options)
    await engine.dispose()


@pytest.mark.parametrize("bound", [False, True], ids=["own", "bound"])
@pytest.mark.parametrize(("kind", "form"), VARIANTS)
def test_a_transaction_that_commits_every_statement_is_refused(
    url_of: Any, kind: databases.Name, form: str, bound: bool
) -> None:
    url = url_of(kind)
    arguments, options, of_connection = FORMS[form](DRIVER[kind])
    with nk.Engine(url, workflows=[hello]) as own, hosted(url, arguments, options) as database:
        own.migrate()
        notify = nk.Engine(bind=database, workflows=[hello]) if bound else own
        with Session(database) as session:
            session.connection(execution_options=of_connection)
            with pytest.raises(nk.UnitError, match=r"AUTOCOMMIT.*outlive your rollback.*leave `session=` out"):
                notify.trigger(hello, session=session, **said("one"))
            session.rollback()
        with database.connect() as connection:
            connection = connection.execution_options(**of_connection)
            with pytest.raises(nk.UnitError, match="AUTOCOMMIT"):
                notify.trigger(hello, session=connection, **said("one"))
            connection.rollback()
        assert own.subscribers.find("ada") is None


@pytest.mark.parametrize(("kind", "form"), VARIANTS)
async def test_the_same_on_the_awaited_notifier(url_of: Any, kind: databases.Name, form: str) -> None:
    url = url_of(kind)
    arguments, options, of_connection = FORMS[form](DRIVER[kind])
    async with nk.AsyncEngine(url, workflows=[hello]) as notify, hosted_awaited(url, arguments, options) as database:
        await notify.migrate()
        async with AsyncSession(database) as session:
            await session.connection(execution_options=of_connection)
            with pytest.raises(nk.UnitError, match=r"AUTOCOMMIT.*outlive your rollback"):
                await notify.trigger(hello, session=session, **said("one"))
            await session.rollback()
        assert await notify.subscribers.find("ada") is None


def begins(engine: sa.Engine) -> None:
    """The host's listener that begins."""
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        AUTOCOMMIT,
        {"connect_args": {"isolation_level": None}},
        pytest.param({"connect_args": {"autocommit": False}}, marks=NEW_SQLITE),
    ],
    ids=str,
)
def test_sqlite_is_joined_where_the_hosts_listener_begins(url: str, arguments: dict[str, Any]) -> None:
    with nk.Engine(url, workflows=[hello]) as notify, hosted(url, arguments, {}) as database:
        notify.migrate()
        if "autocommit" not in arguments.get("connect_args", {}):
            begins(database)
        for end, there in (("rollback", False), ("commit", True)):
            with Session(database) as session:
                notify.trigger(hello, session=session, **said(end))
                getattr(session, end)()
            with database.connect() as connection:
                notify.within(connection).subscribers.upsert("bob")
                getattr(connection, end)()
            found = [notify.subscribers.find(who) is not None for who in ("ada", "bob")]
            assert found == [there, there]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"connect_args": {"autocommit": True}}, marks=NEW_SQLITE),
        {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True},
    ],
    ids=str,
)
def test_sqlite_is_refused_where_the_hosts_rollback_does_nothing(url: str, arguments: dict[str, Any]) -> None:
    with nk.Engine(url, workflows=[hello]) as notify, hosted(url, arguments, {}) as database:
        notify.migrate()
        begins(database)
        with database.connect() as connection, pytest.raises(nk.UnitError, match="AUTOCOMMIT"):
            notify.trigger(hello, session=connection, **said("one"))


FITTING = {"argument of the engine", "option of the engine"}


@pytest.mark.parametrize(("kind", "form"), [each for each in VARIANTS if each.values[1] in FITTING])
async def test_units_of_our_own_are_transactions_on_a_hosts_autocommit(
    url_of: Any, kind: databases.Name, form: str
) -> None:
    url = url_of(kind)
    arguments, options, _ = FORMS[form](DRIVER[kind])
    with hosted(url, arguments, options) as database:
        notify = nk.Engine(bind=database, workflows=[hello])
        with pytest.raises(ZeroDivisionError), notify.transaction() as notifier:  # noqa: PT012
            notifier.subscribers.upsert("ada")
            raise ZeroDivisionError
        assert notify.subscribers.find("ada") is None
        notify.trigger(hello, **said("one"))
        with database.connect() as connection:
            assert notify._runtime.database.dialect.commits_everything(connection)
    async with hosted_awaited(url, arguments, options) as database:
        awaited = nk.AsyncEngine(bind=database, workflows=[hello])
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with awaited.transaction() as inside:
                await inside.subscribers.upsert("bob")
                raise ZeroDivisionError
        assert await awaited.subscribers.find("bob") is None
        assert await awaited.inbox("ada").unread_count() == 1


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_hosts_engine_whose_driver_commits_is_refused(url_of: Any, kind: databases.Name) -> None:
    url, arguments = url_of(kind), {"connect_args": DRIVER[kind]}
    words = r"leave `autocommit` out of connect_args.*create_engine\(..., isolation_level=\"AUTOCOMMIT\"\)"
    with hosted(url, arguments, {}) as database, pytest.raises(nk.ConfigurationError, match=words):
        nk.Engine(bind=database, workflows=[hello]).trigger(hello, **said("one"))
    async with hosted_awaited(url, arguments, {}) as database:
        with pytest.raises(nk.ConfigurationError, match=words):
            await nk.AsyncEngine(bind=database, workflows=[hello]).trigger(hello, **said("one"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"connect_args": {"isolation_level": None}},
        {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True},
        pytest.param({"connect_args": {"autocommit": True}}, marks=NEW_SQLITE),
        pytest.param({"connect_args": {"autocommit": False}}, marks=NEW_SQLITE),
    ],
    ids=str,
)
def test_units_of_our_own_on_sqlite_whatever_the_drivers_mode(url: str, arguments: dict[str, Any]) -> None:
    with hosted(url, arguments | {"pool_size": 1, "max_overflow": 0}, {}) as database:
        notify = nk.Engine(bind=database, workflows=[hello])
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), notify.transaction() as notifier:  # noqa: PT012
                notifier.subscribers.upsert("ada")
                raise ZeroDivisionError
        assert notify.subscribers.find("ada") is None
        notify.trigger(hello, **said("one"))
    with nk.Engine(url, workflows=[hello]) as other:
        assert other.inbox("ada").unread_count() == 1


MOVED = {"schema_translate_map": {None: "elsewhere"}}
KEPT = {"schema_translate_map": {"mine": "elsewhere"}}


def test_tables_that_a_map_moves_are_refused(url: str, notify: nk.Engine, database: sa.Engine) -> None:
    words = "schema_translate_map that moves tables without a schema to 'elsewhere'.*leaves None out"
    with Session(database.execution_options(**MOVED)) as session, pytest.raises(nk.UnitError, match=words):
        notify.trigger(hello, session=session, **said("one"))
    with Session(database) as session:
        session.connection(execution_options=MOVED)
        with pytest.raises(nk.UnitError, match=words):
            notify.within(session).subscribers.find("ada")
    with pytest.raises(nk.ConfigurationError, match=words):
        nk.Engine(bind=database.execution_options(**MOVED))
    with pytest.raises(nk.ConfigurationError, match=words):
        nk.AsyncEngine(bind=create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:")).execution_options(**MOVED))


def test_a_map_of_the_hosts_own_schemas_is_none_of_our_business(notify: nk.Engine, database: sa.Engine) -> None:
    with Session(database.execution_options(**KEPT)) as session, session.begin():
        notify.trigger(hello, session=session, **said("one"))
    assert notify.inbox("ada").unread_count() == 1
    assert nk.Engine(bind=database.execution_options(**KEPT)).inbox("ada").unread_count() == 1


def test_a_session_that_does_not_flush_by_itself_is_not_flushed(notify: nk.Engine, database: sa.Engine) -> None:
    with Session(database, autoflush=False) as session:
        session.add(nk_subscriber("bob"))
        notify.trigger(hello, session=session, **said("one"))
        session.autoflush = True
        with session.no_autoflush:
            assert notify.within(session).subscribers.find("bob") is None
        assert len(session.new) == 1
        assert notify.within(session).subscribers.find("bob") is not None
        assert len(session.new) == 0
        session.commit()
    assert notify.inbox("ada").unread_count() == 1


async def test_an_async_session_without_autoflush_is_not_flushed(awaited: nk.AsyncEngine, async_database: Any) -> None:
    async with AsyncSession(async_database, autoflush=False) as session:
        session.add(nk_subscriber("bob"))
        await awaited.trigger(hello, session=session, **said("one"))
        assert len(session.new) == 1
        session.expunge_all()
        await session.commit()
    assert await awaited.inbox("ada").unread_count() == 1
