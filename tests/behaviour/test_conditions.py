"""`when=`: expressions and functions over payload, subscriber, actor, tenant and earlier steps."""

from __future__ import annotations

from typing import Any

import pytest

import notifykit as nk
from tests.behaviour.stories import bodies, kinds, people
from tests.harness.both import Both


def bell(when: Any, key: str = "conditional") -> nk.Workflow[Any, ...]:
    return nk.Workflow(key, steps=[nk.InApp("bell", body="Hello", when=when)])


PASSING: dict[str, bool] = {
    "payload.amount > 10": True,
    "payload.amount > 100": False,
    "payload['amount'] == 42": True,
    "payload.items | length == 2": True,
    "'b' in payload.items": True,
    "payload.missing is defined": False,
    "payload.missing | default(1) == 1": True,
    "subscriber.first_name == 'Ada'": True,
    "subscriber.data.plan == 'pro'": True,
    "subscriber.subscriber_id == 'ada'": True,
    "actor.first_name == 'Act'": True,
    "tenant.name == 'Acme'": True,
    "tenant.data.tier == 3": True,
    "payload.amount > 10 and not payload.quiet": True,
    "payload.quiet": False,
}


@pytest.mark.table
@pytest.mark.parametrize("when", PASSING)
def test_expressions(notify: Both, when: str) -> None:
    notify.workflows.register(bell(when))
    notify.subscribers.upsert("ada", first_name="Ada", data={"plan": "pro"})
    notify.subscribers.upsert("act", first_name="Act")
    notify.tenants.upsert("acme", name="Acme", data={"tier": 3})
    payload = {"amount": 42, "items": ["a", "b"], "quiet": False}
    result = notify.trigger("conditional", to="ada", payload=payload, actor="act", tenant="acme")
    assert bodies(notify, "ada") == (["Hello"] if PASSING[when] else [])
    if not PASSING[when]:
        assert ("bell", "message_skipped", "condition") in kinds(notify, result, "ada")
    (run,) = notify.runs.list()
    assert (run.status, run.reason) == ("completed", None if PASSING[when] else "condition")


@pytest.mark.table
@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("payload.missing > 1", "payload.missing is undefined"),
        ("payload.amount > 'x'", "TypeError"),
        ("subscriber.nothing.deeper", "subscriber.nothing is undefined"),
        ("1 / payload.zero", "ZeroDivisionError"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_does_not_pass(notify: Both, when: str, problem: str) -> None:
    notify.workflows.register(bell(when))
    result = notify.trigger("conditional", to="ada", payload={"amount": 1, "zero": 0})
    assert bodies(notify, "ada") == []
    lines = [line for line in notify.executions.list(transaction_id=result.transaction_id) if line.step == "bell"]
    assert [(line.kind, line.reason) for line in lines] == [("message_skipped", "condition")]
    assert problem in lines[0].data["rule"]


def test_functions(notify: Both) -> None:
    seen: list[nk.Context[Any]] = []

    def large(context: nk.Context[Any]) -> bool:
        seen.append(context)
        return bool(context.payload["amount"] > 10)

    notify.workflows.register(bell(large))
    notify.trigger("conditional", to=nk.Recipient("ada", first_name="Ada"), payload={"amount": 42})
    notify.trigger("conditional", to="bob", payload={"amount": 1})
    assert (bodies(notify, "ada"), bodies(notify, "bob")) == (["Hello"], [])
    assert (seen[0].subscriber["first_name"], seen[0].actor, seen[0].tenant, seen[0].steps) == ("Ada", None, None, {})


def test_a_function_that_raises_does_not_pass(notify: Both) -> None:
    def broken(context: nk.Context[Any]) -> bool:
        raise ZeroDivisionError("oh")

    notify.workflows.register(bell(broken))
    result = notify.trigger("conditional", to="ada")
    assert bodies(notify, "ada") == []
    assert ("bell", "message_skipped", "condition") in kinds(notify, result, "ada")


STEPS: dict[
    str, tuple[bool, bool]
] = {  # condition of a later step: if the bell was made and unread, if it was never made
    "steps.bell.read": (False, False),
    "not steps.bell.read": (True, True),
    "steps.bell.seen": (False, False),
    "not steps.bell.seen": (True, True),
    "steps.bell.status == 'sent'": (True, False),
    "steps.bell.status == 'skipped'": (False, True),
    "steps.bell.reason == 'condition'": (False, True),
    "steps.wait.duration == 3600": (True, True),
    "steps.wait.status == 'waited'": (True, True),
}


@pytest.mark.table
@pytest.mark.parametrize("made", [True, False], ids=["made", "skipped"])
@pytest.mark.parametrize("when", STEPS)
def test_earlier_steps(notify: Both, when: str, made: bool) -> None:
    workflow = nk.Workflow(
        "later",
        steps=[
            nk.InApp("bell", body="first", when="payload.made"),
            nk.Delay("wait", hours=1),
            nk.InApp("late", body="late", when=when),
        ],
    )
    notify.workflows.register(workflow)
    notify.trigger("later", to="ada", payload={"made": made})
    notify.travel(hours=1)
    assert ("late" in bodies(notify, "ada")) is STEPS[when][0 if made else 1]


@pytest.mark.parametrize("how", ["read", "seen", "archived"])
def test_read_state_is_live(notify: Both, how: str) -> None:
    workflow = nk.Workflow(
        "nag",
        steps=[
            nk.InApp("bell", body="first"),
            nk.Delay("wait", hours=1),
            nk.InApp("unread", body="unread", when="not steps.bell.read"),
            nk.InApp("unseen", body="unseen", when="not steps.bell.seen"),
        ],
    )
    notify.workflows.register(workflow)
    notify.trigger("nag", to=["ada", "bob"])
    (message,) = notify.inbox("ada").list()
    notify.inbox("ada").mark(how, message.id)
    notify.travel(hours=1)
    assert sorted(bodies(notify, "bob")) == ["first", "unread", "unseen"]
    left = {each.body for each in notify.inbox("ada").list()} - {"first"}
    assert left == ({"unread"} if how == "seen" else set())


def test_a_condition_on_the_first_delay(notify: Both) -> None:
    workflow = nk.Workflow(
        "held", steps=[nk.Delay("wait", hours=1, when="payload.held"), nk.InApp("bell", body="Hello")]
    )
    notify.workflows.register(workflow)
    notify.trigger("held", to="ada", payload={"held": True})
    notify.trigger("held", to="bob", payload={"held": False})
    assert (bodies(notify, "ada"), bodies(notify, "bob")) == ([], ["Hello"])
    notify.travel(hours=1)
    assert bodies(notify, "ada") == ["Hello"]


def test_a_condition_on_delivery_waits_for_the_outcome(notify: Both) -> None:
    workflow = nk.Workflow(
        "fallback",
        steps=[
            nk.Email("mail", subject="s", body="b"),
            nk.Sms("text", body="sms", when="steps.mail.delivery == 'failed'"),
        ],
    )
    notify.workflows.register(workflow)
    for each in ("ada", "bob"):
        notify.subscribers.upsert(each, email=f"{each}@example.com", phone="+100")
    notify.outside.fail("email", nk.PermanentDeliveryError("no such box"))
    notify.trigger("fallback", to="ada")
    assert notify.runs.list().items[0].status == "waiting"
    notify.drain()
    notify.trigger("fallback", to="bob")
    notify.drain()
    assert [(type(each).__name__, each.subscriber_id) for each in notify.outside.sent] == [
        ("SmsMessage", "ada"), ("EmailMessage", "bob"),
    ]  # fmt: skip
    assert {run.status for run in notify.runs.list()} == {"completed"}


def test_an_undefined_variable_fails_the_step_and_the_run_goes_on(notify: Both) -> None:
    workflow = nk.Workflow("torn", steps=[nk.InApp("bell", body="{{ payload.nope }}"), nk.InApp("next", body="next")])
    notify.workflows.register(workflow)
    result = notify.trigger("torn", to="ada", payload={})
    assert bodies(notify, "ada") == ["next"]
    lines = notify.executions.list(transaction_id=result.transaction_id)
    (failed,) = [line for line in lines if line.kind == "message_failed"]
    assert "nope" in f"{failed.reason} {failed.data}"
    assert notify.runs.list().items[0].status == "completed"


def test_stop_on_fail_ends_the_run(notify: Both) -> None:
    workflow = nk.Workflow(
        "stopped", steps=[nk.InApp("bell", body="{{ payload.nope }}", stop_on_fail=True), nk.InApp("next", body="next")]
    )
    notify.workflows.register(workflow)
    notify.trigger("stopped", to="ada", payload={})
    assert bodies(notify, "ada") == []
    assert notify.runs.list().items[0].status == "failed"


def test_stop_on_fail_waits_for_the_outcome(notify: Both) -> None:
    workflow = nk.Workflow(
        "careful", steps=[nk.Email("mail", subject="s", body="b", stop_on_fail=True), nk.InApp("bell", body="after")]
    )
    notify.workflows.register(workflow)
    people(notify, "ada", "bob")
    notify.outside.fail("email", nk.PermanentDeliveryError("no such box"))
    notify.trigger("careful", to="ada")
    assert bodies(notify, "ada") == []
    notify.drain()
    notify.trigger("careful", to="bob")
    notify.drain()
    assert (bodies(notify, "ada"), bodies(notify, "bob")) == ([], ["after"])
    assert {run.subscriber_id: run.status for run in notify.runs.list()} == {"ada": "failed", "bob": "completed"}


def test_an_inactive_step_is_passed_over(notify: Both) -> None:
    workflow = nk.Workflow("partly", steps=[nk.InApp("off", body="off", active=False), nk.InApp("on", body="on")])
    notify.workflows.register(workflow)
    notify.trigger("partly", to="ada")
    assert bodies(notify, "ada") == ["on"]
