"""The loop of due work: what it takes, when it ends, what its report says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import notifykit as nk
from notifykit.testing import FakeClock
from notifykit.worker.claim_sizer import ClaimSizer
from tests.harness.statements import statements

mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")])
text = nk.Workflow("text", steps=[nk.Sms("text", body="b"), nk.InApp("bell", body="after", when="steps.text.delivery")])


@pytest.fixture
def notify() -> Iterator[nk.Engine]:
    with nk.Engine(workflows=[mail, text], clock=FakeClock()) as engine:
        yield engine


def people(count: int) -> list[nk.Recipient]:
    return [nk.Recipient(f"user-{n}", email=f"{n}@example.com", phone="+1") for n in range(count)]


def test_what_waits_for_a_provider_is_named_every_time(notify: nk.Engine) -> None:
    first = notify.trigger(mail(), to=people(3))
    second = notify.trigger(text(), to=people(2))
    waiting = {"email: no provider": 3, "sms: no provider": 2}
    assert dict(notify.drain().waiting_for) == waiting
    assert dict(notify.drain().waiting_for) == waiting
    assert dict(notify.drain(first).waiting_for) == {"email: no provider": 3}
    assert dict(notify.drain(second, seconds=9).waiting_for) == {"sms: no provider": 2}
    notify.deliver("email")(lambda message: None)
    assert dict(notify.drain().waiting_for) == {"sms: no provider": 2}


def test_something_is_done_in_any_case(notify: nk.Engine) -> None:
    notify.deliver("email")(lambda message: None)
    notify.trigger(mail(), to=people(3))
    assert [notify.drain(seconds=0).sent for _ in range(4)] == [1, 1, 1, 0]


def test_what_cannot_be_rendered_does_not_end_a_drain(notify: nk.Engine) -> None:
    notify.workflows.register(nk.Workflow("torn", steps=[nk.Email("mail", subject="s", body="{{ payload.x }}")]))
    notify.deliver("email")(lambda message: None)
    for _ in range(10):
        notify.trigger("torn", to=people(1))
    notify.trigger(mail(), to=people(1))
    report = notify.drain()
    assert (report.sent, report.failed, report.next_due) == (1, 10, None)


@pytest.mark.parametrize("seconds", [None, 5])
def test_nothing_due_takes_no_writers_lock(tmp_path: Path, seconds: float | None) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"
    later = nk.Workflow("later", steps=[nk.Delay("wait", hours=1)])
    with nk.Engine(url, workflows=[later]) as writer, nk.Engine(url, workflows=[later]) as idle:
        idle.trigger(later, to="ada")
        with writer.transaction() as unit:
            unit.subscribers.upsert("bob")
            report = idle.drain(seconds=seconds)
        assert (report.advanced, report.sent) == (0, 0)
        assert report.next_due is not None


@pytest.mark.parametrize("work", ["advance", "deliver"])
@pytest.mark.parametrize("holder", ["process", "thread"])
def test_a_budget_bounds_waiting_for_the_writer(tmp_path: Path, work: str, holder: str) -> None:
    url, clock = f"sqlite:///{tmp_path / 'app.db'}", FakeClock()
    later = nk.Workflow("later", steps=[nk.Delay("wait", hours=1)])
    with nk.Engine(url, workflows=[later, mail], clock=clock) as notify, nk.Engine(url, clock=clock) as other:
        notify.deliver("email")(lambda message: None)
        notify.trigger(later if work == "advance" else mail, to=people(3))
        clock.move(hours=2)
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with (other if holder == "process" else notify).transaction() as unit:
                unit.subscribers.upsert("bob")
                held.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(30)
        try:
            report = notify.drain(seconds=0.01)
            assert (report.advanced, report.sent) == (0, 0)
        finally:
            done.set()
            thread.join()
        report = notify.drain(seconds=20)
        assert (report.advanced, report.sent) == ((3, 0) if work == "advance" else (0, 3))


@pytest.mark.parametrize("ends", [True, False], ids=["soon", "late"])
def test_recording_what_was_sent_waits_a_moment_longer(tmp_path: Path, ends: bool) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"
    with nk.Engine(url, workflows=[mail]) as notify, nk.Engine(url) as other:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with other.transaction() as unit:
                unit.subscribers.upsert("bob")
                held.set()
                done.wait(30)

        thread = threading.Thread(target=hold)

        @notify.deliver("email")
        def send(message: nk.EmailMessage) -> None:
            thread.start()
            held.wait(30)
            if ends:
                threading.Timer(0.3, done.set).start()

        notify.trigger(mail(), to=people(1))
        assert notify.drain(seconds=0.01).sent == ends
        done.set()
        thread.join()
        assert notify.drain().sent == (not ends)
        assert [len(notify.messages.get(each.id).attempts) for each in notify.messages.list(status="sent")] == [1]


class Racing(FakeClock):
    """A clock on which an hour passes at every look."""

    def now(self) -> datetime:
        self._now += timedelta(hours=1)
        return self._now


def test_a_drain_without_a_provider_ends() -> None:
    with nk.Engine(workflows=[mail], clock=Racing()) as notify:
        notify.trigger(mail(), to=people(3))
        report = notify.drain()
        assert dict(report.waiting_for) == {"email: no provider": 3}


def test_a_call_that_outlives_its_lease_gives_the_rest_back() -> None:
    clock = FakeClock()
    with nk.Engine(workflows=[mail], clock=clock) as notify:
        taken: list[tuple[str, int]] = []

        @notify.deliver("email")
        def slow(message: nk.EmailMessage) -> None:
            taken.append((message.subscriber_id, message.attempt))
            clock.move(seconds=25)

        notify.trigger(mail(), to=people(5))
        assert notify.drain().sent == 5
        assert taken == [(f"user-{n}", 1) for n in range(5)]


def test_statements_do_not_grow_with_messages(notify: nk.Engine) -> None:
    notify.deliver("email")(lambda message: None)

    def cost(count: int) -> int:
        notify.trigger(mail(), to=people(count))
        with statements() as seen:
            assert notify.drain().sent == count
        return len(seen)

    cost(40)
    assert cost(2) == cost(40)


def test_quick_calls_are_claimed_in_larger_and_larger_batches(notify: nk.Engine) -> None:
    claimed: list[int] = []

    @notify.deliver("email")
    def quick(message: nk.EmailMessage) -> None:
        claimed.append(owned(notify))

    notify.trigger(mail(), to=people(700))
    assert notify.drain().sent == 700
    assert claimed[:4] == [1, 1, 2, 2]
    assert max(claimed) > 2


def test_a_claim_takes_what_begins_soon() -> None:
    sizer = ClaimSizer()
    assert (sizer.limit(1, 500), sizer.limit(8, 500)) == (1, 8)
    sizer.record(1, 0.0001)
    assert sizer.limit(1, 500) == 1  # one call is not much to go by
    sizer.record(99, 0.0099)
    assert (sizer.limit(1, 500), sizer.limit(1, 50)) == (100, 50)
    sizer.record(400, 0.04)
    assert sizer.limit(1, 1000) == 500
    sizer.record(1, 0.01)
    assert (sizer.limit(1, 500), sizer.limit(4, 500)) == (5, 20)
    sizer.record(1, 3.0)
    assert (sizer.limit(1, 500), sizer.limit(4, 500)) == (1, 4)


def test_a_slow_call_is_forgotten_by_halves() -> None:
    """One call that was quick by chance does not let a claim take many."""
    sizer = ClaimSizer()
    sizer.record(500, 0.005)
    sizer.record(1, 0.8)
    limits = []
    for _ in range(8):
        sizer.record(1, 0.0)
        limits.append(sizer.limit(1, 500))
    assert limits == [1, 1, 1, 1, 2, 4, 8, 16]


def owned(notify: nk.Engine) -> int:
    """How many jobs are claimed just now."""
    with notify._runtime.database.transaction(write=False) as connection:
        count: int = connection.exec_driver_sql("SELECT count(*) FROM notifykit_job WHERE owner <> ''").scalar_one()
        return count


def test_a_run_that_waits_for_the_outcome_goes_on_in_the_same_drain(notify: nk.Engine) -> None:
    notify.deliver("sms")(lambda message: None)
    notify.trigger(text(), to=people(3))
    report = notify.drain()
    assert (report.sent, report.advanced, report.next_due) == (3, 3, None)
    assert [message.body for message in notify.inbox("user-1").list()] == ["after"]


def test_work_scheduled_tells_of_what_was_deferred(notify: nk.Engine) -> None:
    heard: list[Any] = []
    notify.trigger(mail(), to=people(1))
    notify.on.work_scheduled(heard.append)
    report = notify.drain()
    assert [event.due_at for event in heard] == [report.next_due]


def test_a_trigger_that_stored_nothing_has_no_work(notify: nk.Engine) -> None:
    refused = notify.trigger(mail(), to=[])
    assert refused.status == "subscriber_id_missing"
    assert notify.drain(refused) == nk.DrainReport()


@pytest.mark.parametrize("given", [{"seconds": -1}, {"seconds": float("nan")}, {"seconds": "soon"}, {"only": "txn_1"}])
def test_what_is_no_budget_and_no_result(notify: nk.Engine, given: dict[str, Any]) -> None:
    with pytest.raises(nk.InputError):
        notify.drain(**given)


def test_what_a_claim_took_is_free_again_where_the_drain_never_heard_of_it(notify: nk.Engine) -> None:
    sent: list[str] = []
    notify.deliver("email")(lambda message: sent.append(message.subscriber_id))
    notify.trigger(mail(), to=people(2))
    notify.preferences.update("user-0", channels={"email": False})
    stopping = [KeyboardInterrupt]

    @notify.on.message_skipped
    def stop(event: Any) -> None:
        if stopping:
            raise stopping.pop()

    with pytest.raises(KeyboardInterrupt):
        notify.drain(concurrency=2)
    assert (owned(notify), sent) == (0, [])
    assert (notify.drain().sent, sent) == (1, ["user-1"])
    (message,) = notify.messages.list(status="sent")
    assert [each.number for each in notify.messages.get(message.id).attempts] == [1]
