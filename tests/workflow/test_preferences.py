from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notifykit.model.codes import CHANNELS
from notifykit.workflow.preferences import decide

CHANNEL = st.sampled_from(CHANNELS)
DEFAULTS = st.dictionaries(CHANNEL, st.booleans())
TARGETS = st.sampled_from(["*", "workflow:welcome", "workflow:other"])
CHOICES = st.dictionaries(TARGETS, st.booleans())


def allowed(channel, choices, *, critical=False, defaults=None):
    found = decide(channel, critical=critical, defaults=defaults or {}, choices=choices, workflow="welcome")
    return found.allow


def test_the_most_specific_choice_decides():
    assert allowed("email", {})
    assert not allowed("email", {}, defaults={"email": False})
    assert allowed("email", {"*": True}, defaults={"email": False})
    assert not allowed("email", {"*": True, "workflow:welcome": False})
    assert allowed("email", {"*": False, "workflow:welcome": True})
    assert not allowed("email", {"*": False, "workflow:other": True})


def test_the_decision_says_what_decided():
    found = decide("sms", critical=False, defaults={"sms": True}, choices={"*": False}, workflow="welcome")
    assert "all workflows" in found.rule
    assert found.trace[-1] == found.rule


@given(CHANNEL, st.booleans(), DEFAULTS, CHOICES)
def test_it_is_a_function(channel, critical, defaults, choices):
    def once():
        return decide(channel, critical=critical, defaults=defaults, choices=choices, workflow="welcome")

    assert once() == once()


@given(CHANNEL, st.booleans(), DEFAULTS, CHOICES, TARGETS)
def test_an_opt_out_never_increases_what_is_sent(channel, critical, defaults, choices, target):
    before = allowed(channel, choices, critical=critical, defaults=defaults)
    after = allowed(channel, choices | {target: False}, critical=critical, defaults=defaults)
    assert after <= before


@given(CHANNEL, DEFAULTS, CHOICES)
def test_undefined_inherits(channel, defaults, choices):
    without = {target: on for target, on in choices.items() if target != "workflow:welcome"}
    assert allowed(channel, without, defaults=defaults) == choices.get("*", defaults.get(channel, True))


@given(CHANNEL, DEFAULTS, CHOICES)
def test_critical_ignores_the_subscriber_and_keeps_what_the_workflow_switches_off(channel, defaults, choices):
    assert allowed(channel, choices, critical=True, defaults=defaults) == defaults.get(channel, True)
