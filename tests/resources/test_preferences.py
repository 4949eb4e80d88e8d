from __future__ import annotations

from typing import Any

import pytest

from notifykit import errors
from notifykit.flow.steps import Chat, Email, InApp, Sms
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import Registry
from tests.resources.conftest import House

digest = Workflow(
    "digest",
    steps=[InApp("bell", body="b"), Email("mail", subject="s", body="b"), Sms("text", body="b", active=False)],
    preferences={"email": False},
)
alarm = Workflow(
    "alarm", steps=[InApp("bell", body="b"), Chat("chat", body="b")], critical=True, preferences={"chat": False}
)


@pytest.fixture
def asked(house: House) -> House:
    house.registry.add(digest)
    house.registry.add(alarm)
    house.subscribers.upsert("ada")
    return house


def test_nothing_chosen_inherits(asked: House) -> None:
    assert asked.preferences.get("ada") == dict.fromkeys(("in_app", "email", "sms", "push", "chat"), True)
    assert asked.preferences.get("ada", workflow=digest) == {"in_app": True, "email": False}
    assert asked.preferences.get("ada", workflow="alarm") == {"in_app": True, "chat": False}


def test_the_most_specific_choice_counts(asked: House) -> None:
    asked.preferences.update("ada", channels={"in_app": False})
    assert asked.preferences.get("ada")["in_app"] is False
    assert asked.preferences.get("ada", workflow="digest")["in_app"] is False
    asked.preferences.update("ada", workflow=digest, channels={"in_app": True, "email": True, "push": False})
    assert asked.preferences.get("ada", workflow="digest") == {"in_app": True, "email": True}


def test_a_later_wider_opt_out_clears_narrower_opt_ins(asked: House) -> None:
    asked.preferences.update("ada", workflow="digest", channels={"in_app": True, "email": True})
    asked.preferences.update("ada", channels={"email": False})
    assert asked.preferences.get("ada", workflow="digest") == {"in_app": True, "email": False}
    asked.preferences.update("ada", workflow="digest", channels={"in_app": False})
    asked.preferences.update("ada", channels={"in_app": True})
    assert asked.preferences.get("ada", workflow="digest")["in_app"] is False


def test_all_off_and_all_on(asked: House) -> None:
    asked.preferences.update("ada", enabled=False)
    assert set(asked.preferences.get("ada").values()) == {False}
    asked.preferences.update("ada", enabled=True, channels={"sms": False})
    assert [channel for channel, wanted in asked.preferences.get("ada").items() if not wanted] == ["sms"]
    assert asked.rows("SELECT COUNT(*) FROM notifykit_preference") == [(5,)]


def test_a_critical_workflow_is_locked(asked: House) -> None:
    with pytest.raises(errors.ConflictError, match="alarm"):
        asked.preferences.update("ada", workflow="alarm", channels={"chat": True})
    asked.preferences.update("ada", enabled=False)
    assert asked.preferences.get("ada", workflow="alarm") == {"in_app": True, "chat": False}


def test_unknown_names(asked: House) -> None:
    for work in (asked.preferences.get, lambda who: asked.preferences.update(who, enabled=False)):
        with pytest.raises(errors.NotFoundError, match="'bob'"):
            work("bob")
    with pytest.raises(errors.NotFoundError, match="Did you mean 'digest'"):
        asked.preferences.get("ada", workflow="digset")


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        ({}, "channels"),
        ({"channels": {"mail": False}}, "channels.mail"),
        ({"channels": {"email": "no"}}, "channels.email"),
        ({"channels": ["email"]}, "channels"),
        ({"enabled": 1}, "enabled"),
    ],
)
def test_a_bad_choice_is_named(light: House, choice: Any, field: str) -> None:
    light.subscribers.upsert("ada")
    with pytest.raises(errors.InputError) as caught:
        light.preferences.update("ada", **choice)
    assert caught.value.field == field


def test_a_process_without_the_code_uses_what_is_stored(asked: House) -> None:
    asked.told("ada", workflow=digest)
    asked.told("ada", workflow=alarm)
    asked.registry = Registry()
    assert asked.preferences.get("ada", workflow="digest") == {"in_app": True, "email": False}
    with pytest.raises(errors.ConflictError):
        asked.preferences.update("ada", workflow="alarm", enabled=True)
