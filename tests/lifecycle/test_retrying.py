"""Retry beside a unit that has the job which would let the run go on: one job a step, and nobody waits for it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

import notifykit as nk
from notifykit.lifecycle.jobs import due_advances
from notifykit.model.codes import JobKind
from notifykit.store.database import Database
from tests.store.conftest import unit_of

mail = nk.Workflow(
    "mail",
    steps=[nk.Email("mail", subject="s", body="b", stop_on_fail=True), nk.InApp("bell", body="sent")],
)


def kinds(database: Database) -> list[int]:
    with database.transaction(write=False) as connection:
        return [kind for (kind,) in connection.exec_driver_sql("SELECT kind FROM notifykit_job")]


@pytest.mark.parametrize("ends", ["commits", "rolls back"])
def test_a_job_that_another_unit_has_is_left_to_deliver_the_message(server: str, ends: str) -> None:
    called: list[Any] = []

    def fails_once(message: Any) -> None:
        called.append(message)
        if len(called) == 1:
            raise nk.PermanentDeliveryError("no")

    other = Database.open(server)
    with nk.Engine(server, workflows=[mail]) as notify:
        notify.deliver("email")(fails_once)
        notify.trigger(mail(), to=nk.Recipient("ada", email="ada@example.com"))
        notify.drain(seconds=0)
        (failed,) = notify.messages.list(status="failed")
        now = notify._runtime.clock.now()
        ending = pytest.raises(KeyError) if ends == "rolls back" else nullcontext()
        with ending, unit_of(other, now=now) as unit:
            assert len(due_advances(unit, needs=[], limit=9)) == 1
            assert notify.messages.retry(failed) == 1
            assert kinds(other) == [JobKind.ADVANCE]
            if ends == "rolls back":
                raise KeyError
        report = notify.drain()
        assert (report.sent, report.failed, report.next_due) == (1, 0, None)
        assert [message.status for message in notify.messages.list()] == ["sent", "sent"]
        assert [attempt.number for attempt in notify.messages.get(failed.id).attempts] == [1, 2]
        assert [run.status for run in notify.runs.list()] == ["completed"]
        assert kinds(other) == []
    other.close()


def test_a_job_that_is_free_delivers_the_message_itself(url: str | None) -> None:
    if url is None:
        pytest.skip("nobody else can see a private memory")
    other = Database.open(url)
    with nk.Engine(url, workflows=[mail]) as notify:
        notify.trigger(mail(), to=nk.Recipient("ada", email="ada@example.com"))

        @notify.deliver("email")
        def fails(message: Any) -> None:
            raise nk.PermanentDeliveryError("no")

        notify.drain(seconds=0)
        assert kinds(other) == [JobKind.ADVANCE]
        assert notify.messages.retry(notify.messages.list(status="failed")) == 1
        assert kinds(other) == [JobKind.DELIVER]
        assert notify.messages.retry(notify.messages.list()) == 0
    other.close()
