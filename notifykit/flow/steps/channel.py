"""What the steps of all channels ask before they make a message: preferences, and whether there is an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notifykit.flow.moving import MovingRuns
    from notifykit.flow.run_columns import Indexes, Text
    from notifykit.render.compiled import CompiledStep

NO_TEXT: Text = (None, None, None, None)
"""Subject, body, cta and data of a message whose text stands elsewhere, or is not made yet."""


def wanting(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
    """Those whose subscriber wants to be reached on the step's channel; the others skip it."""
    channel = step.step.channel
    assert channel is not None
    preferences = moving.context.facts.preferences.of(moving.workflow, channel)
    if preferences.usual.allow and preferences.is_uniform:
        return indexes
    subscribers, events = moving.runs.subscribers, moving.runs.events
    passed = []
    for index in indexes:
        decision = preferences.decision(subscribers[index][0], events[index].tenant_id)
        if decision.allow:
            passed.append(index)
        else:
            moving.skip(index, step, "preference", decision.rule)
    return passed


def reachable(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
    """Those whose subscriber has an address for the step's channel; the others skip it."""
    channel = step.step.channel
    assert channel is not None
    addresses, subscribers = moving.context.facts.addresses, moving.runs.subscribers
    passed = []
    for index in indexes:
        if addresses.reaches(subscribers[index], channel, moving.overrides(step, index)):
            passed.append(index)
        else:
            moving.skip(index, step, "no_address", f"the subscriber has no address for {channel}")
    return passed
