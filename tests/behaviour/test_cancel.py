"""Cancel: what it stops, what it cannot, and that it says so."""

from __future__ import annotations

from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Job
from tests.behaviour.stories import STORIES, bodies, hello, kinds, mailed, people, shipped
from tests.harness.both import Both


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)
    people(notify, "ada", "bob")


def test_by_result(notify: Both) -> None:
    result = notify.trigger(shipped(order=1), to=["ada", "bob"])
    other = notify.trigger(shipped(order=2), to="ada")
    report = notify.cancel(result)
    assert (report.stopped, report.sent, report.in_flight, bool(report)) == (2, 2, 0, True)  # sent: the bells
    notify.travel(hours=1)
    assert [each.subject for each in notify.outside.sent] == ["Order 2"]
    assert {run.status for run in notify.runs.list(transaction_id=result.transaction_id)} == {"cancelled"}
    assert {run.status for run in notify.runs.list(transaction_id=other.transaction_id)} == {"completed"}
    assert (None, "run_cancelled", "cancelled") in kinds(notify, result, "ada")
    assert len(bodies(notify, "ada")) == 2


@pytest.mark.parametrize("how", ["given", "generated", "run"])
def test_by_text(notify: Both, how: str) -> None:
    options: Any = {"transaction_id": "mine"} if how == "given" else {}
    result = notify.trigger(shipped(order=1), to=["ada", "bob"], **options)
    if how == "run":
        run = next(run for run in notify.runs.list() if run.subscriber_id == "ada")
        assert notify.cancel(run.id).stopped == 1
        assert notify.runs.get(run.id).status == "cancelled"
    else:
        assert notify.cancel(result.transaction_id).stopped == 2
    notify.travel(hours=1)
    assert len(notify.outside.sent) == (1 if how == "run" else 0)


def test_by_workflow_and_by_subscriber(notify: Both) -> None:
    notify.trigger(shipped(order=1), to=["ada", "bob"])
    assert notify.cancel(workflow=shipped, subscriber="ada").stopped == 1
    assert notify.cancel(subscriber="bob").stopped == 1
    notify.trigger(shipped(order=2), to=["ada", "bob"])
    assert notify.cancel(workflow="order-shipped").stopped == 2
    assert notify.count(Job) == 0


def test_a_queued_message_is_stopped(notify: Both) -> None:
    result = notify.trigger(mailed(order=1), to=["ada", "bob"])
    report = notify.cancel(result)
    assert (report.stopped, report.sent) == (2, 0)
    assert notify.drain().sent == 0
    assert {message.status for message in notify.messages.list(transaction_id=result.transaction_id)} == {"cancelled"}
    assert notify.count(Job) == 0


def test_what_is_sent_stays_sent(notify: Both) -> None:
    result = notify.trigger(mailed(order=1), to=["ada", "bob"])
    notify.drain()
    report = notify.cancel(result)
    assert (report.stopped, report.sent, bool(report)) == (0, 2, False)
    assert {message.status for message in notify.messages.list()} == {"sent"}


def test_again_and_nothing_to_stop(notify: Both) -> None:
    result = notify.trigger(shipped(order=1), to="ada")
    assert notify.cancel(result).stopped == 1
    assert notify.cancel(result).stopped == 0
    done = notify.trigger(hello, to="ada")
    assert notify.cancel(done).stopped == 0


def test_what_is_unknown(notify: Both) -> None:
    for unknown in ("nonsense", "txn_123456", "run_123456"):
        with pytest.raises(nk.NotFoundError):
            notify.cancel(unknown)
    with pytest.raises(nk.NotFoundError):
        notify.cancel(workflow="nowhere")
    with pytest.raises(nk.InputError):
        notify.cancel()


def test_an_address_only_goes_with_its_cancelled_run(notify: Both) -> None:
    result = notify.trigger(shipped(order=1), to=nk.Recipient(email="new@example.com", first_name="New"))
    assert notify.cancel(result).stopped == 1
    notify.travel(hours=1)
    assert notify.outside.calls == []


def test_a_deleted_subscribers_runs_end(notify: Both) -> None:
    result = notify.trigger(shipped(order=1), to=["ada", "bob"])
    mail = notify.trigger(mailed(order=2), to="ada")
    notify.subscribers.delete("ada")
    notify.travel(hours=1)
    assert [(each.subscriber_id, each.subject) for each in notify.outside.sent] == [("bob", "Order 1")]
    assert notify.subscribers.find("ada") is None
    assert {run.status for run in notify.runs.list(transaction_id=result.transaction_id)} == {"cancelled", "completed"}
    assert [message.status for message in notify.messages.list(transaction_id=mail.transaction_id)] == ["cancelled"]
    assert notify.count(Job) == 0
