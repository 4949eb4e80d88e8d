from __future__ import annotations

from typing import Any

import pytest

import notifykit as nk
from notifykit.delivery.outcomes import Abandoned
from notifykit.testing import Outbox

HEAD: dict[str, Any] = {"id": "msg_1", "step": "mail", "idempotency_key": "k", "attempt": 1, "data": {}}
REST: dict[str, Any] = {"cc": (), "bcc": (), "sender": None, "reply_to": None, "html": None, "text": "t", "headers": {}}
SHIPPED = nk.Workflow("order-shipped", steps=[])


def mail(
    to: str, subject: str = "Hello", workflow: str = "order-shipped", subscriber: str | None = None
) -> nk.EmailMessage:
    whose = to.partition("@")[0] if subscriber is None else subscriber
    return nk.EmailMessage(**HEAD, **REST, workflow=workflow, subscriber_id=whose, to=(to,), subject=subject)


def text(to: str, body: str = "Hi") -> nk.SmsMessage:
    return nk.SmsMessage(**HEAD, workflow="code", subscriber_id=to, phone="+1", body=body)


def outbox(*messages: nk.OutgoingMessage) -> Outbox:
    box = Outbox(lambda: {"order-shipped", "code"})
    for message in messages:
        box.send(message)
    return box


class Host:
    subscriber_id = "ada"


def test_the_one_that_matches() -> None:
    ada, bob, code = mail("ada@example.com"), mail("bob@example.com"), text("ada")
    box = outbox(ada, bob, code)
    assert box.one(SHIPPED, to="ada") is ada
    assert box.one("order-shipped", to="bob", channel="email") is bob
    assert box.one(to=Host(), channel="sms") is code
    assert box.all() == (ada, bob, code)
    assert (len(box), list(box)) == (3, [ada, bob, code])
    box.none(SHIPPED, to="cy")
    box.none(channel="push")


def test_an_address_without_a_subscriber() -> None:
    stranger = mail("x@example.com", subscriber="")
    assert outbox(stranger, mail("ada@example.com")).one(to="x@example.com") is stranger


def failure(check: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check(*args, **options)
    return str(caught.value)


def test_failures_are_sentences_that_list_what_was_sent() -> None:
    box = outbox(mail("ada@example.com", "One"), mail("ada@example.com", "Two"), text("bob", "x" * 100))
    said = failure(box.one, SHIPPED, to="ada", channel="email")
    assert said.startswith("expected one e-mail of 'order-shipped' to 'ada', found 2; sent were:")
    assert "e-mail of 'order-shipped' (step 'mail') to 'ada': 'One'" in said
    assert "SMS of 'code' (step 'mail') to 'bob': 'xxx" in said
    assert "x" * 61 not in said
    assert failure(box.one, to="cy").startswith("expected one message to 'cy', found none; sent were:")
    assert failure(box.none, "code").startswith("expected no message of 'code', found 1; sent were:")
    assert "nothing was sent" in failure(outbox().one)
    assert "and 5 more" in failure(outbox(*[text("ada")] * 25).one)
    assert "One" in repr(box)


def test_questions_that_make_no_sense_fail_too() -> None:
    box = outbox()
    assert "inbox" in failure(box.none, channel="in_app")
    assert "inbox" in failure(box.one, channel="in_app")
    assert "Did you mean 'email'?" in failure(box.none, channel="emial")
    assert "Did you mean 'order-shipped'?" in failure(box.none, "order-shiped")
    assert "Did you mean 'crash'?" in failure(box.fail, "email", "crush")
    assert "can't fail -1 times" in failure(box.fail, "email", times=-1)
    assert "can't fail '2' times" in failure(box.fail, "email", times="2")
    assert "inbox" in failure(box.fail, "in_app")


def test_a_channel_is_made_to_fail() -> None:
    box = outbox()
    box.fail("email", times=1)
    with pytest.raises(nk.TransientDeliveryError):
        box.send(mail("ada@example.com"))
    box.send(mail("ada@example.com"))
    box.fail("email", "permanent")
    for _ in range(3):
        with pytest.raises(nk.PermanentDeliveryError):
            box.send(mail("ada@example.com"))
    box.send(text("ada"))
    box.fail("email", "crash", times=1)
    with pytest.raises(Abandoned):
        box.send(mail("ada@example.com"))
    box.fail("email", times=0)
    box.send(mail("ada@example.com"))
    assert len(box) == 3
