"""Preferences: whether a workflow may reach a subscriber on a channel. One total order, one pure function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from notifykit.model.codes import Channel
from notifykit.model.preference import EVERYTHING, of_workflow


@dataclass(frozen=True, slots=True)
class PreferenceDecision:
    """What came out.

    Attributes:
        allow: The channel may be used.
        rule: The rule that decided.
        trace: Every rule in the order in which they were asked, with what each said; the deciding one is the last.
    """

    allow: bool
    rule: str
    trace: tuple[str, ...]


def decide(
    channel: Channel,
    *,
    critical: bool,
    defaults: Mapping[Channel, bool],
    choices: Mapping[str, bool],
    workflow: str | None = None,
) -> PreferenceDecision:
    """Decide whether a channel may be used: locks first, then the most specific choice, then the definition, then yes.

    An opt-out never lets more through than before, and what nobody has said is inherited.

    Args:
        channel: The channel.
        critical: The workflow ignores subscribers' choices; a channel that the workflow itself switches off stays off.
        defaults: The workflow's own `preferences`; channels left out are undefined.
        choices: The subscriber's choices for this channel by target (`*`, `workflow:key`); those left out are
            undefined.
        workflow: The workflow's key; None asks for the global choice alone.

    Example:
        >>> decide("email", critical=False, defaults={}, choices={"*": False}, workflow="welcome").rule
        'subscriber, all workflows: off'
    """
    trace: list[str] = []
    for name, said in _rules(channel, critical, defaults, choices, workflow):
        if said is not None:
            rule = f"{name}: {'on' if said else 'off'}"
            return PreferenceDecision(said, rule, (*trace, rule))
        trace.append(f"{name}: undefined")
    raise AssertionError("the last rule always says something")


def _rules(
    channel: Channel,
    critical: bool,
    defaults: Mapping[Channel, bool],
    choices: Mapping[str, bool],
    workflow: str | None,
) -> Iterator[tuple[str, bool | None]]:
    """The rules, the strongest first, and what each says."""
    if critical:
        yield "critical workflow", defaults.get(channel, True)
    if workflow is not None:
        yield f"subscriber, workflow {workflow!r}", choices.get(of_workflow(workflow))
    yield "subscriber, all workflows", choices.get(EVERYTHING)
    yield "workflow definition", defaults.get(channel)
    yield "default", True
