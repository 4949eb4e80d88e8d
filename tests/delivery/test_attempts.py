"""Attempts: one for each call and target, with the code that the outside answered with."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.delivery.outcomes import Abandoned
from notifykit.model import DeliveryAttempt
from tests.harness.both import Both

push = nk.Workflow("push", steps=[nk.Push("push", title="t", body="b")])
mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")])
text = nk.Workflow("text", steps=[nk.Sms("text", body="b")])
chat = nk.Workflow("chat", steps=[nk.Chat("chat", body="b")])
LONG = "x" * 300


def devices(provider: str, *tokens: str) -> dict[str, Any]:
    return {"provider": provider, "credentials": {"device_tokens": list(tokens)}}


@pytest.fixture
def notify(house: Callable[..., Both]) -> Both:
    return house(hooks=False, workflows=[push, mail, text, chat])


def serve(notify: Both, channel: Any, answer: Callable[[Any], Any]) -> None:
    async def awaited(message: Any) -> Any:
        return answer(message)

    notify.engine.deliver(channel)(awaited if notify.notifier == "async" else answer)


def failing(*errors: Exception | None) -> Callable[[Any], None]:
    left = list(errors)

    def answer(message: Any) -> None:
        if left and (error := left.pop(0)) is not None:
            raise error

    return answer


def attempts(notify: Both) -> list[tuple[int, str | None, str, int | None]]:
    (message,) = notify.messages.list()
    shown = notify.messages.get(message.id).attempts
    return [(each.number, each.target, each.outcome, each.status_code) for each in shown]


def stored(notify: Both) -> set[str]:
    return {
        row[0] for row in notify.read(lambda connection: connection.execute(sa.select(DeliveryAttempt.target)).all())
    }


def test_one_call_for_several_tokens_is_an_attempt_for_each(notify: Both) -> None:
    calls: list[Any] = []
    serve(notify, "push", lambda message: calls.append(message.tokens))
    notify.trigger(push, to=nk.Recipient("ada", channels=[devices("fcm", "b", "a"), devices("apns", "a", LONG)]))
    assert notify.drain().sent == 1
    assert calls == [("a", "a", "b", LONG)]
    digest = sha256(LONG.encode()).hexdigest()
    assert stored(notify) == {"a", "b", digest}
    short = f"{digest[:12]}…{digest[-6:]}"
    assert sorted(attempts(notify)) == sorted(
        [(1, "a", "sent", None), (1, "b", "sent", None), (1, short, "sent", None)]
    )
    told = [line.data["target"] for line in notify.executions.list(subscriber="ada") if line.kind == "attempt"]
    assert sorted(told) == sorted(["a", "b", short])


@pytest.mark.parametrize("length", [255, 256])
def test_a_target_that_a_key_has_no_room_for_is_stored_as_its_hash(notify: Both, length: int) -> None:
    serve(notify, "push", lambda message: None)
    token = "y" * length
    notify.trigger(push, to=nk.Recipient("ada", channels=[devices("fcm", token)]))
    notify.drain()
    assert stored(notify) == {token if length == 255 else sha256(token.encode()).hexdigest()}


def test_every_attempt_is_numbered_and_has_its_code(notify: Both) -> None:
    busy = nk.TransientDeliveryError("busy", retry_after=1, status_code=429)
    serve(notify, "push", failing(busy, nk.PermanentDeliveryError("gone", status_code=410)))
    notify.trigger(push, to=nk.Recipient("ada", channels=[devices("fcm", "a", "b")]))
    notify.drain()
    notify.travel(hours=1)
    assert attempts(notify) == [
        (1, "a", "transient", 429),
        (1, "b", "transient", 429),
        (2, "a", "permanent", 410),
        (2, "b", "permanent", 410),
    ]
    assert notify.messages.retry(notify.messages.list()) == 1
    notify.drain()
    assert attempts(notify)[4:] == [(3, "a", "sent", None), (3, "b", "sent", None)]


def test_a_call_that_nobody_heard_the_end_of_is_unknown_for_each_target(notify: Both) -> None:
    serve(notify, "push", failing(Abandoned()))
    notify.trigger(push, to=nk.Recipient("ada", channels=[devices("fcm", "a", "b")]))
    notify.drain()
    notify.clock.move(minutes=2)
    assert notify.drain().sent == 1
    assert [each[:3] for each in attempts(notify)] == [
        (1, "a", "unknown"),
        (1, "b", "unknown"),
        (2, "a", "sent"),
        (2, "b", "sent"),
    ]


def test_a_lost_call_is_told_of_though_its_targets_are_gone(notify: Both) -> None:
    serve(notify, "push", failing(Abandoned()))
    notify.trigger(push, to=nk.Recipient("ada", channels=[devices("fcm", "a")]))
    notify.drain()
    notify.subscribers.upsert("ada", channels=[devices("fcm")])
    notify.clock.move(minutes=2)
    assert notify.drain().sent == 0
    assert attempts(notify) == [(1, None, "unknown", None)]
    assert [(each.status, each.reason) for each in notify.messages.list()] == [("skipped", "no_address")]


@pytest.mark.parametrize(
    ("workflow", "channel", "target"),
    [
        (mail, "email", "ada@example.com"),
        (text, "sms", "+43 1 234"),
        (chat, "chat", "https://hook…m/ada2"),
    ],
    ids=["email", "sms", "chat"],
)
def test_the_address_is_the_target(notify: Both, workflow: Any, channel: str, target: str) -> None:
    urls = [f"https://hooks.example.com/ada{n}" for n in (1, 2)]
    hooks = [{"provider": f"slack-{url[-1]}", "credentials": {"webhook_url": url}} for url in urls]
    ada = nk.Recipient("ada", email="ada@example.com", phone="+43 1 234", channels=hooks)
    serve(notify, channel, lambda message: nk.Receipt("id-1", status_code=202))
    notify.trigger(workflow, to=ada)
    assert notify.drain().sent == 1
    assert attempts(notify) == [(1, target, "sent", 202)]


def test_an_email_to_more_addresses_is_one_attempt(notify: Both) -> None:
    calls: list[Any] = []
    serve(notify, "email", lambda message: calls.append(message.to))
    more = {"email": {"to": ["cc@example.com", "ada@example.com"]}}
    notify.trigger(mail, to=nk.Recipient("ada", email="ada@example.com"), overrides=more)
    notify.trigger(mail, to=nk.Recipient("bob"), overrides=more)
    assert notify.drain().sent == 2
    assert calls == [("ada@example.com", "cc@example.com"), ("cc@example.com", "ada@example.com")]
    shown = {each.subscriber_id: notify.messages.get(each.id).attempts for each in notify.messages.list()}
    assert [each.target for each in shown["ada"]] == ["ada@example.com"]
    assert [each.target for each in shown["bob"]] == ["cc@example.com"]


def test_only_an_email_goes_to_addresses_that_the_trigger_adds(notify: Both) -> None:
    calls: list[Any] = []
    serve(notify, "sms", lambda message: calls.append(message.phone))
    for who in (nk.Recipient("ada"), nk.Recipient("bob", phone="+43 1")):
        notify.trigger(text, to=who, overrides={"sms": {"to": "+49 1"}})
    assert notify.drain().sent == 1
    assert calls == ["+43 1"]
    (message,) = notify.messages.list()
    assert [each.target for each in notify.messages.get(message.id).attempts] == ["+43 1"]


@pytest.mark.table
@pytest.mark.parametrize("code", ["200", 1000, -1, True, 2**70, None])
def test_what_is_no_status_code_is_not_kept(notify: Both, code: Any) -> None:
    serve(notify, "email", failing(nk.PermanentDeliveryError("no", status_code=code)))
    notify.trigger(mail, to=nk.Recipient("ada", email="ada@example.com"))
    assert notify.drain().failed == 1
    assert attempts(notify) == [(1, "ada@example.com", "permanent", None)]


def test_tokens_are_in_no_log(notify: Both, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token = "secret-token-" + "z" * 40
    serve(notify, "push", failing(RuntimeError("broken"), Abandoned()))
    notify.trigger(push, to=nk.Recipient("ada", channels=[devices("fcm", token)]))
    notify.drain()
    notify.travel(hours=2)
    assert notify.messages.list(status="sent").items
    assert token not in caplog.text
