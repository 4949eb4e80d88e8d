"""Cancel: what it stops, what it cannot, and that it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import notifykit as nk
from notifykit.delivery.outcomes import Abandoned
from notifykit.model import Job
from tests.behaviour.stories import STORIES, bodies, everywhere, hello, kinds, mailed, people, shipped
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


def stopped(notify: Both, result: nk.TriggerResult) -> list[tuple[str | None, str, str | None]]:
    """What the trace tells of the messages of a trigger that were not sent."""
    return [line for line in kinds(notify, result) if line[1] == "message_skipped"]


def test_a_stopped_message_is_told_with_its_step(notify: Both) -> None:
    notify.subscribers.upsert("ada", phone="+100")
    heard: list[nk.MessageSkipped] = []
    notify.engine.on.message_skipped(heard.append)
    result = notify.trigger(everywhere, to="ada")
    assert notify.cancel(result).stopped == 2
    assert stopped(notify, result)[-2:] == [(step, "message_skipped", "cancelled") for step in ("mail", "text")]
    told = [(each.subscriber_id, each.step, each.reason) for each in heard if each.message is not None]
    assert told == [("ada", "mail", "cancelled"), ("ada", "text", "cancelled")]
    assert {each.message.status for each in heard if each.message is not None} == {"cancelled"}


@pytest.mark.uneven
@pytest.mark.parametrize("step", ["alone", "awaited"])
@pytest.mark.parametrize("ending", ["sent", "transient", "lost", "put off"])
def test_a_call_under_way_ends_but_is_not_made_again(house: Callable[..., Both], ending: str, step: str) -> None:
    workflow = nk.Workflow("code", steps=[nk.Email("mail", subject="s", body="b", stop_on_fail=step == "awaited")])
    notify = house(hooks=False, workflows=[workflow])
    people(notify, "ada", "bob")
    reports: list[nk.CancelReport] = []
    errors = {"transient": nk.TransientDeliveryError("busy"), "lost": Abandoned()}

    def after(report: nk.CancelReport) -> str:
        reports.append(report)
        if ending == "put off":
            notify.clock.move(minutes=2)
        if error := errors.get(ending):
            raise error
        return "receipt"

    async def awaited(message: nk.EmailMessage) -> str:
        return after(await notify.engine.cancel(result))

    notify.engine.deliver("email")(
        awaited if notify.notifier == "async" else lambda _: after(notify.engine.cancel(result))
    )
    result = notify.trigger("code", to=["ada", "bob"] if ending == "put off" else "ada")
    notify.travel(hours=2)
    assert [report.in_flight for report in reports] == [1]
    statuses = [message.status for message in notify.messages.list(transaction_id=result.transaction_id)]
    assert statuses == {"sent": ["sent"], "put off": ["cancelled", "sent"]}.get(ending, ["cancelled"])
    assert len(stopped(notify, result)) == statuses.count("cancelled")
    assert notify.count(Job) == 0
    if ending == "transient":
        assert notify.messages.retry(notify.messages.list()) == 0


@pytest.mark.uneven
def test_a_call_under_way_is_recorded_though_the_rest_of_its_run_is_stopped(house: Callable[..., Both]) -> None:
    """One job of the run is claimed, the other one is free: only that one goes."""
    steps = [nk.Email(name, subject=name, body="b") for name in ("first", "second")]
    notify = house(hooks=False, workflows=[nk.Workflow("twice", steps=steps)])
    people(notify, "ada")
    reports: list[nk.CancelReport] = []

    async def awaited(message: nk.EmailMessage) -> None:
        reports.append(await notify.engine.cancel(result))

    def hook(message: nk.EmailMessage) -> None:
        reports.append(notify.engine.cancel(result))

    notify.engine.deliver("email")(awaited if notify.notifier == "async" else hook)
    result = notify.trigger("twice", to="ada")
    assert notify.drain().sent == 1
    assert [(report.stopped, report.in_flight) for report in reports] == [(1, 1)]
    assert {each.step: each.status for each in notify.messages.list()} == {"first": "sent", "second": "cancelled"}
    assert [len(notify.messages.get(each.id).attempts) for each in notify.messages.list(status="sent")] == [1]
    assert notify.count(Job) == 0
