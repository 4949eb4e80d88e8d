from __future__ import annotations

import pytest

from notifykit.errors import InputError
from notifykit.flow.steps import Delay, Email, InApp, Sms
from notifykit.workflow.definition import Workflow
from notifykit.workflow.overrides import check, for_step

WORKFLOW = Workflow(
    "k",
    steps=[
        InApp("bell", body="b"),
        Delay("wait", hours=1),
        Delay("until", until="payload.at"),
        Email("mail", subject="s"),
        Sms("text", body="b"),
    ],
)
MAIL, WAIT, UNTIL = (WORKFLOW.step(id) for id in ("mail", "wait", "until"))


def test_known_keys_have_one_form():
    kept = check(
        {"email": {"to": "a@b.c", "replyTo": "r@b.c", "subject": "one\r\nBcc: two"}, "sendgrid": {"x": 1}}, WORKFLOW
    )
    assert kept == {
        "email": {"to": ["a@b.c"], "reply_to": "r@b.c", "subject": "oneBcc: two"},
        "sendgrid": {"x": 1},
    }
    assert check(None, WORKFLOW) is None
    assert check({}, WORKFLOW) is None


def test_a_step_s_own_stand_above_its_channel_s():
    kept = check({"email": {"subject": "a", "text": "t"}, "steps": {"mail": {"subject": "b"}}}, WORKFLOW)
    assert for_step(kept, MAIL) == {"subject": "b", "text": "t"}
    assert for_step(kept, WORKFLOW.step("text")) == {}
    assert for_step(None, MAIL) == {}


def test_every_delay_that_has_a_span_is_overridden():
    kept = check({"delay": {"amount": 5, "unit": "minutes"}}, WORKFLOW)
    assert for_step(kept, WAIT) == {"amount": 5, "unit": "minutes"}
    assert for_step(kept, UNTIL) == {}
    own = check({"steps": {"until": {"amount": 5, "unit": "minutes"}}}, WORKFLOW)
    assert for_step(own, UNTIL) == {"amount": 5, "unit": "minutes"}


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ([], "overrides"),
        ({"email": "x"}, "overrides.email"),
        ({"email": {"to": "nobody"}}, "overrides.email.to"),
        ({"email": {"to": ["a@b.c", "a@b.c, d@e.f"]}}, "overrides.email.to.1"),
        ({"email": {"cc": 3}}, "overrides.email.cc"),
        ({"email": {"from": "a\nb"}}, "overrides.email.from"),
        ({"email": {"subject": 3}}, "overrides.email.subject"),
        ({"email": {"subjekt": "x"}}, "overrides.email.subjekt"),
        ({"email": {"headers": {"X-A": "a\r\nBcc: x"}}}, "overrides.email.headers.X-A"),
        ({"sms": {"body": None}}, "overrides.sms.body"),
        ({"push": {"data": []}}, "overrides.push.data"),
        ({"delay": {"amount": "5", "unit": "minutes"}}, "overrides.delay.amount"),
        ({"delay": {"amount": 5, "unit": "minuts"}}, "overrides.delay.unit"),
        ({"delay": {"amount": 5}}, "overrides.delay.unit"),
        ({"delay": {"amount": -5, "unit": "minutes"}}, "overrides.delay.amount"),
        ({"delay": {"amount": 1.5, "unit": "months"}}, "overrides.delay.amount"),
        ({"steps": {"mial": {}}}, "overrides.steps.mial"),
        ({"steps": {"mail": {"to": "x"}}}, "overrides.steps.mail.to"),
        ({"x": float("nan")}, "overrides.x"),
    ],
)
def test_a_bad_value_is_refused_with_its_path(overrides, field):
    with pytest.raises(InputError) as caught:
        check(overrides, WORKFLOW)
    assert caught.value.field == field
