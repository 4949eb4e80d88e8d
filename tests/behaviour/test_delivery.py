"""From a queued message to the outside: hooks, failures, retries, host functions, what is told about all of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Job
from tests.behaviour.stories import CHANNELS, STORIES, bodies, everywhere, kinds, mailed, people, shipped
from tests.harness.both import Both


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)


def test_every_channel(notify: Both) -> None:
    notify.subscribers.upsert("ada", email="ada@example.com", phone="+100", channels=CHANNELS)
    result = notify.trigger(everywhere, to="ada")
    report = notify.drain()
    assert (report.sent, report.failed, dict(report.waiting_for), report.next_due) == (4, 0, {}, None)
    mail, text, push, chat = notify.outside.sent
    assert (mail.to, mail.cc, mail.bcc, mail.subject, mail.text, mail.html) == (
        ("ada@example.com",),
        (),
        (),
        "subject",
        "mail",
        None,
    )
    assert (text.phone, text.body) == ("+100", "sms")
    assert (push.tokens, push.title, push.body) == (("token-1", "token-2"), "title", "push")
    assert (chat.webhook_url, chat.body) == ("https://hooks.example.com/ada", "chat")
    assert {(each.workflow, each.subscriber_id, each.attempt) for each in notify.outside.sent} == {
        ("everywhere", "ada", 1)
    }
    messages = notify.messages.list(transaction_id=result.transaction_id)
    assert [(each.channel, each.status) for each in messages][::-1] == [
        ("in_app", "sent"),
        ("email", "sent"),
        ("sms", "sent"),
        ("push", "sent"),
        ("chat", "sent"),
    ]
    assert {each.provider for each in messages if each.channel != "in_app"} == {"hook"}
    assert notify.count(Job) == 0


def test_without_an_address_it_is_skipped(notify: Both) -> None:
    result = notify.trigger(everywhere, to="ada")
    notify.drain()
    assert notify.outside.calls == []
    skipped = [(step, reason) for step, kind, reason in kinds(notify, result, "ada") if kind == "message_skipped"]
    assert skipped == [(step, "no_address") for step in ("mail", "text", "push", "chat")]


def test_details_of_a_message(notify: Both) -> None:
    workflow = nk.Workflow(
        "rich", steps=[nk.Email("mail", subject="A & {{ payload.x }}", body="text", html="<b>{{ payload.x }}</b>")]
    )
    notify.workflows.register(workflow)
    people(notify, "ada")
    notify.trigger("rich", to="ada", payload={"x": "<i>"})
    notify.drain()
    (message,) = notify.messages.list()
    details = notify.messages.get(message.id)
    assert (details.subject, details.body, details.html) == ("A & <i>", "text", "<b>&lt;i&gt;</b>")
    (attempt,) = details.attempts
    assert (attempt.number, attempt.outcome, attempt.integration, attempt.provider_id) == (
        1,
        "sent",
        "hook",
        "receipt-1",
    )
    (sent,) = notify.outside.sent
    assert (sent.id, sent.html) == (message.id, "<b>&lt;i&gt;</b>")
    with pytest.raises(nk.NotFoundError):
        notify.messages.get("msg_1")
    with pytest.raises(nk.NotFoundError):
        notify.messages.get("nonsense")


def test_the_subscriber_as_of_the_claim(notify: Both) -> None:
    workflow = nk.Workflow("dear", steps=[nk.Email("mail", subject="{{ subscriber.first_name }}", body="b")])
    notify.workflows.register(workflow)
    people(notify, "ada")
    notify.trigger("dear", to="ada")
    notify.subscribers.upsert("ada", first_name="Augusta", email="new@example.com")
    notify.drain()
    assert [(each.subject, each.to) for each in notify.outside.sent] == [("Augusta", ("new@example.com",))]


@pytest.mark.uneven
def test_a_transient_failure_is_tried_again_with_the_same_content(notify: Both) -> None:
    workflow = nk.Workflow("dear", steps=[nk.Email("mail", subject="{{ subscriber.first_name }}", body="b")])
    notify.workflows.register(workflow)
    people(notify, "ada")
    notify.outside.fail("email", nk.TransientDeliveryError("busy"), RuntimeError("odd"))
    result = notify.trigger("dear", to="ada")
    first = notify.drain()
    assert (first.sent, first.failed) == (0, 0)
    assert timedelta(seconds=1) <= first.next_due - notify.clock.now() <= timedelta(seconds=60)
    assert notify.drain().sent == 0
    notify.subscribers.upsert("ada", first_name="Augusta")
    notify.travel(minutes=10)
    assert [(each.subject, each.attempt) for _, each in notify.outside.calls] == [("Ada", 1), ("Ada", 2), ("Ada", 3)]
    assert len({each.idempotency_key for _, each in notify.outside.calls}) == 1
    (message,) = notify.messages.list(transaction_id=result.transaction_id)
    outcomes = [
        (attempt.number, attempt.outcome, attempt.error) for attempt in notify.messages.get(message.id).attempts
    ]
    assert [each[:2] for each in outcomes] == [(1, "transient"), (2, "transient"), (3, "sent")]
    assert "busy" in outcomes[0][2]
    assert "odd" in outcomes[1][2]
    assert message.status == "sent"


@pytest.mark.uneven
def test_retry_after_is_a_floor(notify: Both) -> None:
    people(notify, "ada")
    notify.outside.fail("email", nk.TransientDeliveryError("busy", retry_after=1800))
    notify.trigger(mailed(order=1), to="ada")
    report = notify.drain()
    assert report.next_due - notify.clock.now() >= timedelta(seconds=1800)


@pytest.mark.uneven
def test_attempts_end(notify: Both) -> None:
    people(notify, "ada")
    notify.outside.fail("email", *[nk.TransientDeliveryError(f"busy {n}") for n in range(20)])
    notify.trigger(mailed(order=1), to="ada")
    notify.travel(days=2)
    (message,) = notify.messages.list()
    assert (message.status, len(notify.outside.calls)) == ("failed", 8)
    assert notify.count(Job) == 0


def test_a_permanent_failure_and_a_retry_by_hand(notify: Both) -> None:
    people(notify, "ada")
    notify.outside.fail("email", nk.PermanentDeliveryError("no such box"))
    result = notify.trigger(mailed(order=1), to="ada")
    report = notify.drain()
    assert (report.sent, report.failed, report.next_due) == (0, 1, None)
    (message,) = notify.messages.list(status="failed")
    assert "no such box" in notify.messages.get(message.id).attempts[0].error
    assert notify.runs.list(transaction_id=result.transaction_id).items[0].status == "completed"
    assert notify.messages.retry(message) == 1
    assert notify.messages.get(message.id).status == "queued"
    notify.drain()
    assert [attempt.outcome for attempt in notify.messages.get(message.id).attempts] == ["permanent", "sent"]
    assert notify.messages.retry([message.id]) == 0
    assert notify.messages.get(message.id).status == "sent"


def test_a_render_error_after_the_claim(notify: Both) -> None:
    workflow = nk.Workflow("torn", steps=[nk.Email("mail", subject="s", body="{{ subscriber.data.plan }}")])
    notify.workflows.register(workflow)
    people(notify, "ada")
    result = notify.trigger("torn", to="ada")
    report = notify.drain()
    assert (report.failed, notify.outside.calls) == (1, [])
    failed = [
        line for line in notify.executions.list(transaction_id=result.transaction_id) if line.kind == "message_failed"
    ]
    assert "plan" in str(failed)


@pytest.mark.uneven
def test_without_a_provider_the_job_waits(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=STORIES)
    people(notify, "ada")
    notify.trigger(mailed(order=1), to="ada")
    report = notify.drain()
    assert (report.sent, dict(report.waiting_for)) == (0, {"email: no provider": 1})
    assert report.next_due == notify.clock.now() + timedelta(seconds=60)
    notify.outside.serve(notify.engine, awaited=notify.notifier == "async", channels=("email",))
    notify.travel(minutes=1)
    assert [each.attempt for each in notify.outside.sent] == [1]


@pytest.mark.uneven
def test_waiting_for_a_provider_burns_no_attempt(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=STORIES)
    people(notify, "ada")
    notify.trigger(mailed(order=1), to="ada")
    notify.travel(minutes=20)
    notify.outside.serve(notify.engine, awaited=notify.notifier == "async", channels=("email",))
    notify.outside.fail("email", *[nk.TransientDeliveryError("busy")] * 7)
    notify.travel(days=1)
    assert [each.attempt for _, each in notify.outside.calls] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [message.status for message in notify.messages.list()] == ["sent"]


@pytest.mark.uneven
def test_without_a_provider_it_fails_at_its_expiry(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=STORIES)
    people(notify, "ada")
    notify.trigger(mailed(order=1), to="ada")
    notify.drain()
    notify.clock.move(days=7, minutes=1)
    report = notify.drain()
    (message,) = notify.messages.list()
    assert (message.status, report.failed, report.next_due) == ("failed", 1, None)


def test_drain_of_one_result_only(notify: Both) -> None:
    people(notify, "ada", "bob")
    first = notify.trigger(mailed(order=1), to="ada")
    notify.trigger(mailed(order=2), to="bob")
    assert notify.drain(first).sent == 1
    assert [each.subject for each in notify.outside.sent] == ["Order 1"]
    assert notify.drain().sent == 1


def test_drain_within_a_budget(notify: Both) -> None:
    people(notify, "ada")
    notify.trigger_bulk(mailed(order=n).to("ada") for n in range(300))
    assert notify.drain(seconds=0).sent < 300
    total = 0
    while notify.drain(seconds=5).next_due is not None:
        total += 1
        assert total < 100
    assert len(notify.outside.sent) == 300


def test_overrides(notify: Both) -> None:
    notify.subscribers.upsert("ada", email="ada@example.com", phone="+100", channels=CHANNELS)
    overrides: dict[str, Any] = {
        "email": {
            "to": ["second@example.com"],
            "cc": ["cc@example.com"],
            "bcc": ["bcc@example.com"],
            "from": "me@example.com",
            "reply_to": "re@example.com",
            "subject": "Overridden",
            "html": "<p>html</p>",
            "text": "text",
            "headers": {"X-One": "1"},
        },
        "sms": {"body": "other sms"},
        "push": {"title": "other title", "body": "other push", "data": {"k": "v"}},
        "steps": {"chat": {"body": "other chat"}},
    }
    notify.trigger(everywhere, to="ada", overrides=overrides)
    notify.drain()
    mail, text, push, chat = notify.outside.sent
    assert mail.to == ("ada@example.com", "second@example.com")
    assert (mail.cc, mail.bcc, mail.sender, mail.reply_to) == (
        ("cc@example.com",),
        ("bcc@example.com",),
        "me@example.com",
        "re@example.com",
    )
    assert (mail.subject, mail.html, mail.text, dict(mail.headers)) == (
        "Overridden",
        "<p>html</p>",
        "text",
        {"X-One": "1"},
    )
    assert (text.body, push.title, push.body, push.data["k"], chat.body) == (
        "other sms",
        "other title",
        "other push",
        "v",
        "other chat",
    )


def test_a_delay_overridden(notify: Both) -> None:
    people(notify, "ada")
    notify.trigger(shipped(order=1), to="ada", overrides={"delay": {"amount": 2, "unit": "minutes"}})
    notify.travel(minutes=2)
    assert len(notify.outside.sent) == 1


BAD_OVERRIDES: dict[str, Any] = {
    "email.to": {"email": {"to": 7}},
    "email.cc": {"email": {"cc": ["no address"]}},
    "email.subject": {"email": {"subject": 7}},
    "sms.body": {"sms": {"body": None}},
    "delay.unit": {"delay": {"amount": 1, "unit": "fortnights"}},
    "delay.amount": {"delay": {"amount": "soon", "unit": "minutes"}},
    "steps": {"steps": {"nowhere": {"body": "x"}}},
    "overrides": ["email"],
}


@pytest.mark.table
@pytest.mark.parametrize("field", BAD_OVERRIDES)
def test_a_bad_override_is_refused(notify: Both, field: str) -> None:
    with pytest.raises(nk.InputError) as caught:
        notify.trigger(shipped(order=1), to="ada", overrides=BAD_OVERRIDES[field])
    assert field in caught.value.field
    assert notify.count(Job) == 0


def test_custom_steps(notify: Both) -> None:
    def score(context: nk.Context[Any]) -> dict[str, Any]:
        assert context.idempotency_key
        return {"score": context.payload["amount"] * 2}

    workflow = nk.Workflow(
        "scored",
        steps=[
            nk.Custom("score", score),
            nk.InApp("bell", body="{{ steps.score.score }}", when="steps.score.score > 10"),
        ],
    )
    notify.workflows.register(workflow)
    notify.trigger("scored", to="ada", payload={"amount": 21})
    notify.trigger("scored", to="bob", payload={"amount": 1})
    assert bodies(notify, "ada") == []
    notify.drain()
    assert (bodies(notify, "ada"), bodies(notify, "bob")) == (["42"], [])


def test_a_pure_custom_step_runs_inline(notify: Both) -> None:
    def double(context: nk.Context[Any]) -> dict[str, Any]:
        return {"value": context.payload["amount"] * 2}

    workflow = nk.Workflow(
        "doubled", steps=[nk.Custom("double", double, pure=True), nk.InApp("bell", body="{{ steps.double.value }}")]
    )
    notify.workflows.register(workflow)
    notify.trigger("doubled", to="ada", payload={"amount": 21})
    assert bodies(notify, "ada") == ["42"]


@pytest.mark.uneven
def test_a_custom_step_that_raises(notify: Both) -> None:
    errors: list[Exception] = [RuntimeError("once"), nk.PermanentDeliveryError("never")]

    def broken(context: nk.Context[Any]) -> None:
        raise errors.pop(0)

    workflow = nk.Workflow(
        "broken", steps=[nk.Custom("call", broken, stop_on_fail=True), nk.InApp("bell", body="after")]
    )
    notify.workflows.register(workflow)
    result = notify.trigger("broken", to="ada")
    notify.travel(hours=1)
    assert errors == []
    assert bodies(notify, "ada") == []
    assert notify.runs.list(transaction_id=result.transaction_id).items[0].status == "failed"


def test_work_goes_on_in_a_process_without_the_code(notify: Both, house: Callable[..., Both]) -> None:
    if notify.url_is_private:
        pytest.skip("a private memory has one process only")
    people(notify, "ada")
    notify.trigger(shipped(order=1), to="ada")
    other = house(clock=notify.clock)
    other.travel(hours=1)
    assert [each.subject for each in other.outside.sent] == ["Order 1"]
    assert other.trigger("order-shipped", to="ada", payload={"order": 2}).recipients == 1


def test_a_host_function_is_left_to_a_process_that_has_it(notify: Both, house: Callable[..., Both]) -> None:
    if notify.url_is_private:
        pytest.skip("a private memory has one process only")

    def always(context: nk.Context[Any]) -> bool:
        return True

    workflow = nk.Workflow("coded", steps=[nk.Delay("wait", hours=1), nk.InApp("bell", body="Hello", when=always)])
    notify.workflows.register(workflow)
    notify.trigger("coded", to="ada")
    other = house(clock=notify.clock)
    other.travel(hours=1)
    assert bodies(notify, "ada") == []
    notify.drain()
    assert bodies(notify, "ada") == ["Hello"]


def test_a_run_keeps_its_version(notify: Both) -> None:
    people(notify, "ada")
    notify.trigger(shipped(order=1), to="ada")
    changed = nk.Workflow("order-shipped", steps=[nk.InApp("bell", body="new")])
    notify.workflows.register(changed)
    notify.trigger("order-shipped", to="ada")
    notify.travel(hours=1)
    assert [each.subject for each in notify.outside.sent] == ["Order 1"]
    assert len({run.version for run in notify.runs.list()}) == 2
