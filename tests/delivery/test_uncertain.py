"""Calls whose end nobody saw: crashes, leases that run out, workers that come back from the dead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import notifykit as nk
from notifykit.model import Job
from notifykit.testing import FakeClock, Kit, sandbox

code = nk.Workflow("code", steps=[nk.Email("mail", subject="Your code", body="{{ payload.code }}")])
ADA = nk.Recipient("ada", email="ada@example.com")
BOB = nk.Recipient("bob", email="bob@example.com")


@pytest.fixture
def notify() -> Iterator[nk.Engine]:
    with nk.Engine(workflows=[code]) as engine:
        yield engine


@pytest.fixture
def kit(notify: nk.Engine) -> Iterator[Kit]:
    with sandbox(notify) as kit:
        yield kit


def attempts(notify: nk.Engine) -> list[tuple[int, str]]:
    (message,) = notify.messages.list()
    return [(attempt.number, attempt.outcome) for attempt in notify.messages.get(message.id).attempts]


def test_a_crash_in_the_call(notify: nk.Engine, kit: Kit) -> None:
    kit.fail("email", "crash", times=1)
    notify.trigger(code(code=1), to=ADA)
    report = kit.drain()
    assert (report.sent, report.failed, report.next_due) == (0, 0, kit.now + timedelta(seconds=60))
    assert kit.travel(seconds=59).sent == 0
    assert kit.travel(seconds=1).sent == 1
    assert kit.outbox.one(code, to="ada").attempt == 2
    assert attempts(notify) == [(1, "unknown"), (2, "sent")]
    story = [line.kind for line in notify.executions.list(subscriber="ada") if line.step == "mail"]
    assert story == ["message_queued", "attempt", "attempt", "message_sent"]


def test_the_key_is_the_same_after_a_crash(notify: nk.Engine, kit: Kit) -> None:
    kit.fail("email", times=1)
    notify.trigger(code(code=1), to=ADA)
    kit.drain()
    kit.fail("email", "crash", times=1)
    kit.travel(hours=1)
    (message,) = notify.messages.list()
    assert kit.outbox.one(code).idempotency_key == message.id
    assert attempts(notify) == [(1, "transient"), (2, "unknown"), (3, "sent")]


def test_what_crashes_every_process_is_given_up(notify: nk.Engine, kit: Kit) -> None:
    kit.fail("email", "crash")
    notify.trigger(code(code=1), to=ADA)
    report = kit.travel(hours=1)
    assert (report.sent, report.failed, report.next_due) == (0, 1, None)
    (message,) = notify.messages.list(status="failed")
    assert "given up" in (message.reason or "")
    assert attempts(notify) == [(number, "unknown") for number in (1, 2, 3, 4)]
    kit.fail("email", times=0)
    assert notify.messages.retry(message) == 1
    assert kit.drain().sent == 1
    assert attempts(notify)[-1] == (5, "sent")


def test_a_failure_that_is_told_ends_a_row_of_crashes(notify: nk.Engine, kit: Kit) -> None:
    """Only processes that end in a call one after the other are too many."""
    kit.fail("email", "crash", times=2)
    notify.trigger(code(code=1), to=ADA)
    kit.travel(seconds=119)
    kit.fail("email", "transient", times=1)
    kit.travel(seconds=1)
    kit.fail("email", "crash", times=2)
    kit.travel(hours=1)
    told = ["unknown", "unknown", "transient", "unknown", "unknown", "sent"]
    assert attempts(notify) == list(enumerate(told, 1))


def test_a_worker_that_was_thought_dead_changes_nothing(tmp_path: Path) -> None:
    clock, heard = FakeClock(), list[str]()
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    first, second = nk.Engine(url, workflows=[code], clock=clock), nk.Engine(url, workflows=[code], clock=clock)

    @first.deliver("email")
    def slow(message: nk.EmailMessage) -> str:
        clock.move(seconds=60)
        assert second.drain().sent == 2
        return "from the dead"

    @second.deliver("email")
    def quick(message: nk.EmailMessage) -> str:
        return "alive"

    first.on.message_sent(lambda event: heard.append("first"))
    second.on.message_sent(lambda event: heard.append("second"))
    first.trigger(code(code=1), to=[ADA, BOB])
    report = first.drain()
    assert (report.sent, report.failed, report.next_due) == (0, 0, None)
    told = {
        message.subscriber_id: [
            (each.number, each.outcome, each.provider_id) for each in second.messages.get(message.id).attempts
        ]
        for message in second.messages.list()
    }
    assert told == {"ada": [(1, "unknown", None), (2, "sent", "alive")], "bob": [(1, "sent", "alive")]}
    assert heard == ["second", "second"]
    first.close()
    second.close()


def test_what_was_sent_before_an_interrupt_is_recorded() -> None:
    clock, taken = FakeClock(), list[str]()
    notify = nk.Engine(workflows=[code], clock=clock)

    @notify.deliver("email")
    def send(message: nk.EmailMessage) -> None:
        if len(taken) == 1:
            taken.append("interrupt")
            raise KeyboardInterrupt
        taken.append(message.subscriber_id)

    notify.trigger(code(code=1), to=[ADA, BOB])
    with pytest.raises(KeyboardInterrupt):
        notify.drain()
    assert [message.status for message in notify.messages.list()] == ["queued", "sent"]
    assert notify.drain().next_due == clock.now() + timedelta(seconds=60)
    clock.move(seconds=60)
    assert notify.drain().sent == 1
    assert taken == ["ada", "interrupt", "bob"]
    notify.close()


def test_nothing_of_it_is_left(notify: nk.Engine, kit: Kit) -> None:
    kit.fail("email", "crash", times=2)
    notify.trigger(code(code=1), to=[ADA, nk.Recipient(email="x@example.com")])
    kit.travel(hours=1)
    assert kit.outbox.one(to="x@example.com").subscriber_id == ""
    with notify.transaction() as notifier:
        unit = notifier.subscribers._context._unit  # type: ignore[union-attr]
        assert unit.connection.exec_driver_sql(f"SELECT count(*) FROM {Job.__tablename__}").scalar() == 0
        listed = unit.connection.exec_driver_sql("SELECT subscriber_id FROM notifykit_subscriber").scalars().all()
    assert listed == ["ada"]
