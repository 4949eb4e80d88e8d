"""What is told afterwards: runs, messages, executions in order of time, and observers after the commit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Content, Message
from tests.behaviour.stories import STORIES, bodies, hello, mailed, ordered, people, shipped
from tests.harness.both import Both


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)
    people(notify, "ada", "bob")


def test_a_whole_story(notify: Both) -> None:
    result = notify.trigger(shipped(order=1), to="ada")
    notify.travel(hours=1)
    lines = notify.executions.list(transaction_id=result.transaction_id)
    assert [(line.step, line.kind) for line in lines] == [
        (None, "event_processed"),
        ("bell", "message_sent"),
        ("wait", "step_waiting"),
        ("wait", "step_completed"),
        ("mail", "message_queued"),
        (None, "run_completed"),
        ("mail", "attempt"),
        ("mail", "message_sent"),
    ]
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert {line.transaction_id for line in lines} == {result.transaction_id}
    assert [line.subscriber_id for line in lines][:2] == ["", "ada"]
    assert notify.executions.list(transaction_id="unknown") == []
    assert {line.subscriber_id for line in notify.executions.list(subscriber="ada")} == {"ada"}


def test_every_recipient_ends_in_one_record(notify: Both) -> None:
    notify.preferences.update("bob", enabled=False)
    result = notify.trigger(hello, to=["ada", "bob", "", "cem"])
    ended = [(line.subscriber_id, line.kind) for line in notify.executions.list(transaction_id=result.transaction_id)]
    assert sorted(who for who, kind in ended if kind == "run_completed") == ["ada", "bob", "cem"]
    assert [who for who, kind in ended if kind == "recipient_refused"] == [""]


def test_runs(notify: Both) -> None:
    first = notify.trigger(shipped(order=1), to=["ada", "bob"], transaction_id="one")
    notify.clock.move(seconds=1)
    second = notify.trigger(hello, to="ada")
    assert [run.workflow for run in notify.runs.list()] == ["hello", "order-shipped", "order-shipped"]
    assert {run.subscriber_id for run in notify.runs.list(transaction_id="one")} == {"ada", "bob"}
    assert [run.transaction_id for run in notify.runs.list(transaction_id=second.transaction_id)] == [
        second.transaction_id
    ]
    assert len(notify.runs.list(subscriber="ada")) == 2
    assert len(notify.runs.list(workflow=shipped)) == 2
    assert len(notify.runs.list(status="waiting")) == 2
    assert len(notify.runs.list(status=["waiting", "completed"])) == 3
    (run,) = notify.runs.list(workflow="hello")
    assert notify.runs.get(run.id) == run
    assert (run.status, run.finished_at, run.version) == ("completed", notify.clock.now(), hello.hash)
    page = notify.runs.list(limit=2)
    rest = notify.runs.list(limit=2, after=page.next)
    assert len({run.id for run in [*page, *rest]}) == 3
    assert first.transaction_id == "one"
    with pytest.raises(nk.NotFoundError):
        notify.runs.get("run_123456")


SKIPS: dict[str, list[nk.Step]] = {
    "condition": [nk.InApp("off", body="b", when="payload.on"), nk.Custom("then", lambda context: None, pure=True)],
    "no_address": [nk.InApp("off", body="b", when="payload.on"), nk.Sms("text", body="b")],
}
WAITS: dict[str, list[nk.Step]] = {
    "at once": [],
    "after a delay": [nk.Delay("wait", hours=1), nk.Custom("late", lambda context: None, pure=True)],
}


@pytest.mark.parametrize("waits", WAITS)
@pytest.mark.parametrize("reason", SKIPS)
def test_a_run_without_a_message_keeps_the_reason_of_its_last_skip(notify: Both, reason: str, waits: str) -> None:
    """Whatever it does afterwards without a reason."""
    notify.workflows.register(nk.Workflow("quiet", steps=[*SKIPS[reason], *WAITS[waits]]))
    result = notify.trigger("quiet", to="ada", payload={"on": False})
    notify.travel(hours=1)
    (run,) = notify.runs.list(transaction_id=result.transaction_id)
    assert (run.status, run.reason) == ("completed", reason)


@pytest.mark.parametrize("waits", WAITS)
def test_a_queued_message_leaves_its_run_without_a_reason(notify: Both, waits: str) -> None:
    steps = [nk.Email("mail", subject="s", body="b"), *WAITS[waits], nk.InApp("off", body="b", when="payload.on")]
    notify.workflows.register(nk.Workflow("loud", steps=steps))
    result = notify.trigger("loud", to="ada", payload={"on": False})
    if waits == "after a delay":
        notify.travel(hours=1)
    (run,) = notify.runs.list(transaction_id=result.transaction_id)
    assert (run.status, run.reason) == ("completed", None)


def test_messages(notify: Both) -> None:
    notify.trigger(shipped(order=1), to="ada", transaction_id="one")
    notify.trigger(mailed(order=2), to="bob")
    notify.drain()
    assert [(each.workflow, each.channel, each.status) for each in notify.messages.list()] == [
        ("mailed", "email", "sent"), ("order-shipped", "in_app", "sent"),
    ]  # fmt: skip
    assert [each.step for each in notify.messages.list(transaction_id="one")] == ["bell"]
    assert [each.step for each in notify.messages.list(channel="email")] == ["mail"]
    assert [each.step for each in notify.messages.list(workflow=mailed)] == ["mail"]
    assert [each.step for each in notify.messages.list(subscriber="ada")] == ["bell"]
    assert len(notify.messages.list(status=["sent", "queued"])) == 2
    assert len(notify.messages.list(since=notify.clock.now())) == 2
    assert [each.id for each in notify.messages.each()] == [each.id for each in notify.messages.list()]
    details = notify.messages.get(notify.messages.list(channel="in_app").items[0].id)
    assert (details.subject, details.body, details.attempts) == ("Shipped", "Order 1 is on its way, Ada", ())
    with pytest.raises(nk.InputError, match="status"):
        notify.messages.list(status="snet")
    with pytest.raises(nk.InputError):
        notify.messages.list(since=notify.clock.now().replace(tzinfo=None))


def test_text_that_is_the_same_for_all_is_told_for_each(notify: Both) -> None:
    notify.trigger(ordered(order=7), to=["ada", "bob"])
    assert (bodies(notify, "ada"), bodies(notify, "bob")) == (["7 by ups"], ["7 by ups"])
    assert {notify.messages.get(each.id).body for each in notify.messages.list()} == {"7 by ups"}


def test_text_of_a_fan_out_that_is_the_same_for_all_is_kept_once(notify: Both) -> None:
    """Whoever has a payload of their own has a text of their own; a template that names the subscriber has many."""
    notify.topics.add("team", ["ada", "bob"])
    own = nk.Recipient("cem", payload={"order": 8})
    notify.trigger(ordered(order=7), to=[own, nk.Topic("team")])
    assert [bodies(notify, who) for who in ("ada", "bob", "cem")] == [["7 by ups"], ["7 by ups"], ["8 by ups"]]
    assert (notify.count(Content), notify.count(Message, Message.body.is_not(None))) == (1, 1)
    assert {notify.messages.get(each.id).body for each in notify.messages.list()} == {"7 by ups", "8 by ups"}
    notify.trigger("greeting", to=nk.Topic("team"))
    assert bodies(notify, "bob")[0] == "Dear Bob"
    assert (notify.count(Content), notify.count(Message, Message.body.is_not(None))) == (1, 3)


def test_observers_hear_after_the_commit(notify: Both) -> None:
    heard: list[tuple[str, Any]] = []
    for name in (
        "trigger_processed",
        "message_created",
        "message_queued",
        "message_sent",
        "run_finished",
        "work_scheduled",
        "message_read",
        "message_seen",
    ):

        def note(event: Any, name: str = name) -> None:
            heard.append((name, event))

        getattr(notify.engine.on, name)(note)
    result = notify.trigger(shipped(order=1), to="ada")
    names = [name for name, _ in heard]
    assert names.count("trigger_processed") == names.count("work_scheduled") == 1
    assert "message_queued" not in names
    processed = next(event for name, event in heard if name == "trigger_processed")
    assert (processed.transaction_id, processed.workflow, processed.recipients) == (
        result.transaction_id,
        "order-shipped",
        1,
    )
    heard.clear()
    notify.travel(hours=1)
    names = [name for name, _ in heard]
    assert [name for name in names if name.startswith(("message", "run"))] == [
        "message_created",
        "message_queued",
        "run_finished",
        "message_sent",
    ] or set(names) >= {"message_queued", "run_finished", "message_sent"}
    heard.clear()
    (message,) = notify.inbox("ada").list()
    notify.inbox("ada").mark("read", message.id)
    assert "message_read" in [name for name, _ in heard]


@pytest.mark.own
@pytest.mark.parametrize("hours", [(1, 2, 3), (2, 1, 3), (3, 2, 1)], ids=str)
@pytest.mark.parametrize("how", ["one trigger", "bulk", "transaction"])
def test_work_scheduled_tells_the_earliest_of_what_is_due(notify: Both, how: str, hours: tuple[int, ...]) -> None:
    workflow = nk.Workflow("dated", steps=[nk.Delay("wait", until="payload.at"), nk.InApp("bell", body="b")])
    notify.workflows.register(workflow)
    notify.engine._runtime.chunk = 1
    heard: list[Any] = []
    notify.engine.on.work_scheduled(heard.append)
    start = notify.clock.now()
    payloads = [{"at": (start + timedelta(hours=each)).isoformat()} for each in hours]
    if how == "one trigger":
        notify.engine._runtime.chunk = 500
        to = [nk.Recipient(f"user-{n}", payload=payload) for n, payload in enumerate(payloads)]
        notify.trigger("dated", to=to, payload=payloads[0])
    elif how == "bulk":
        notify.trigger_bulk([nk.Trigger("dated", to="ada", payload=payload) for payload in payloads])
    else:
        with notify.transaction() as unit:
            for payload in payloads:
                unit.trigger("dated", to="ada", payload=payload)
    assert [event.due_at for event in heard] == [start + timedelta(hours=1)]


def test_an_observer_never_breaks_what_it_observes(notify: Both) -> None:
    failed: list[Any] = []
    seen: list[str] = []

    def broken(event: Any) -> None:
        raise RuntimeError("observer")

    notify.engine.on.hook_failed(failed.append)
    notify.engine.on.message_sent(broken)
    notify.engine.on.message_sent(lambda event: seen.append(event.message.channel))
    notify.engine.on.message_sent(channel="email")(lambda event: seen.append("filtered"))
    assert notify.trigger(mailed(order=1), to="ada").recipients == 1
    assert notify.drain().sent == 1
    assert seen == ["email", "filtered"]
    assert len(failed) == 1
    assert "observer" in failed[0].error


def test_an_observer_may_use_the_engine(notify: Both) -> None:
    if notify.notifier == "async":

        async def again(event: Any) -> None:
            await notify.engine.trigger(ordered(order=1), to=event.subscriber_id)
    else:

        def again(event: Any) -> None:
            notify.engine.trigger(ordered(order=1), to=event.subscriber_id)

    notify.engine.on.run_finished(workflow=hello)(again)
    notify.trigger(hello, to="ada")
    assert sorted(bodies(notify, "ada")) == ["1 by ups", "Hello"]


def test_nothing_is_heard_of_what_rolled_back(notify: Both) -> None:
    heard: list[Any] = []
    notify.engine.on.trigger_processed(heard.append)

    def rolled_back() -> None:
        with notify.transaction() as unit:
            unit.trigger(hello, to="ada")
            raise KeyError

    with pytest.raises(KeyError):
        rolled_back()
    assert heard == []
    assert bodies(notify, "ada") == []
    with notify.transaction() as unit:
        unit.trigger(hello, to="ada")
        unit.subscribers.upsert("zoe")
        assert heard == []
    assert len(heard) == 1
    assert notify.subscribers.find("zoe") is not None


def test_skips_are_heard(notify: Both) -> None:
    heard: list[Any] = []
    notify.engine.on.message_skipped(heard.append)
    notify.preferences.update("ada", enabled=False)
    notify.trigger(hello, to="ada")
    assert [(each.step, each.reason, each.subscriber_id, each.channel, each.message) for each in heard] == [
        ("bell", "preference", "ada", "in_app", None)
    ]
