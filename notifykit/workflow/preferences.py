"""Preferences: whether a workflow may reach a subscriber on a channel. One table of levels, one pure function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from notifykit.model.codes import Channel
from notifykit.model.preference import EVERYTHING, of_workflow
from notifykit.workflow.definition import Workflow

AnyWorkflow = Workflow[Any, ...]
Targets = tuple[str, ...]
Choices = Mapping[int, Mapping[str, bool]]
"""Stored choices for one channel: by subject (the id of a subscriber's row), by target (`*`, `workflow:key`)."""


@dataclass(frozen=True, slots=True)
class PreferenceContext:
    """What a decision is about.

    Attributes:
        workflow: What is to be sent; None asks for what holds whatever the workflow.
        subscriber: The id of the subscriber's row, 0 for nobody.
        tenant: The id of the tenant's row, 0 for none.
    """

    workflow: AnyWorkflow | None
    subscriber: int = 0
    tenant: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the order: what is stored of one kind of subject, or what the definition itself says.

    Attributes:
        rule: How a decision names it; `{key!r}` is the workflow's key.
        applies: Whether it is asked at all.
        subject: Whose choices it reads: a field of `PreferenceContext`; None where nothing is stored for it.
        targets: The targets of its choices; of several an off beats an on.
        says: What it says where nothing is stored for it; None says nothing.
    """

    rule: str
    applies: Callable[[AnyWorkflow | None], bool] = lambda workflow: True
    subject: Literal["subscriber", "tenant"] | None = None
    targets: Callable[[AnyWorkflow | None], Targets] = lambda workflow: ()
    says: Callable[[AnyWorkflow | None, Channel], bool | None] = lambda workflow, channel: None

    def asked(self, context: PreferenceContext, channel: Channel, choices: Choices) -> bool | None:
        """What the level says of a channel; None where it says nothing."""
        if self.subject is None:
            return self.says(context.workflow, channel)
        chosen = choices.get(getattr(context, self.subject), {})
        said = [chosen[target] for target in self.targets(context.workflow) if target in chosen]
        return all(said) if said else None


def _is_critical(workflow: AnyWorkflow | None) -> bool:
    return workflow is not None and workflow.critical


def _is_given(workflow: AnyWorkflow | None) -> bool:
    return workflow is not None


def _workflow_target(workflow: AnyWorkflow | None) -> Targets:
    return () if workflow is None else (of_workflow(workflow.key),)


def _defined(workflow: AnyWorkflow | None, channel: Channel) -> bool | None:
    return None if workflow is None else workflow.preferences.get(channel)


LEVELS: tuple[Level, ...] = (
    Level("critical workflow", _is_critical, says=lambda workflow, channel: _defined(workflow, channel) is not False),
    Level("subscriber, workflow {key!r}", _is_given, "subscriber", _workflow_target),
    Level("subscriber, all workflows", subject="subscriber", targets=lambda workflow: (EVERYTHING,)),
    Level("workflow definition", says=_defined),
    Level("default", says=lambda workflow, channel: True),
)
"""Every level, the strongest first: the first one that says something decides."""


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
    channel: Channel, context: PreferenceContext, choices: Choices, levels: tuple[Level, ...] | None = None
) -> PreferenceDecision:
    """Decide whether a channel may be used: locks first, then the most specific choice, then the definition, then yes.

    An opt-out never lets more through than before, and what nobody has said is inherited.

    Args:
        channel: The channel.
        context: What is to be sent to whom.
        choices: What has been stored for this channel by the subjects of the context; others' don't matter.
        levels: Other levels than `LEVELS`.

    Example:
        >>> welcome = Workflow("welcome", steps=[])
        >>> decide("email", PreferenceContext(welcome, 7), {7: {"*": False}}).rule
        'subscriber, all workflows: off'
    """
    key = "" if context.workflow is None else context.workflow.key
    trace: list[str] = []
    for level in LEVELS if levels is None else levels:
        if not level.applies(context.workflow):
            continue
        said, name = level.asked(context, channel, choices), level.rule.format(key=key)
        if said is not None:
            rule = f"{name}: {'on' if said else 'off'}"
            return PreferenceDecision(said, rule, (*trace, rule))
        trace.append(f"{name}: undefined")
    raise AssertionError("the last level always says something")


def stored_targets(workflows: Collection[AnyWorkflow | None]) -> Targets:
    """The targets of every choice that a decision about some workflows may ask for; none for critical ones alone."""
    asked = [workflow for workflow in workflows if not _is_critical(workflow)]
    return tuple(sorted({target for level in LEVELS for workflow in asked for target in level.targets(workflow)}))
