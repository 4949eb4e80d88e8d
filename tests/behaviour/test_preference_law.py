"""One preference path: the step, the claim, `preferences.get` and `explain` never say different things."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

import notifykit as nk
from notifykit.model import Preference
from notifykit.model.preference import EVERYTHING
from notifykit.workflow import preferences
from notifykit.workflow.preferences import LEVELS, Level
from tests.harness.both import Both
from tests.harness.statements import statements

STEPS = [nk.InApp("bell", body="b"), nk.Email("mail", subject="s", body="b"), nk.Push("push", title="t", body="b")]
WORKFLOWS = {
    "plain": nk.Workflow("plain", steps=STEPS),
    "quiet": nk.Workflow("quiet", preferences={"email": False, "push": True}, steps=STEPS),
    "vital": nk.Workflow("vital", critical=True, steps=STEPS),
    "silent": nk.Workflow("silent", critical=True, preferences={"in_app": False, "push": False}, steps=STEPS),
}
USED = ("in_app", "email", "push")
DEVICES = [{"provider": "fcm", "credentials": {"device_tokens": ["token-1"]}}]
CHOICES = st.lists(
    st.tuples(
        st.sampled_from([None, "plain", "quiet"]),
        st.dictionaries(st.sampled_from([*USED, "sms"]), st.booleans(), min_size=1),
    ),
    max_size=4,
)
pytestmark = [pytest.mark.table, pytest.mark.uneven]


@pytest.fixture
def notify(notify: Both) -> Both:
    notify.workflows.register(*WORKFLOWS.values())
    return notify


def choose(notify: Both, who: str, choices: list[tuple[str | None, dict[Any, bool]]]) -> None:
    for workflow, channels in choices:
        notify.preferences.update(who, workflow=workflow, channels=channels)


def sent(notify: Both, result: nk.TriggerResult) -> dict[str, bool]:
    """By channel, whether a message was sent."""
    messages = notify.messages.list(transaction_id=result.transaction_id)
    return {channel: any(each.channel == channel and each.status == "sent" for each in messages) for channel in USED}


def foreseen(notify: Both, key: str, who: str) -> dict[str, bool]:
    """By channel, what `explain` says; it names the rule of a preference where it skips."""
    plan = notify.explain(WORKFLOWS[key], to=who)
    assert all(row.outcome == "send" or row.reason == "preference" for row in plan.rows)
    return {row.channel: row.outcome == "send" for row in plan.rows if row.channel}


def test_step_claim_get_and_explain_agree(notify: Both) -> None:
    names = (f"user-{n}" for n in count())

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(sorted(WORKFLOWS)), CHOICES, CHOICES)
    def law(key: str, before: list[Any], after: list[Any]) -> None:
        who = next(names)
        notify.subscribers.upsert(who, email="ada@example.com", channels=DEVICES)
        choose(notify, who, before)
        at_the_step = dict(notify.preferences.get(who, workflow=key))
        assert foreseen(notify, key, who) == at_the_step
        soon = notify.trigger(WORKFLOWS[key], to=who)
        queued = {each.channel for each in notify.messages.list(transaction_id=soon.transaction_id)}
        assert {channel for channel, wanted in at_the_step.items() if wanted} == queued
        notify.drain()
        assert sent(notify, soon) == at_the_step
        late = notify.trigger(WORKFLOWS[key], to=who)
        choose(notify, who, after)
        at_the_claim = notify.preferences.get(who, workflow=key)
        notify.drain()
        assert sent(notify, late) == {
            channel: wanted and (channel == "in_app" or at_the_claim[channel])
            for channel, wanted in at_the_step.items()
        }

    law()


def test_what_others_chose_is_nobody_elses(notify: Both) -> None:
    for who in ("ada", "bob", "cyd"):
        notify.subscribers.upsert(who, email="ada@example.com", channels=DEVICES)
    notify.preferences.update("bob", channels={"email": False})
    notify.preferences.update("cyd", workflow="plain", enabled=False)
    result = notify.trigger(WORKFLOWS["plain"], to=["ada", "bob", "cyd"])
    notify.drain()
    messages = notify.messages.list(transaction_id=result.transaction_id, status="sent")
    assert sorted((each.subscriber_id, each.channel) for each in messages) == [
        ("ada", "email"),
        ("ada", "in_app"),
        ("ada", "push"),
        ("bob", "in_app"),
        ("bob", "push"),
    ]


def test_a_level_more_is_asked_everywhere(notify: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the table of levels is all that a tenant's defaults will need: nobody who decides is touched."""
    notify.tenants.upsert("acme")
    notify.subscribers.upsert("ada", email="ada@example.com", channels=DEVICES)
    if notify.notifier == "async":
        pytest.skip("the row is written by hand")
    tenant = Level("tenant", subject="tenant", targets=lambda workflow: (EVERYTHING,))
    off = {"email": True, "in_app": True, "push": True}
    assert notify.scoped(tenant="acme").preferences.get("ada", workflow="plain") == off
    queued = notify.trigger(WORKFLOWS["plain"], to="ada", tenant="acme")
    with notify.engine._runtime.database.transaction(write=True) as connection:
        row = connection.execute(sa.text("SELECT id FROM notifykit_tenant")).scalar_one()
        connection.execute(
            sa.insert(Preference.__table__),  # type: ignore[attr-defined]
            {
                "environment": 1,
                "subject": row,
                "target": "*",
                "channel": 2,
                "enabled": False,
                "locked": False,
                "updated_at": notify.clock.now(),
            },
        )
    monkeypatch.setattr(preferences, "LEVELS", (*LEVELS[:3], tenant, *LEVELS[3:]))
    wanted = {"email": False, "in_app": True, "push": True}
    assert notify.scoped(tenant="acme").preferences.get("ada", workflow="plain") == wanted
    assert notify.preferences.get("ada", workflow="plain") == off
    plan = notify.explain(WORKFLOWS["plain"], to="ada", tenant="acme")
    assert [row.rule for row in plan.rows if row.channel == "email"] == ["tenant: off"]
    result = notify.trigger(WORKFLOWS["plain"], to="ada", tenant="acme")
    notify.drain()
    assert sent(notify, result) == sent(notify, queued) == wanted


def test_preferences_cost_one_statement_a_claim_and_none_a_subscriber(notify: Both) -> None:
    def asked(people: int) -> int:
        names = [f"user-{n}" for n in range(people)]
        for who in names:
            notify.subscribers.upsert(who, email="ada@example.com")
            notify.preferences.update(who, channels={"sms": False})
        with statements() as seen:
            notify.trigger(WORKFLOWS["plain"], to=names)
        return sum("notifykit_preference" in text for text in seen)

    assert asked(2) == asked(20) == 1
