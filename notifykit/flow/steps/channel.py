"""What the steps of all channels ask before they make a message: preferences, and whether there is an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifykit.model.codes import Channel, ChannelCode
from notifykit.workflow.preferences import PreferenceDecision, decide

if TYPE_CHECKING:
    from notifykit.flow.moving import MovingRuns
    from notifykit.flow.run_columns import Indexes, Text
    from notifykit.render.compiled import CompiledStep

NO_CHOICE: dict[str, bool] = {}
EMAIL = ChannelCode.EMAIL.value
NO_TEXT: Text = (None, None, None, None)
"""Subject, body, cta and data of a message whose text stands elsewhere, or is not made yet."""


def wanting(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
    """Those whose subscriber wants to be reached on the step's channel; the others skip it."""
    channel = step.step.channel
    assert channel is not None
    choices = moving.context.facts.choices.get(ChannelCode.of(channel).value, {})
    usual = _decide(moving, channel, NO_CHOICE)
    if usual.allow and not choices:
        return indexes
    passed = []
    for index in indexes:
        chosen = choices.get(moving.runs.subscribers[index][0])
        decision = usual if chosen is None else _decide(moving, channel, chosen)
        if decision.allow:
            passed.append(index)
        else:
            moving.skip(index, step, "preference", decision.rule)
    return passed


def reachable(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
    """Those whose subscriber has an address for the step's channel; the others skip it."""
    channel = step.step.channel
    assert channel is not None
    code = ChannelCode.of(channel).value
    passed = []
    for index in indexes:
        if moving.context.facts.has_address(code, moving.runs.subscribers[index]) or (
            code == EMAIL and moving.overrides(step, index).get("to")
        ):
            passed.append(index)
        else:
            moving.skip(index, step, "no_address", f"the subscriber has no address for {channel}")
    return passed


def _decide(moving: MovingRuns, channel: Channel, choices: dict[str, bool]) -> PreferenceDecision:
    workflow = moving.workflow
    return decide(
        channel,
        workflow=workflow.key,
        critical=workflow.critical,
        defaults=workflow.preferences,
        choices=choices,
    )
