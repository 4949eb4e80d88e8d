"""On a bare Connection nobody tells how the transaction ended: the rows are asked at the engine's next call."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from tests.unit_of_work.conftest import hello, order, orders, said


def test_effects_wait_for_the_next_call_after_the_commit(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    with database.connect() as connection:
        order(connection)
        notify.trigger(hello, session=connection, **said("one"))
        notify.subscribers.find("ada")
        assert heard == []
        connection.commit()
    assert heard == []
    assert notify.subscribers.find("ada") is not None
    assert (heard, orders(database)) == (["one"], 1)
    assert notify._runtime.pending == []


def test_what_was_rolled_back_is_dropped(notify: nk.Engine, database: sa.Engine, heard: list[Any]) -> None:
    with database.connect() as connection:
        notify.trigger(hello, session=connection, **said("one"))
        order(connection)
        connection.rollback()
        notify.trigger(hello, session=connection, **said("two"))
        connection.commit()
    assert notify.drain().sent == 0
    assert (heard, orders(database)) == (["two"], 0)
    assert notify._runtime.pending == []


@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_a_bulk_of_several_chunks(notify: nk.Engine, database: sa.Engine, heard: list[Any], how: str) -> None:
    finished: list[Any] = []
    notify.on.bulk_finished(lambda event: finished.append(event.counts))
    notify._runtime.chunk = 2
    with database.connect() as connection:
        wires = [{"name": "hello", "to": "ada", "payload": {"name": "x"}, "transactionId": f"n{n}"} for n in range(5)]
        notify.trigger_bulk(wires, session=connection)
        getattr(connection, how)()
    notify.drain()
    assert heard == ([f"n{n}" for n in range(5)] if how == "commit" else [])
    assert finished == ([{"processed": 5}] if how == "commit" else [])


def test_a_savepoint_that_was_rolled_back_takes_its_effects_along(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    with database.begin() as connection:
        order(connection)
        notify.trigger(hello, session=connection, **said("one"))
        inner = connection.begin_nested()
        notify.trigger(hello, session=connection, **said("two"))
        inner.rollback()
    notify.drain()
    assert heard == ["one"]


def test_an_id_that_was_rolled_back_and_handed_out_again_tells_of_its_second_owner_only(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    late = nk.Workflow("late", steps=[nk.InApp("bell", body="Late")])
    with database.begin() as connection:
        order(connection)
        outer = connection.begin_nested()
        notify.workflows.register(late)
        with connection.begin_nested():
            notify.trigger(hello, session=connection, **said("released"))
        inner = connection.begin_nested()
        notify.trigger(late, to="ada", transaction_id="undone", session=connection)
        inner.rollback()
        notify.trigger(hello, session=connection, **said("kept"))
        outer.commit()
    notify.drain()
    assert heard == ["released", "kept"]
    assert notify._runtime.pending == []
    notify.trigger(late, to="ada")
    assert next(iter(notify.inbox("ada").list())).workflow == "late"


def test_a_connection_that_was_closed_or_forgotten_is_no_leak(
    notify: nk.Engine, database: sa.Engine, heard: list[Any]
) -> None:
    with database.connect() as connection:
        notify.trigger(hello, session=connection, **said("one"))
    notify.drain()
    assert heard == []
    assert notify._runtime.pending == []


def test_closing_the_engine_says_what_was_still_to_be_said(url: str, notify: nk.Engine, database: sa.Engine) -> None:
    heard: list[Any] = []
    with nk.Engine(url, workflows=[hello]) as engine:
        engine.on.trigger_processed(heard.append)
        with database.begin() as connection:
            engine.trigger(hello, session=connection, **said("one"))
    assert len(heard) == 1


@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_a_shared_connection_in_memory(how: str) -> None:
    database = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    heard: list[Any] = []
    with nk.Engine(bind=database, workflows=[hello]) as engine:
        engine.migrate()
        engine.on.trigger_processed(heard.append)
        with database.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
            order(connection)
            engine.trigger(hello, session=connection, **said("one"))
            with pytest.raises(nk.UnitError, match="session="):
                engine.subscribers.find("ada")
            getattr(connection, how)()
        assert (engine.subscribers.find("ada") is not None) is (how == "commit")
    assert len(heard) == (how == "commit")
    database.dispose()
