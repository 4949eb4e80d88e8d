"""In a host's session: one transaction, no savepoint of ours, effects that follow the commit of what they are of."""

from __future__ import annotations

from contextlib import nullcontext
from time import monotonic
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import notifykit as nk
from tests.unit_of_work.conftest import hello, order, orders, said


def seen(notify: nk.Engine) -> int:
    return notify.inbox("ada").unread_count()


def test_it_commits_with_the_host(notify: nk.Engine, database: sa.Engine, heard: list[Any]) -> None:
    with Session(database) as session:
        order(session)
        result = notify.trigger(hello, session=session, **said("one"))
        assert result.status == "processed"
        assert heard == []
        session.commit()
    assert (heard, seen(notify), orders(database)) == (["one"], 1, 1)


@pytest.mark.parametrize("write_first", [True, False])
def test_it_rolls_back_with_the_host(
    notify: nk.Engine, database: sa.Engine, heard: list[Any], write_first: bool
) -> None:
    with Session(database) as session:
        if write_first:
            order(session)
        notify.trigger(hello, session=session, **said("one"))
        if not write_first:
            order(session)
        session.rollback()
        session.commit()
    assert (heard, seen(notify), orders(database)) == ([], 0, 0)


def test_leaving_the_session_without_a_commit_drops_everything(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    with Session(database) as session:
        notify.trigger(hello, session=session, **said("one"))
    assert (heard, seen(notify)) == ([], 0)


def test_no_savepoint_no_commit_no_rollback_of_ours(notify: nk.Engine, database: sa.Engine) -> None:
    words: list[str] = []
    with Session(database) as session:
        connection = session.connection()
        for name in ("savepoint", "release_savepoint", "rollback_savepoint", "commit", "rollback"):
            event.listen(connection, name, lambda *args, name=name: words.append(name))
        notifier = notify.within(session)
        notifier.subscribers.upsert("ada", first_name="Ada")
        notifier.trigger_bulk([{"name": "hello", "to": "ada", "payload": {"name": "x"}}] * 3)
        with pytest.raises(nk.NotFoundError):
            notifier.trigger("nothing", to="ada")
        assert words == []
        session.rollback()
    assert notify.subscribers.find("ada") is None


def test_savepoints_of_the_host_decide_over_what_was_made_in_them(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    with Session(database) as session:
        order(session)
        notify.trigger(hello, session=session, **said("root"))
        with session.begin_nested():
            notify.trigger(hello, session=session, **said("released"))
            inner = session.begin_nested()
            notify.trigger(hello, session=session, **said("rolled back"))
            inner.rollback()
            notify.trigger(hello, session=session, **said("after"))
        outer = session.begin_nested()
        with session.begin_nested():
            notify.trigger(hello, session=session, **said("released, then rolled back"))
        outer.rollback()
        notify.trigger(hello, session=session, **said("last"))
        assert heard == []
        session.commit()
    assert heard == ["root", "released", "after", "last"]
    assert seen(notify) == 4


@pytest.mark.parametrize("hours", [(1, 2, 3), (2, 1, 3), (3, 2, 1)], ids=str)
@pytest.mark.parametrize("nested", [False, True], ids=["session", "savepoints"])
def test_work_scheduled_tells_the_earliest_of_what_is_due(
    notify: nk.Engine, database: sa.Engine, nested: bool, hours: tuple[int, ...]
) -> None:
    heard: list[Any] = []
    notify.on.work_scheduled(heard.append)
    for each in hours:
        notify.workflows.register(nk.Workflow(f"in-{each}", steps=[nk.Delay("wait", hours=each)]))
    with Session(database) as session:
        for each in hours:
            with session.begin_nested() if nested else nullcontext():
                notify.trigger(f"in-{each}", to="ada", session=session)
        session.commit()
    report = notify.drain()
    assert report.next_due is not None
    assert [event.due_at for event in heard] == [report.next_due]


def test_a_session_may_be_used_again_after_its_commit(notify: nk.Engine, database: sa.Engine, heard: list[Any]) -> None:
    with Session(database) as session:
        for text in ("one", "two"):
            notify.trigger(hello, session=session, **said(text))
            session.commit()
        notify.trigger(hello, session=session, **said("three"))
        session.rollback()
        notify.trigger(hello, session=session, **said("four"))
        session.commit()
    assert heard == ["one", "two", "four"]


def test_a_failed_commit_is_followed_by_nothing(notify: nk.Engine, database: sa.Engine, heard: list[Any]) -> None:
    with Session(database) as session:
        notify.trigger(hello, session=session, **said("one"))

        def broken(connection: Any) -> None:
            raise RuntimeError("the disk is full")

        event.listen(session.connection(), "commit", broken)
        with pytest.raises(RuntimeError):
            session.commit()
    assert (heard, seen(notify)) == ([], 0)


def test_a_transaction_of_the_hosts_that_is_given_up_is_left_to_the_host(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    deadlock = type("Deadlock", (Exception,), {"sqlstate": "40P01"})
    failed: list[str] = []

    @event.listens_for(database, "before_cursor_execute")
    def fail(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("INSERT INTO notifykit_run") and not failed:
            failed.append(statement)
            raise sa.exc.OperationalError(statement, None, deadlock("deadlock detected"))

    with Session(database) as session:
        with pytest.raises(nk.StorageError, match="run it again"):
            notify.trigger(hello, session=session, **said("one"))
        session.rollback()
        notify.trigger(hello, session=session, **said("one"))
        session.commit()
    assert (heard, seen(notify)) == (["one"], 1)


def test_a_session_is_flushed_when_it_is_joined(notify: nk.Engine, database: sa.Engine) -> None:
    flushed: list[bool] = []
    with Session(database) as session:
        event.listen(session, "before_flush", lambda *args: flushed.append(True))
        session.add(nk_subscriber("bob"))
        assert notify.within(session).subscribers.get("bob").first_name == "Bob"
        assert flushed


def nk_subscriber(key: str) -> Any:
    from datetime import UTC, datetime

    from notifykit.model import Subscriber

    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Subscriber(
        id=10_000, environment=1, subscriber_id=key, first_name=key.title(), created_at=moment, updated_at=moment
    )


def test_observers_may_open_a_unit_of_their_own(url: str, notify: nk.Engine) -> None:
    database = sa.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=1)
    counts: list[int] = []
    with nk.Engine(bind=database, workflows=[hello]) as engine:
        engine.migrate()
        engine.on.trigger_processed(lambda event: counts.append(engine.inbox("ada").unread_count()))
        with Session(database) as session:
            engine.trigger(hello, session=session, **said("one"))
            session.commit()
        with Session(database) as session, session.begin():
            engine.trigger(hello, session=session, **said("two"))
    database.dispose()
    assert counts == [1, 2]


def test_a_scoped_session_is_joined_whichever_is_current(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    sessions = scoped_session(sessionmaker(database))
    notifier = notify.within(sessions)
    notifier.trigger(hello, **said("one"))
    sessions.commit()
    sessions.remove()
    notifier.trigger(hello, **said("two"))
    sessions.rollback()
    sessions.remove()
    assert heard == ["one"]


def test_a_session_on_a_connection_waits_for_the_connection(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    with database.connect() as connection:
        for end in ("rollback", "commit"):
            transaction = connection.begin()
            order(connection)  # or the driver's default mode would make a COMMIT of the session's first RELEASE
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                order(session)
                notify.trigger(hello, session=session, **said(end))
                session.commit()
            assert heard == []
            getattr(transaction, end)()
    assert seen(notify) == 1
    assert heard == ["commit"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_is_read_in_a_session_on_a_connection(notify: nk.Engine, database: sa.Engine, end: str) -> None:
    read: list[Any] = []
    notify.on.message_read(read.append)
    notify.trigger(hello, **said("one"))
    with database.connect() as connection, Session(connection) as session:
        order(connection)
        assert notify.within(session).inbox("ada").mark_all("read") == 1
        session.commit()
        assert read == []
        getattr(connection, end)()
    assert seen(notify) == (0 if end == "commit" else 1)
    assert len(read) == (end == "commit")


def test_tables_are_made_on_another_connection_before_the_first_statement(url: str, database: sa.Engine) -> None:
    with nk.Engine(bind=database, workflows=[hello]) as engine, Session(database) as session:
        engine.trigger(hello, session=session, **said("one"))
        session.rollback()
        assert engine.inbox("ada").unread_count() == 0


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_no_tables_and_no_wal_while_the_host_writes(url: str, database: sa.Engine, lock: str) -> None:
    """The host waits for us, so waiting for the host as long as usual would be in vain."""
    with nk.Engine(url, workflows=[hello]) as engine, database.connect() as connection:
        connection.exec_driver_sql(lock)
        order(connection)
        began = monotonic()
        with pytest.raises(nk.SchemaError, match=r"notify.migrate\(\) at start-up"):
            engine.trigger(hello, session=connection, **said("one"))
        assert monotonic() - began < 15
        connection.commit()
        assert engine.trigger(hello, session=connection, **said("one")).status == "processed"
        connection.commit()
        assert engine.inbox("ada").unread_count() == 1
    assert orders(database) == 1


def test_tables_without_wal_while_the_host_writes(url: str, database: sa.Engine) -> None:
    with nk.Engine(bind=database) as engine:
        engine.migrate()
    with nk.Engine(url, workflows=[hello]) as engine:
        with database.connect() as connection:
            order(connection)
            began = monotonic()
            assert engine.trigger(hello, session=connection, **said("one")).status == "processed"
            assert monotonic() - began < 15
            connection.commit()
        assert engine.inbox("ada").unread_count() == 1
    database.dispose()  # a connection that was there before does not know
    with database.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_where_the_tables_cannot_be_made_it_says_what_to_do(url: str, database: sa.Engine) -> None:
    with database.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    with nk.Engine(url, workflows=[hello]) as engine, Session(database) as session:
        order(session)
        with pytest.raises(nk.SchemaError, match=r"notify.migrate\(\) at start-up"):
            engine.trigger(hello, session=session, **said("one"))
        session.commit()
    assert orders(database) == 1


def test_an_exception_in_the_middle_leaves_the_rollback_to_the_host(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    def rows() -> Any:
        yield from ({"name": "hello", "to": f"user-{n}", "payload": {"name": "x"}} for n in range(3))
        raise RuntimeError("the source broke")

    notify._runtime.chunk = 2
    with Session(database) as session:
        order(session)
        with pytest.raises(RuntimeError, match="the source broke"):
            notify.trigger_bulk(rows(), session=session)
        session.rollback()
    assert (heard, orders(database)) == ([], 0)
    assert notify.subscribers.find("user-0") is None
