"""One drain serves all environments, and does the work of each in its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert

import notifykit as nk
from notifykit.api.notifier import Notifier
from notifykit.model import Environment
from notifykit.model.scope import Scope
from notifykit.testing import FakeClock
from notifykit.unit_of_work.contexts import AutocommitContext
from tests.harness.leaks import orphans

ELSEWHERE = 7
later = nk.Workflow(
    "later",
    steps=[
        nk.Delay("wait", hours=1),
        nk.InApp("bell", body="for {{ subscriber.subscriber_id }}"),
        nk.Custom("score", lambda context: {"points": 1}),
        nk.Email("mail", subject="s", body="b", stop_on_fail=True),
        nk.InApp("after", body="it was sent"),
    ],
)


@pytest.fixture
def notify() -> Iterator[nk.Engine]:
    with nk.Engine(workflows=[later], clock=FakeClock()) as engine:
        engine.subscribers.upsert("ada", email="ada@example.com")
        yield engine


@pytest.fixture
def elsewhere(notify: nk.Engine) -> Notifier:
    """A notifier in another environment, for which there is no verb yet."""
    with notify._runtime.database.transaction(write=True) as connection:
        connection.execute(insert(Environment).values(id=ELSEWHERE, organization=1, key="elsewhere"))
    there = Notifier(AutocommitContext(notify._runtime, Scope(ELSEWHERE)))
    there.subscribers.upsert("ada", email="elsewhere@example.com")
    return there


def steps(notifier: Notifier) -> list[str]:
    return sorted(message.step for message in notifier.messages.list())


def skipped(notifier: Notifier) -> list[tuple[str | None, str | None]]:
    lines = notifier.executions.list(subscriber="ada")
    return [(line.step, line.reason) for line in lines if line.kind == "message_skipped"]


def test_a_choice_counts_in_its_own_environment_after_a_wait(notify: nk.Engine, elsewhere: Notifier) -> None:
    mailed: list[Any] = []
    notify.deliver("email")(mailed.append)
    notify.trigger(later(), to="ada")
    elsewhere.trigger("later", to="ada")
    elsewhere.preferences.update("ada", workflow="later", channels={"in_app": False})
    clock: Any = notify._runtime.clock
    clock.move(hours=1)
    report = notify.drain()
    assert (report.advanced, report.sent, report.next_due) == (6, 2, None)
    assert skipped(elsewhere) == [("bell", "preference"), ("after", "preference")]
    assert skipped(notify) == []
    assert (steps(notify), steps(elsewhere)) == (["after", "bell", "mail"], ["mail"])
    assert sorted(message.to[0] for message in mailed) == ["ada@example.com", "elsewhere@example.com"]
    assert [message.body for message in notify.inbox("ada").list()] == ["it was sent", "for ada"]
    assert elsewhere.inbox("ada").list().items == []
    with notify._runtime.database.transaction(write=False) as connection:
        assert not {what: rows for what, rows in orphans(connection).items() if rows}


def test_a_choice_of_the_default_environment_does_not_count_elsewhere(notify: nk.Engine, elsewhere: Notifier) -> None:
    notify.deliver("email")(lambda message: None)
    notify.preferences.update("ada", enabled=False)
    notify.trigger(later(), to="ada")
    result = elsewhere.trigger("later", to="ada")
    clock: Any = notify._runtime.clock
    clock.move(hours=1)
    notify.drain()
    assert (steps(notify), steps(elsewhere)) == ([], ["after", "bell", "mail"])
    assert notify.runs.list(transaction_id=result.transaction_id).items == []


def test_what_is_tried_again_stays_in_its_environment(notify: nk.Engine, elsewhere: Notifier) -> None:
    def refuse(message: Any) -> None:
        raise nk.PermanentDeliveryError("no")

    notify.deliver("email")(refuse)
    elsewhere.trigger("later", to="ada")
    clock: Any = notify._runtime.clock
    clock.move(hours=1)
    notify.drain()
    (failed,) = elsewhere.messages.list(status="failed")
    with pytest.raises(nk.NotFoundError):
        notify.messages.retry(failed)
    assert elsewhere.messages.retry(failed) == 1
    with notify._runtime.database.transaction(write=False) as connection:
        assert not {what: rows for what, rows in orphans(connection).items() if rows}
        jobs = connection.exec_driver_sql("SELECT environment FROM notifykit_job").all()
    assert [tuple(row) for row in jobs] == [(ELSEWHERE,)]
    assert elsewhere.cancel(workflow="later").stopped == 1
