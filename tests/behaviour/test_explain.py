"""`explain` tells what a trigger would do, and writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import notifykit as nk
from notifykit.model import Event, Subscriber
from tests.behaviour.stories import CHANNELS, STORIES, hello, mailed, ordered, people, shipped
from tests.harness.both import Both
from tests.harness.dump import dump


@pytest.fixture
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)
    people(notify, "ada", "bob")


pytestmark = pytest.mark.filterwarnings("error")


def test_rows_in_order_of_time(notify: Both, stories: None) -> None:
    plan = notify.explain(shipped(order=1), to="ada")
    now = notify.clock.now()
    assert [(row.step, row.channel, row.outcome, row.at) for row in plan.rows] == [
        ("bell", "in_app", "send", now),
        ("wait", None, "wait", now),
        ("mail", "email", "send", now + timedelta(hours=1)),
    ] or [(row.step, row.outcome) for row in plan.rows] == [("bell", "send"), ("wait", "wait"), ("mail", "send")]
    assert (plan.recipients, dict(plan.counts)) == (1, {"in_app": 1, "email": 1})
    assert plan.rows[-1].at == now + timedelta(hours=1)
    assert notify.count(Event) == 0


def test_why_not(notify: Both, stories: None) -> None:
    notify.topics.add("team", ["ada", "bob"])
    notify.preferences.update("bob", enabled=False)
    plan = notify.explain(hello, to=[nk.Topic("team", exclude=["cem"]), "dan"], actor="ada")
    assert plan.recipients == 2
    assert "preference" in plan.why_not("bob")
    assert "actor" in plan.why_not("ada")
    assert "not among" in plan.why_not("stranger")
    assert "Nothing keeps" in plan.why_not("dan")
    assert notify.subscribers.find("dan") is None


def test_why_not_of_an_excluded_member(notify: Both, stories: None) -> None:
    notify.topics.add("team", ["ada", "bob"])
    assert "excluded" in notify.explain(hello, to=nk.Topic("team", exclude=["bob"])).why_not("bob")


def test_no_address_and_conditions(notify: Both, stories: None) -> None:
    workflow = nk.Workflow("maybe", steps=[nk.InApp("bell", body="b", when="payload.on"), nk.Sms("text", body="b")])
    notify.workflows.register(workflow)
    plan = notify.explain("maybe", to="ada", payload={"on": False})
    assert [(row.step, row.outcome, row.reason) for row in plan.rows] == [
        ("bell", "skip", "condition"),
        ("text", "skip", "no_address"),
    ]
    assert "payload.on" in plan.why_not("ada")


def test_an_undefined_variable(notify: Both, stories: None) -> None:
    notify.workflows.register(
        nk.Workflow(
            "torn",
            steps=[
                nk.InApp("bell", body="{{ payload.nope }}"),
                nk.Email("mail", subject="{{ payload.gone }}", body="b"),
            ],
        )
    )
    plan = notify.explain("torn", to="ada", payload={})
    assert [(row.step, row.outcome) for row in plan.rows] == [("bell", "fail"), ("mail", "fail")]
    assert "nope" in plan.rows[0].rule
    assert "gone" in plan.rows[1].rule


@pytest.mark.parametrize("stops", [False, True], ids=["goes on", "stops"])
def test_a_message_that_cannot_be_rendered_fails_for_later_steps_too(notify: Both, stories: None, stops: bool) -> None:
    """As it does when it is sent, and for nobody else."""
    steps: list[nk.Step] = [
        nk.Email("mail", subject="{{ payload.gone }}", body="b", stop_on_fail=stops),
        nk.InApp("sorry", body="b", when="steps.mail.delivery == 'failed'"),
        nk.InApp("glad", body="b", when="steps.mail.delivery == 'sent'"),
    ]
    notify.workflows.register(nk.Workflow("torn", steps=steps))
    to = ["ada", nk.Recipient("bob", payload={"gone": "found"})]
    plan = notify.explain("torn", to=to, payload={})
    ada = [("mail", "fail")] if stops else [("glad", "skip"), ("mail", "fail"), ("sorry", "send")]
    bob = [("glad", "send"), ("mail", "send"), ("sorry", "skip")]
    planned = {
        who: sorted((row.step, row.outcome) for row in plan.rows if row.subscriber_id == who) for who in ("ada", "bob")
    }
    assert planned == {"ada": ada, "bob": bob}
    assert dict(plan.counts) == {"email": 1, "in_app": 1 if stops else 2}
    result = notify.trigger("torn", to=to, payload={})
    notify.drain()
    expected = Counter((who, step, outcome) for who, rows in planned.items() for step, outcome in rows)
    assert outcomes_of(notify, result) == expected


def test_it_refuses_what_a_trigger_refuses(notify: Both, stories: None) -> None:
    with pytest.raises(nk.NotFoundError):
        notify.explain("nowhere", to="ada")
    with pytest.raises(nk.PayloadError):
        notify.explain("ordered", to="ada", payload={"order": "many"})
    with pytest.raises(nk.InputError):
        notify.explain(hello, to=None)
    plan = notify.explain(hello, to=["ada", "", nk.Recipient("cem", email="none")])
    assert plan.recipients == 1


def test_an_inline_recipient_is_seen_but_not_stored(notify: Both, stories: None) -> None:
    plan = notify.explain(mailed(order=1), to=nk.Recipient("new", email="new@example.com"))
    assert [(row.outcome, row.channel) for row in plan.rows] == [("send", "email")]
    plan = notify.explain(mailed(order=1), to=nk.Recipient("ada", email="other@example.com"))
    assert plan.counts == {"email": 1}
    assert notify.count(Subscriber) == 2
    assert notify.subscribers.get("ada").email == "ada@example.com"


def test_what_only_a_function_can_tell(notify: Both, house: Callable[..., Both]) -> None:
    """A custom step runs outside; what reads its result, or asks a function that is not here, is not known."""
    if notify.url_is_private:
        pytest.skip("a private memory has one process only")
    steps: list[nk.Step] = [
        nk.InApp("bell", body="Hello", when=lambda context: True),
        nk.Custom("score", run=lambda context: {"points": 1}),
        nk.Email("mail", subject="s", body="{{ steps.score.points }}"),
        nk.InApp("last", body="Last", when="steps.score.points > 0"),
        nk.InApp("plain", body="Plain"),
    ]
    notify.workflows.register(nk.Workflow("coded", steps=steps))
    notify.trigger("coded", to=nk.Recipient("ada", email="ada@example.com"))
    unknown = [("score", "wait"), ("mail", "wait"), ("last", "skip"), ("plain", "send")]
    here, there = notify.explain("coded", to="ada"), house(clock=notify.clock).explain("coded", to="ada")
    assert [(row.step, row.outcome) for row in here.rows] == [("bell", "send"), *unknown]
    assert [(row.step, row.outcome) for row in there.rows] == [("bell", "wait"), *unknown]
    assert here.rows[2].rule == here.rows[3].rule == "unknown until run"
    assert "a function that this process does not have" in there.rows[0].rule


WHENS = (
    "payload.flag",
    "not steps.first.read",
    "steps.first.status == 'sent'",
    "subscriber.data.vip",
    "payload.n > 2",
    "payload.absent",
    None,
    None,
)


@st.composite
def steps_of(draw: st.DrawFn) -> list[nk.Step]:
    """A first bell and up to four more steps of any kind."""
    made: list[nk.Step] = [
        nk.InApp("first", body="first {{ payload.n }}", when=draw(st.sampled_from([None, "payload.flag"])))
    ]
    for n in range(draw(st.integers(0, 4))):
        options: dict[str, Any] = {
            "when": draw(st.sampled_from([*WHENS, *(when for step in made[1:] for when in _of_earlier(step))])),
            "active": draw(st.sampled_from([True, True, True, False])),
            "stop_on_fail": draw(st.booleans()),
        }
        text = draw(
            st.sampled_from(["plain", "{{ payload.n }}", "{{ subscriber.first_name }}", "{{ payload.absent }}"])
        )
        kind = draw(st.sampled_from(["in_app", "email", "sms", "push", "chat", "delay"]))
        made.append(_step(kind, f"s{n}", text, options))
    return made


def _of_earlier(step: nk.Step) -> list[str]:
    """Conditions on how an earlier step fared; those that name `delivery` make the run wait for it."""
    if step.channel is None:
        return [f"steps.{step.id}.status == 'waited'"]
    return [f"steps.{step.id}.delivery == 'sent'", f"steps.{step.id}.delivery is none", f"not steps.{step.id}.seen"]


def _step(kind: str, name: str, text: str, options: dict[str, Any]) -> nk.Step:
    if kind == "in_app":
        return nk.InApp(name, body=text, **options)
    if kind == "email":
        return nk.Email(name, subject="s", body=text, **options)
    if kind == "push":
        return nk.Push(name, title="t", body=text, **options)
    if kind == "delay":
        return nk.Delay(name, minutes=10, **options)
    return (nk.Sms if kind == "sms" else nk.Chat)(name, body=text, **options)


CHOICES = st.dictionaries(st.sampled_from(["in_app", "email", "sms", "push", "chat"]), st.booleans(), max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=steps_of(),
    critical=st.booleans(),
    defaults=CHOICES,
    everywhere=CHOICES,
    here=CHOICES,
    payload=st.fixed_dictionaries({"flag": st.booleans(), "n": st.integers(0, 5)}),
    asked=st.sampled_from(
        [
            (3, {"to": ["ada", "bob", nk.Recipient("cem", first_name="Cem")]}),
            (2, {"to": [nk.Topic("team", exclude=["bob"]), nk.Recipient(email="x@y.org", payload={"n": 9})]}),
            (1, {"to": nk.Everyone(), "actor": "ada", "overrides": {"delay": {"amount": 1, "unit": "minutes"}}}),
        ]
    ),
)
def test_explain_equals_what_then_happens(
    steps: Any, critical: bool, defaults: Any, everywhere: Any, here: Any, payload: Any, asked: Any
) -> None:
    """On random workflows and preferences; deliveries succeed and nothing is read meanwhile."""
    workflow = nk.Workflow("random", steps=steps, critical=critical, preferences=defaults)
    notify = Both("sync", None, workflows=[workflow])
    try:
        notify.subscribers.upsert(
            "ada", email="a@b.c", phone="+1", first_name="Ada", data={"vip": True}, channels=CHANNELS
        )
        notify.subscribers.upsert("bob", first_name="Bob", data={"vip": False})
        for who in ("ada", "bob"):
            if everywhere:
                notify.preferences.update(who, channels=everywhere)
            if here and not critical:
                notify.preferences.update(who, workflow=workflow, channels=here)
        notify.topics.add("team", ["ada", "bob"])
        recipients, options = asked
        before = notify.read(lambda connection: dump(connection, notify.start))
        plan = notify.explain(workflow, payload=payload, **options)
        after = notify.read(lambda connection: dump(connection, notify.start))
        assert after == before
        result = notify.trigger(workflow, payload=payload, **options)
        notify.travel(hours=2)
        happened = outcomes_of(notify, result)
        planned = Counter(
            (row.subscriber_id, row.step, row.outcome) for row in plan.rows if row.step and row.outcome != "wait"
        )
        assert planned == happened
        sent = Counter(row.channel for row in plan.rows if row.outcome == "send")
        assert dict(plan.counts) == dict(sent)
        assert plan.recipients == result.recipients == recipients
    finally:
        notify.finish()


ENDS = {
    "message_sent": "send",
    "message_skipped": "skip",
    "message_failed": "fail",
    "step_skipped": "skip",
    "step_failed": "fail",
}


def outcomes_of(notify: Both, result: nk.TriggerResult) -> Counter[tuple[str, str | None, str]]:
    """What each step of each run came to, told by the trace."""
    lines = notify.executions.list(transaction_id=result.transaction_id)
    return Counter((line.subscriber_id, line.step, ENDS[line.kind]) for line in lines if line.kind in ENDS)


def test_counts_of_a_topic(notify: Both, stories: None) -> None:
    notify.topics.add("team", ["ada", "bob"])
    notify.preferences.update("bob", channels={"in_app": False})
    plan = notify.explain(ordered(order=1), to=nk.Topic("team"))
    assert (plan.recipients, dict(plan.counts)) == (2, {"in_app": 1})
