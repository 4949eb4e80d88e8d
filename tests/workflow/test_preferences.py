from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from notifykit.model.codes import CHANNELS
from notifykit.workflow.definition import Workflow
from notifykit.workflow.preferences import LEVELS, Level, PreferenceContext, decide, stored_targets

CHANNEL = st.sampled_from(CHANNELS)
DEFAULTS = st.dictionaries(CHANNEL, st.booleans())
TARGETS = st.sampled_from(["*", "workflow:welcome", "workflow:other"])
CHOSEN = st.dictionaries(TARGETS, st.booleans())
ADA, ACME = 7, 8


def decided(channel, chosen, *, critical=False, defaults=None, levels=None):
    workflow = Workflow("welcome", steps=[], critical=critical, preferences=defaults)
    return decide(channel, PreferenceContext(workflow, ADA, ACME), {ADA: chosen, 9: {"*": False}}, levels)


def allowed(channel, chosen, **options):
    return decided(channel, chosen, **options).allow


def test_the_most_specific_choice_decides():
    assert allowed("email", {})
    assert not allowed("email", {}, defaults={"email": False})
    assert allowed("email", {"*": True}, defaults={"email": False})
    assert not allowed("email", {"*": True, "workflow:welcome": False})
    assert allowed("email", {"*": False, "workflow:welcome": True})
    assert not allowed("email", {"*": False, "workflow:other": True})


def test_the_decision_says_what_was_asked_and_what_decided():
    found = decided("sms", {"*": False}, defaults={"sms": True})
    assert found.trace == ("subscriber, workflow 'welcome': undefined", "subscriber, all workflows: off")
    assert found.rule == found.trace[-1]
    assert decided("sms", {}).trace == (
        "subscriber, workflow 'welcome': undefined",
        "subscriber, all workflows: undefined",
        "workflow definition: undefined",
        "default: on",
    )
    assert decided("sms", {"*": False}, critical=True).trace == ("critical workflow: on",)
    whatever = decide("sms", PreferenceContext(None, ADA), {ADA: {"*": False, "workflow:welcome": True}})
    assert whatever.trace == ("subscriber, all workflows: off",)


@given(CHANNEL, st.booleans(), DEFAULTS, CHOSEN)
def test_it_is_a_function(channel, critical, defaults, chosen):
    assert decided(channel, chosen, critical=critical, defaults=defaults) == decided(
        channel, chosen, critical=critical, defaults=defaults
    )


@given(CHANNEL, st.booleans(), DEFAULTS, CHOSEN, TARGETS)
def test_an_opt_out_never_increases_what_is_sent(channel, critical, defaults, chosen, target):
    before = allowed(channel, chosen, critical=critical, defaults=defaults)
    after = allowed(channel, chosen | {target: False}, critical=critical, defaults=defaults)
    assert after <= before


@given(CHANNEL, DEFAULTS, CHOSEN)
def test_undefined_inherits(channel, defaults, chosen):
    without = {target: on for target, on in chosen.items() if target != "workflow:welcome"}
    assert allowed(channel, without, defaults=defaults) == chosen.get("*", defaults.get(channel, True))


@given(CHANNEL, DEFAULTS, CHOSEN)
def test_critical_ignores_the_subscriber_and_keeps_what_the_workflow_switches_off(channel, defaults, chosen):
    assert allowed(channel, chosen, critical=True, defaults=defaults) == defaults.get(channel, True)


def test_what_is_read_for_a_decision():
    welcome, alarm = Workflow("welcome", steps=[]), Workflow("alarm", steps=[], critical=True)
    assert stored_targets([welcome, alarm]) == ("*", "workflow:welcome")
    assert stored_targets([alarm]) == ()
    assert stored_targets([None]) == ("*",)


def test_a_level_is_a_row_of_the_table():
    def tags(workflow: Any) -> tuple[str, ...]:
        return ("tag:news", "tag:offers")

    tag = Level("subscriber, tags of {key!r}", subject="subscriber", targets=tags)
    levels = (*LEVELS[:2], tag, *LEVELS[2:])
    assert allowed("email", {"*": False, "tag:news": True}, levels=levels)
    assert not allowed("email", {"*": True, "tag:news": True, "tag:offers": False}, levels=levels)
    assert not allowed("email", {"workflow:welcome": False, "tag:news": True}, levels=levels)
    assert decided("email", {"tag:news": False}, levels=levels).rule == "subscriber, tags of 'welcome': off"
