"""What functions of a host raise and answer is data: it costs the step of the run that it belongs to, nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, computed_field, field_serializer, model_validator

import notifykit as nk
from notifykit.model import Event
from notifykit.texts import LONGEST
from tests.behaviour.stories import CHANNELS, bodies, people
from tests.harness import evil
from tests.harness.both import Both

SOUND = "ada"
EVILS = tuple(evil.EXCEPTIONS)


def raising(who: str) -> None:
    """Raise what is this subscriber's lot."""
    if who in evil.EXCEPTIONS:
        raise evil.EXCEPTIONS[who]()


def function(context: nk.Context[Any]) -> dict[str, Any]:
    """A function of the host's that fails for everybody but one."""
    raising(context.subscriber["subscriber_id"])
    return {}


def storable(texts: Iterable[str | None]) -> bool:
    """Whether all are texts that can be kept, and say something."""
    return all(text and text.isprintable() and len(text) <= LONGEST for text in texts)


def reasons(notify: Both, step: str, *kinds: str) -> dict[str, str | None]:
    """Why a step went wrong, by subscriber."""
    lines = [line for line in notify.executions.list() if line.step == step and line.kind in kinds]
    return {line.subscriber_id: (line.data or {}).get("rule") or line.reason for line in lines}


@pytest.mark.uneven
def test_hooks(notify: Both) -> None:
    notify.workflows.register(nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")]))
    for who in (*EVILS, SOUND):
        notify.subscribers.upsert(who, email="someone@example.com")
    notify.outside.fail("email", *[make() for make in evil.EXCEPTIONS.values()])
    notify.trigger("mail", to=[*EVILS, SOUND])
    report = notify.drain()
    assert (report.sent, report.failed, len(notify.outside.calls)) == (1, 1, len(EVILS) + 1)
    details = [notify.messages.get(each.id) for each in notify.messages.list(limit=100)]
    assert all(len(each.attempts) == 1 for each in details)
    assert storable(each.attempts[0].error for each in details if each.subscriber_id != SOUND)
    assert [each.attempts[0].outcome for each in details if each.subscriber_id == SOUND] == ["sent"]


def test_conditions_after_a_delay(notify: Both) -> None:
    steps = [nk.Delay("wait", hours=1), nk.InApp("bell", body="b", when=function), nk.InApp("end", body="end")]
    notify.workflows.register(nk.Workflow("held", steps=steps))
    notify.trigger("held", to=[*EVILS, SOUND])
    notify.travel(hours=1)
    assert {run.status for run in notify.runs.list(limit=100)} == {"completed"}
    found = reasons(notify, "bell", "message_skipped")
    assert set(found) == {*EVILS, SOUND}
    assert storable(found.values())
    assert found["unprintable"] == "held/bell raised Unprintable"
    assert all(bodies(notify, who) == ["end"] for who in EVILS)


def test_conditions_at_once_and_in_explain(notify: Both) -> None:
    notify.workflows.register(nk.Workflow("bell", steps=[nk.InApp("bell", body="b", when=function)]))
    plan = notify.explain("bell", to=[*EVILS, SOUND])
    assert storable(row.rule for row in plan.rows)
    assert notify.trigger("bell", to=[*EVILS, SOUND]).recipients == len(EVILS) + 1
    assert storable(reasons(notify, "bell", "message_skipped").values())


@pytest.mark.parametrize("delayed", [False, True])
def test_pure_functions(notify: Both, delayed: bool) -> None:
    steps: list[Any] = [nk.Delay("wait", hours=1)] if delayed else []
    steps += [nk.Custom("score", function, pure=True), nk.InApp("end", body="{{ steps.score.status }}")]
    notify.workflows.register(nk.Workflow("scored", steps=steps))
    notify.trigger("scored", to=[*EVILS, SOUND])
    notify.travel(hours=1)
    found = reasons(notify, "score", "step_failed")
    assert set(found) == set(EVILS)
    assert storable(found.values())
    assert all(bodies(notify, who) == ["failed"] for who in EVILS)
    assert bodies(notify, SOUND) == ["completed"]


@pytest.mark.uneven
def test_functions_that_wait(notify: Both) -> None:
    steps = [nk.Custom("score", function), nk.InApp("end", body="{{ steps.score.status }}")]
    notify.workflows.register(nk.Workflow("scored", steps=steps))
    notify.trigger("scored", to=[*EVILS, SOUND])
    notify.drain()
    found = reasons(notify, "score", "attempt", "step_failed")
    assert set(found) == set(EVILS)
    assert storable(found.values())
    assert bodies(notify, SOUND) == ["completed"]
    assert bodies(notify, "ours, half") == ["failed"]


def test_observers(notify: Both) -> None:
    heard: list[str] = []
    failed: list[nk.HookFailed] = []

    def observer(event: nk.MessageSent) -> None:
        raising(event.message.subscriber_id)

    notify.engine.on.message_sent(observer)
    notify.engine.on.message_sent(lambda event: heard.append(event.message.subscriber_id))
    notify.engine.on.hook_failed(failed.append)
    notify.workflows.register(nk.Workflow("bell", steps=[nk.InApp("bell", body="b")]))
    notify.trigger("bell", to=[*EVILS, SOUND])
    assert heard == [*EVILS, SOUND]
    assert len(failed) == len(EVILS)
    assert storable(event.error for event in failed)
    assert {event.hook for event in failed} == {f"{__name__}.test_observers.<locals>.observer"}


class Checked(BaseModel):
    """A payload whose functions raise."""

    who: str = SOUND
    place: str = "validator"

    @model_validator(mode="after")
    def check(self) -> Checked:
        if self.place == "validator":
            raising(self.who)
        return self

    @computed_field  # type: ignore[prop-decorator]  # as pydantic wants it
    @property
    def computed(self) -> str:
        if self.place == "computed":
            raising(self.who)
        return "fine"

    @field_serializer("place")
    def written(self, place: str) -> str:
        if place == "serializer":
            raising(self.who)
        return place


@pytest.mark.table
@pytest.mark.parametrize("place", ["validator", "computed", "serializer"])
def test_functions_of_a_payload(notify: Both, place: str) -> None:
    notify.workflows.register(nk.Workflow("bell", payload=Checked, steps=[nk.InApp("bell", body="b")]))
    sound = {"name": "bell", "to": SOUND}
    wrong = [{"name": "bell", "to": SOUND, "payload": {"who": who, "place": place}} for who in EVILS]
    own = nk.Trigger("bell", to=[SOUND, *[nk.Recipient("bob", payload=each["payload"]) for each in wrong]])
    found = notify.trigger_bulk([sound, *wrong, own, sound])
    assert [each.status for each in found] == ["processed", *["error"] * len(EVILS), "processed", "processed"]
    assert found[-2].recipients == 1
    assert storable(problem.message for each in found[1:-1] for problem in each.problems)
    assert len(found[-2].problems) == len(EVILS)
    with pytest.raises(nk.PayloadError):
        notify.trigger("bell", to=SOUND, payload=wrong[0]["payload"])


class Pretender:
    """An object that raises when it is asked what it is, how it is written, or whether it is true."""

    __class__ = property(evil.broken)  # type: ignore[assignment]
    __str__ = __repr__ = __bool__ = __len__ = __iter__ = __await__ = evil.broken


class Proxy:
    """As a proxy without a target."""

    __class__ = property(evil.broken)  # type: ignore[assignment]
    __str__ = __repr__ = __bool__ = __len__ = __iter__ = evil.broken


ANSWERS: dict[str, tuple[Any, str | None]] = {
    "proxy": (Proxy(), None),
    "receipt of a proxy": (nk.Receipt(Proxy()), None),  # type: ignore[arg-type]
    "receipt of a number": (nk.Receipt(7), "7"),  # type: ignore[arg-type]
    "receipt of a huge number": (nk.Receipt(10**5000), None),  # type: ignore[arg-type]
    "half": ("id-\udfff", "id-\ufffd"),
    "nul": (nk.Receipt("id\0"), "id\ufffd"),
    "broken text": (evil.BrokenText("id"), "id"),
    "large": ("x" * evil.LARGE, "x" * (LONGEST - 1) + "\u2026"),
    "something else": ({"id": 1}, None),
}


@pytest.mark.uneven
def test_what_a_hook_answers_never_sends_a_message_again(house: Callable[..., Both]) -> None:
    notify = house(hooks=False)
    calls: list[str] = []

    def hook(message: nk.EmailMessage) -> Any:
        calls.append(message.subscriber_id)
        return ANSWERS[message.subscriber_id][0]

    notify.engine.deliver("email")(hook)
    notify.workflows.register(nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")]))
    for who in ANSWERS:
        notify.subscribers.upsert(who, email="someone@example.com")
    notify.trigger("mail", to=list(ANSWERS))
    assert notify.drain().sent == len(ANSWERS)
    assert sorted(calls) == sorted(ANSWERS)
    found = {each.subscriber_id: notify.messages.get(each.id).attempts[0] for each in notify.messages.list(limit=50)}
    assert {who: attempt.provider_id for who, attempt in found.items()} == {
        who: kept for who, (_, kept) in ANSWERS.items()
    }


def test_a_hook_may_change_what_it_gets(house: Callable[..., Both]) -> None:
    notify = house(hooks=False)
    seen: list[Any] = []

    def push(message: Any) -> None:
        seen.append(dict(message.data["nested"]))
        message.data["nested"]["mine"] = message.data["mine"] = {object(), "\udfff"}

    def mail(message: Any) -> None:
        seen.append(dict(message.headers))
        message.headers["mine"] = object()

    notify.engine.deliver("push")(push)
    notify.engine.deliver("email")(mail)
    steps = [nk.Push("push", title="t", body="b", data={"nested": {"x": "1"}}), nk.Email("mail", subject="s", body="b")]
    notify.workflows.register(nk.Workflow("both", steps=steps))
    for who in ("ada", "bob"):
        notify.subscribers.upsert(who, email="someone@example.com", channels=CHANNELS)
    notify.trigger("both", to=["ada", "bob"], overrides={"email": {"headers": {"X-Id": "1"}}})
    assert notify.drain().sent == 4
    assert sorted(seen, key=str) == [{"X-Id": "1"}] * 2 + [{"x": "1"}] * 2


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class OddMapping(dict[str, Any]):
    """A mapping that cannot be looked into."""

    __iter__ = items = keys = __len__ = __eq__ = evil.broken
    __hash__ = None  # type: ignore[assignment]


RETURNED: dict[str, Callable[[], Any]] = {
    "half": lambda: {"x": "\ud800"},
    "half in a key": lambda: {"\ud800": 1},
    "nul": lambda: {"x": ["a\0"]},
    "nul in a key": lambda: {"x": {"a\0": 1}},
    "beyond 64 bits": lambda: {"x": 2**64},
    "huge number": lambda: {"x": 10**5000},
    "huge number as a key": lambda: {10**5000: 1},
    "nan": lambda: {"x": math.nan},
    "infinity": lambda: {"x": [math.inf]},
    "bytes": lambda: {"x": b"\xff"},
    "deep": lambda: {"x": deep(5000)},
    "large": lambda: {"x": "x" * 1_000_000},
    "taken": lambda: {"status": 1},
    "proxy": Proxy,
    "proxy inside": lambda: {"x": Proxy()},
    "proxy as a key": lambda: {Proxy(): 1},
    "odd mapping": lambda: OddMapping(x=1),
    "no mapping": lambda: [1],
}


def returning(context: nk.Context[Any]) -> Any:
    """What is this subscriber's lot."""
    who = context.subscriber["subscriber_id"]
    return {"x": evil.BrokenText("fine")} if who == SOUND else RETURNED[who]()


@pytest.mark.uneven
@pytest.mark.parametrize("pure", [True, False])
def test_what_custom_functions_return(notify: Both, pure: bool) -> None:
    steps = [nk.Custom("score", returning, pure=pure), nk.InApp("end", body="{{ steps.score.x | default('none') }}")]
    notify.workflows.register(nk.Workflow("scored", steps=steps))
    notify.trigger("scored", to=[*RETURNED, SOUND])
    notify.travel(days=1)
    found = reasons(notify, "score", "step_failed")
    assert set(found) == set(RETURNED)
    assert storable(found.values())
    assert all(bodies(notify, who) == ["none"] for who in RETURNED)
    assert bodies(notify, SOUND) == ["fine"]


TRUTHS: dict[str, Any] = {"pretender": Pretender(), "proxy": Proxy(), "odd mapping": OddMapping(x=1)}


def test_what_conditions_return(notify: Both) -> None:
    def when(context: nk.Context[Any]) -> Any:
        return TRUTHS.get(context.subscriber["subscriber_id"], True)

    notify.workflows.register(nk.Workflow("bell", steps=[nk.InApp("bell", body="b", when=when)]))
    notify.trigger("bell", to=[*TRUTHS, SOUND])
    assert bodies(notify, SOUND) == ["b"]
    found = reasons(notify, "bell", "message_skipped")
    assert set(found) == set(TRUTHS)
    assert storable(found.values())


CHARACTER = "{{ '%c' % payload.code if payload.code is defined else 'fine' }}"
RENDERED: dict[str, dict[str, Any]] = {
    "half": {"code": 0xD800},
    "nul": {"code": 0},
    "no character": {"code": 2**40},
    "too long": {"text": "x" * 30_000},
}


def test_what_templates_make(notify: Both) -> None:
    """Rendered in the transaction of the trigger, or outside: what cannot be stored fails that step of that run."""
    steps = [
        nk.InApp("bell", subject=f"s {CHARACTER}", body="b", data={"x": CHARACTER}),
        nk.InApp("long", body="{{ payload.text }}" * 600),
        nk.Email("mail", subject="s", body=CHARACTER),
        nk.Push("push", title="{{ payload.text }}" * 600, body="b", data={"x": CHARACTER}),
        nk.InApp("end", body="end"),
    ]
    notify.workflows.register(nk.Workflow("made", steps=steps))
    for who in (*RENDERED, SOUND):
        notify.subscribers.upsert(who, email="someone@example.com", channels=CHANNELS)
    to = [nk.Recipient(who, payload=payload) for who, payload in RENDERED.items()]
    assert notify.trigger("made", to=[*to, SOUND], payload={"text": "t"}).recipients == len(RENDERED) + 1
    report = notify.drain()
    odd = {"half", "nul", "no character"}
    assert set(reasons(notify, "bell", "message_failed")) == odd
    assert set(reasons(notify, "long", "message_failed")) == {"too long"}
    assert set(reasons(notify, "mail", "message_failed")) == odd
    assert set(reasons(notify, "push", "message_failed")) == set(RENDERED)
    assert (report.sent, report.failed) == (3, 7)
    for step in ("bell", "long", "mail", "push"):
        assert storable(reasons(notify, step, "message_failed").values())
    assert all(bodies(notify, who)[0] == "end" for who in (*RENDERED, SOUND))


@pytest.mark.uneven
def test_a_retry_after_beyond_everything_costs_nobody_anything(notify: Both) -> None:
    notify.workflows.register(nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")]))
    people(notify, "ada", "bob", "cid")
    asked = (int("9" * 400), "soon")
    notify.outside.fail("email", *[nk.TransientDeliveryError("429", retry_after=each) for each in asked])
    notify.trigger("mail", to=["ada", "bob", "cid"])
    assert notify.drain().sent == 1
    assert notify.drain().sent == 0
    assert len(notify.outside.calls) == 3
    attempts = [notify.messages.get(each.id).attempts for each in notify.messages.list()]
    errors = sorted(each.error or "" for (each,) in attempts)
    assert errors == ["", "429", "429 (its retry_after was not understood: the usual back-off)"]
    start = notify.clock.now()
    notify.travel(hours=2)
    assert len(notify.outside.sent) == 3
    assert notify.clock.now() - start == timedelta(hours=2)


UNSTORABLE: tuple[Any, ...] = ("b\udfff", "b\0", 10**5000)
BAD: dict[str, Callable[[Any], Any]] = {
    "id": lambda bad: bad,
    "id of a dict": lambda bad: {"subscriberId": bad},
    "id of a recipient": lambda bad: nk.Recipient(bad),
    "id of a row": lambda bad: type("Row", (), {"subscriber_id": bad})(),
    "field": lambda bad: {"subscriberId": "bad", bad: 1},
    "name": lambda bad: {"subscriberId": "bad", "firstName": bad},
    "phone": lambda bad: nk.Recipient("bad", phone=bad),
    "email": lambda bad: {"subscriberId": "bad", "email": bad if isinstance(bad, int) else f"{bad}@example.com"},
    "locale": lambda bad: {"subscriberId": "bad", "locale": bad},
    "timezone": lambda bad: {"subscriberId": "bad", "timezone": bad},
    "data": lambda bad: {"subscriberId": "bad", "data": {"x": [bad]}},
    "key of data": lambda bad: nk.Recipient("bad", data={bad: 1}),
    "channel": lambda bad: {"subscriberId": "bad", "channels": [{"provider": bad}]},
    "key of a channel": lambda bad: {"subscriberId": "bad", "channels": [{"provider": "p", bad: 1}]},
    "token": lambda bad: {
        "subscriberId": "bad",
        "channels": [{"provider": "p", "credentials": {"device_tokens": [bad]}}],
    },
    "topic": lambda bad: nk.Topic(bad),
    "topic of a dict": lambda bad: {"type": "Topic", "topicKey": bad},
    "field of a topic": lambda bad: {"topicKey": "t", bad: 1},
    "payload": lambda bad: nk.Recipient("bad", payload={"x": bad}),
    "key of a payload": lambda bad: nk.Recipient("bad", payload={"x": {bad: 1}}),
}
"""Recipients with a text that cannot be stored."""


def test_a_bad_recipient_costs_nobody_else(notify: Both) -> None:
    notify.workflows.register(nk.Workflow("bell", steps=[nk.InApp("bell", body="b")]))
    given = [make(bad) for bad in UNSTORABLE for make in BAD.values()]
    single = notify.trigger("bell", to=[SOUND, *given, "bob"])
    assert (single.status, single.recipients) == ("processed", 2)
    assert {problem.field.split(".")[1] for problem in single.problems} == {str(at + 1) for at in range(len(given))}
    for one in given:
        with pytest.raises(nk.InputError):
            notify.trigger("bell", to=one)
    mixed = [nk.Trigger("bell", to=[SOUND, one]) for one in given]
    alone = [{"name": "bell", "to": one} for one in given]
    found = notify.trigger_bulk([{"name": "bell", "to": "cid"}, *mixed, *alone, nk.Trigger("bell", to="cid")])
    statuses = [each.status for each in found]
    assert statuses == ["processed"] * (len(given) + 1) + ["error"] * len(given) + ["processed"]
    assert all(each.problems for each in found[1:-1])
    assert json.dumps([each.error for each in found], ensure_ascii=False).encode()
    assert notify.subscribers.find("bad") is None
    assert notify.count(Event) == 3 + len(given)


REFUSED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "workflow": lambda bad: {"name": bad},
    "key": lambda bad: {bad: 1},
    "payload": lambda bad: {"payload": {"x": bad}},
    "key of a payload": lambda bad: {"payload": {"x": [{bad: 1}]}},
    "overrides": lambda bad: {"overrides": {"email": {"subject": bad}}},
    "key of overrides": lambda bad: {"overrides": {bad: {}}},
    "key of an override": lambda bad: {"overrides": {"email": {bad: "x"}}},
    "step of overrides": lambda bad: {"overrides": {"steps": {bad: {}}}},
    "address of overrides": lambda bad: {"overrides": {"email": {"to": bad}}},
    "header": lambda bad: {"overrides": {"email": {"headers": {bad: "x"}}}},
    "unit": lambda bad: {"overrides": {"delay": {"unit": bad, "amount": 1}}},
    "actor": lambda bad: {"actor": bad},
    "actor of a dict": lambda bad: {"actor": {"subscriberId": bad}},
    "field of an actor": lambda bad: {"actor": {"subscriberId": "act", bad: 1}},
    "tenant": lambda bad: {"tenant": bad},
    "tenant of a dict": lambda bad: {"tenant": {"identifier": bad}},
    "field of a tenant": lambda bad: {"tenant": {"identifier": "acme", bad: 1}},
    "name of a tenant": lambda bad: {"tenant": {"identifier": "acme", "name": bad}},
    "data of a tenant": lambda bad: {"tenant": {"identifier": "acme", "data": {bad: bad}}},
    "transaction id": lambda bad: {"transactionId": bad},
    "recipients": lambda bad: {"to": bad},
}
"""Triggers with such a text."""


def test_a_bad_trigger_costs_no_other(notify: Both) -> None:
    notify.workflows.register(nk.Workflow("bell", steps=[nk.InApp("bell", body="b")]))
    notify.tenants.upsert("acme")
    sound = {"name": "bell", "to": SOUND}
    refused = {(name, at): make(bad) for at, bad in enumerate(UNSTORABLE) for name, make in REFUSED.items()}
    found = notify.trigger_bulk([sound, *[sound | one for one in refused.values()], sound])
    wrong = dict(zip(refused, found[1:-1], strict=True))
    assert {name: each.status for name, each in wrong.items()} == dict.fromkeys(refused, "error")
    assert (found[0].status, found[-1].status) == ("processed", "processed")
    assert json.dumps([each.error for each in found], ensure_ascii=False).encode()
    assert all(problem.message for each in wrong.values() for problem in each.problems)
    assert len(bodies(notify, SOUND)) == 2
