"""What is looked at once more when a message is claimed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import notifykit as nk
from notifykit.providers import Console, Integration
from notifykit.testing import FakeClock, Kit, sandbox

PUSHED = {"provider": "fcm", "credentials": {"device_tokens": ["t1", "t2"]}}
OLD = {"provider": "slack", "integration": "old", "credentials": {"webhook_url": "https://hooks.example.com/old"}}
NEW = {"provider": "slack", "integration": "new", "credentials": {"webhook_url": "https://hooks.example.com/new"}}
ADA = nk.Recipient("ada", email="ada@example.com", phone="+1", channels=[PUSHED, OLD])

mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")])
push = nk.Workflow("push", steps=[nk.Push("push", title="t", body="b", data={"to": "{{ subscriber.first_name }}"})])
chat = nk.Workflow("chat", steps=[nk.Chat("chat", body="b")])


@pytest.fixture
def notify() -> Iterator[nk.Engine]:
    with nk.Engine(workflows=[mail, push, chat]) as engine:
        yield engine


@pytest.fixture
def kit(notify: nk.Engine) -> Iterator[Kit]:
    with sandbox(notify) as kit:
        yield kit


def only(notify: nk.Engine) -> nk.Message:
    (message,) = notify.messages.list()
    return message


def test_an_opt_out_after_the_message_was_queued(notify: nk.Engine, kit: Kit) -> None:
    heard: list[Any] = []
    notify.on.message_skipped(heard.append)
    notify.trigger(mail(), to=ADA)
    notify.preferences.update("ada", channels={"email": False})
    report = kit.drain()
    assert (report.sent, report.failed, len(kit.outbox)) == (0, 0, 0)
    assert (only(notify).status, only(notify).reason) == ("skipped", "preference")
    assert [(event.reason, event.step, event.message.status) for event in heard] == [("preference", "mail", "skipped")]
    lines = [(line.kind, line.reason) for line in notify.executions.list(subscriber="ada") if line.step == "mail"]
    assert lines == [("message_queued", None), ("message_skipped", "preference")]


def test_an_address_that_went_away(notify: nk.Engine, kit: Kit) -> None:
    notify.trigger(mail(), to=ADA)
    notify.subscribers.upsert("ada", email=None)
    kit.drain()
    assert (only(notify).status, only(notify).reason) == ("skipped", "no_address")


def test_an_override_is_an_address(notify: nk.Engine, kit: Kit) -> None:
    notify.trigger(mail(), to="bob", overrides={"email": {"to": ["b@example.com", "c@example.com"]}})
    kit.drain()
    assert kit.outbox.one(to="bob", channel="email").to == ("b@example.com", "c@example.com")


def test_all_tokens_and_the_newest_webhook(notify: nk.Engine, kit: Kit) -> None:
    notify.subscribers.upsert("ada", first_name="Ada", channels=[OLD])
    notify.subscribers.upsert("ada", channels=[NEW])
    notify.trigger(push(), to=ADA)
    notify.trigger(chat(), to=ADA)
    kit.drain()
    pushed, chatted = kit.outbox.one(channel="push"), kit.outbox.one(channel="chat")
    assert (set(pushed.tokens), pushed.data) == ({"t1", "t2"}, {"to": "Ada"})
    assert chatted.webhook_url == "https://hooks.example.com/new"


def test_a_subscriber_who_is_gone(notify: nk.Engine, kit: Kit) -> None:
    kit.fail("email", "crash", times=1)
    notify.trigger(mail(), to=ADA)
    kit.drain()
    notify.subscribers.delete("ada")
    report = kit.travel(hours=1)
    assert (report.sent, report.next_due, len(kit.outbox)) == (0, None, 0)


class Recording(Integration):
    name = "recording"
    channels = ("sms", "email")

    def __init__(self) -> None:
        self.taken: list[nk.OutgoingMessage] = []

    def send(self, message: nk.OutgoingMessage) -> str:
        self.taken.append(message)
        return "id-1"


def test_integrations_serve_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    recording, heard = Recording(), list[Any]()
    notify = nk.Engine(workflows=[mail, push, chat], integrations=[recording, Console()], clock=FakeClock())
    notify.on.message_sent(heard.append)
    for workflow in (mail, push, chat):
        notify.trigger(workflow(), to=ADA)
    assert notify.drain().sent == 3
    assert [message.step for message in recording.taken] == ["mail"]
    assert {(event.message.step, event.message.provider, event.receipt.provider_id) for event in heard} == {
        ("mail", "recording", "id-1"),
        ("push", "console", None),
        ("chat", "console", None),
    }
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "push to 2 device(s)" in shown.err
    notify.close()


def test_the_console_shows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    notify = nk.Engine(workflows=[mail], integrations=[Console()], clock=FakeClock())
    notify.trigger(mail(), to=ADA, overrides={"email": {"cc": ["c@example.com"], "text": "one\ntwo"}})
    notify.drain()
    shown = capsys.readouterr().err
    for text in ("mail/mail msg_", "email to ada@example.com", "cc: c@example.com", "subject: s", "    one\n    two"):
        assert text in shown
    notify.close()
