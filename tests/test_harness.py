"""The test suite's own tools find what they are there to find."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.model import Job, Run
from tests.harness import leaks
from tests.harness.both import Both
from tests.harness.dump import dump
from tests.harness.statements import statements

waiting = nk.Workflow("waiting", steps=[nk.Delay("wait", hours=1), nk.InApp("bell", body="{{ payload.n }}")])


def test_a_thread_left_alive_is_found() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left")
    with pytest.raises(AssertionError, match="left"), leaks.watched(patience=0.05):
        thread.start()
    stop.set()
    thread.join()


def test_a_connection_left_out_is_found() -> None:
    engine = sa.create_engine("sqlite://")
    with pytest.raises(AssertionError, match="connections left out"), leaks.watched():
        connection = engine.connect()
    connection.close()
    engine.dispose()


@pytest.mark.orphaned
@pytest.mark.uneven
def test_an_orphan_row_is_found(notify: Both) -> None:
    notify.workflows.register(waiting)
    notify.trigger(waiting, to="ada", payload={"n": 1})
    assert notify.read(leaks.orphans) == {}
    _write(notify, sa.delete(Job))
    assert list(notify.read(leaks.orphans)) == ["waiting runs that nothing wakes"]
    _write(notify, sa.delete(Run))
    assert notify.read(leaks.orphans) == {}


def test_dumps_are_equal_but_for_what_differs() -> None:
    dumps = []
    for start, n in ((0, 1), (5, 1), (0, 2)):
        notify = Both("sync", None, workflows=[waiting])
        notify.clock.move(days=start)
        notify.start += timedelta(days=start)
        for _ in range(start):
            notify.subscribers.upsert("takes an id")
            notify.subscribers.delete("takes an id")
        notify.trigger(waiting, to="ada", payload={"n": n})
        dumps.append(notify.read(lambda connection, notify=notify: dump(connection, notify.start)))  # type: ignore[misc]
        notify.finish()
    first, later, other = dumps
    assert first == later
    assert first != other
    assert first["job"][0]["due_at"] == "+3600s"


def test_statements_are_seen_on_every_notifier_and_database(notify: Both) -> None:
    notify.subscribers.upsert("ada")
    with statements() as seen:
        notify.subscribers.get("ada")
    assert len(seen.of("select", "notifykit_subscriber")) >= 1
    assert seen.writes == []


def _write(notify: Both, statement: Any) -> None:
    database = notify.engine._runtime.database
    if notify.notifier == "sync":
        with database.transaction(write=True) as connection:
            connection.execute(statement)
        return

    async def write() -> None:
        async with database.transaction(write=True) as transaction:
            await transaction.call(lambda connection: connection.execute(statement))

    notify.wait(write())
