"""What subscribers choose, and that nothing violates an opt-out once it returned."""

from __future__ import annotations

from typing import Any

import pytest

import notifykit as nk
from tests.behaviour.stories import STORIES, bodies, hello, kinds, mailed, people
from tests.harness.both import Both

vital = nk.Workflow(
    "vital", critical=True, steps=[nk.InApp("bell", body="vital"), nk.Email("mail", subject="s", body="b")]
)
quiet = nk.Workflow(
    "quiet",
    preferences={"in_app": False},
    steps=[nk.InApp("bell", body="quiet"), nk.Email("mail", subject="s", body="b")],
)
silent = nk.Workflow("silent", critical=True, preferences={"in_app": False}, steps=[nk.InApp("bell", body="silent")])
loud = nk.Workflow("loud", steps=[nk.InApp("bell", body="loud"), nk.Email("mail", subject="s", body="b")])


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES, vital, quiet, silent, loud)
    people(notify, "ada", "bob")


def channels(notify: Both, workflow: Any, who: str = "ada") -> set[str]:
    """The channels on which a workflow reaches somebody."""
    before = len(notify.outside.sent)
    result = notify.trigger(workflow, to=who)
    notify.drain()
    inbox = (
        {"in_app"}
        if notify.messages.list(transaction_id=result.transaction_id, channel="in_app", status="sent").items
        else set()
    )
    return inbox | {"email" for _ in notify.outside.sent[before:]}


def test_a_global_choice(notify: Both) -> None:
    notify.preferences.update("ada", channels={"in_app": False})
    assert channels(notify, loud) == {"email"}
    assert channels(notify, loud, "bob") == {"in_app", "email"}
    notify.preferences.update("ada", channels={"in_app": True})
    assert channels(notify, loud) == {"in_app", "email"}


def test_a_choice_for_one_workflow(notify: Both) -> None:
    notify.preferences.update("ada", workflow=loud, channels={"in_app": False})
    assert channels(notify, loud) == {"email"}
    assert channels(notify, hello) == {"in_app"}
    notify.preferences.update("ada", workflow="loud", channels={"in_app": True})
    assert channels(notify, loud) == {"in_app", "email"}


def test_the_more_specific_choice_wins(notify: Both) -> None:
    notify.preferences.update("ada", channels={"in_app": False})
    notify.preferences.update("ada", workflow=loud, channels={"in_app": True})
    assert channels(notify, loud) == {"in_app", "email"}
    assert channels(notify, hello) == set()


def test_a_later_wider_opt_out_clears_narrower_opt_ins(notify: Both) -> None:
    notify.preferences.update("ada", workflow=loud, channels={"in_app": True, "email": True})
    notify.preferences.update("ada", channels={"in_app": False})
    assert channels(notify, loud) == {"email"}


def test_a_wider_opt_in_keeps_narrower_opt_outs(notify: Both) -> None:
    notify.preferences.update("ada", workflow=loud, channels={"in_app": False})
    notify.preferences.update("ada", channels={"in_app": True})
    assert channels(notify, loud) == {"email"}
    assert channels(notify, hello) == {"in_app"}


def test_everything_off(notify: Both) -> None:
    notify.preferences.update("ada", enabled=False)
    assert channels(notify, loud) == set()
    assert set(notify.preferences.get("ada").values()) == {False}
    notify.preferences.update("ada", workflow=hello, enabled=True)
    assert channels(notify, hello) == {"in_app"}


def test_the_workflows_own_defaults(notify: Both) -> None:
    assert channels(notify, quiet) == {"email"}
    notify.preferences.update("ada", workflow=quiet, channels={"in_app": True})
    assert channels(notify, quiet) == {"in_app", "email"}


def test_a_critical_workflow_ignores_choices(notify: Both) -> None:
    notify.preferences.update("ada", enabled=False)
    assert channels(notify, vital) == {"in_app", "email"}
    assert channels(notify, silent) == set()


def test_a_choice_against_a_critical_workflow_is_refused(notify: Both) -> None:
    with pytest.raises(nk.ConflictError, match="vital"):
        notify.preferences.update("ada", workflow=vital, channels={"email": False})
    assert channels(notify, vital) == {"in_app", "email"}


def test_an_opt_out_while_the_message_is_queued(notify: Both) -> None:
    result = notify.trigger(mailed(order=1), to="ada")
    notify.preferences.update("ada", channels={"email": False})
    report = notify.drain()
    assert (notify.outside.calls, report.sent) == ([], 0)
    (message,) = notify.messages.list(transaction_id=result.transaction_id)
    assert (message.status, message.reason) == ("skipped", "preference")


def test_an_opt_out_while_the_run_waits(notify: Both) -> None:
    notify.trigger("order-shipped", to="ada", payload={"order": 1})
    notify.preferences.update("ada", workflow="order-shipped", channels={"email": False})
    notify.travel(hours=1)
    assert notify.outside.calls == []


def test_a_skip_is_told(notify: Both) -> None:
    notify.preferences.update("ada", enabled=False)
    result = notify.trigger(hello, to="ada")
    assert ("bell", "message_skipped", "preference") in kinds(notify, result, "ada")
    (run,) = notify.runs.list(subscriber="ada")
    assert (run.status, run.reason) == ("completed", "preference")
    assert bodies(notify, "ada") == []


def test_effective_values(notify: Both) -> None:
    assert notify.preferences.get("ada") == dict.fromkeys(("in_app", "email", "sms", "push", "chat"), True)
    assert notify.preferences.get("ada", workflow=loud) == {"in_app": True, "email": True}
    assert notify.preferences.get("ada", workflow=quiet) == {"in_app": False, "email": True}
    notify.preferences.update("ada", channels={"email": False, "sms": False})
    assert notify.preferences.get("ada", workflow="loud") == {"in_app": True, "email": False}
    assert notify.preferences.get("ada", workflow=vital) == {"in_app": True, "email": True}


def test_an_opt_out_of_a_channel_not_used_yet_is_kept(notify: Both) -> None:
    notify.preferences.update("ada", workflow=hello, channels={"email": False})
    grown = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello"), nk.Email("mail", subject="s", body="b")])
    notify.workflows.register(grown)
    assert channels(notify, grown) == {"in_app"}


def test_bad_choices(notify: Both) -> None:
    with pytest.raises(nk.NotFoundError):
        notify.preferences.update("nobody", enabled=False)
    with pytest.raises(nk.NotFoundError):
        notify.preferences.get("nobody")
    with pytest.raises(nk.NotFoundError):
        notify.preferences.update("ada", workflow="nowhere", enabled=False)
    with pytest.raises(nk.InputError, match="'email'"):
        notify.preferences.update("ada", channels={"emial": False})
    with pytest.raises(nk.InputError):
        notify.preferences.update("ada", channels={"email": "no"})
