"""Choices of a chunk at every level that is stored, read once, and what comes of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, select

from notifykit.model.codes import Channel, ChannelCode
from notifykit.model.tables import preference
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow
from notifykit.workflow.preferences import Choices, PreferenceContext, PreferenceDecision, decide, stored_targets

CHOICES = Statement(
    select(preference.c.subject, preference.c.target, preference.c.channel, preference.c.enabled).where(
        preference.c.environment == bindparam("environment"),
        any_of(preference.c.subject, "subjects"),
        any_of(preference.c.target, "targets"),
    )
)
NO_CHOICES: Choices = {}


class ChannelPreferences:
    """Whether one workflow may reach the subscribers of a chunk on one channel.

    Attributes:
        usual: The decision for everybody who has chosen nothing.
        is_uniform: Nobody of the chunk has chosen anything for the channel: `usual` holds for all.
    """

    __slots__ = ("_channel", "_choices", "_workflow", "is_uniform", "usual")

    def __init__(self, workflow: Workflow[Any, ...] | None, channel: Channel, choices: Choices) -> None:
        """Decide once for all who have chosen nothing."""
        self._workflow, self._channel, self._choices = workflow, channel, choices
        self.usual = decide(channel, PreferenceContext(workflow), NO_CHOICES)
        self.is_uniform = not choices

    def decision(self, subscriber: int, tenant: int = 0) -> PreferenceDecision:
        """The decision for one subscriber.

        Args:
            subscriber: The id of the subscriber's row.
            tenant: The id of the tenant's row, 0 for none.
        """
        if subscriber not in self._choices and tenant not in self._choices:
            return self.usual
        return decide(self._channel, PreferenceContext(self._workflow, subscriber, tenant), self._choices)


class Preferences:
    """The stored choices of a chunk: the step, the claim, `get` and `explain` decide by them, all in the same way."""

    def __init__(self, choices: dict[int, Choices] | None = None) -> None:
        """Keep what was loaded.

        Args:
            choices: By the code of their channel.
        """
        self._choices = choices or {}
        self._decided: dict[tuple[Workflow[Any, ...] | None, Channel], ChannelPreferences] = {}

    def of(self, workflow: Workflow[Any, ...] | None, channel: Channel) -> ChannelPreferences:
        """The decisions for one workflow on one channel; None asks for what holds whatever the workflow."""
        key = (workflow, channel)
        if (known := self._decided.get(key)) is None:
            choices = self._choices.get(ChannelCode.of(channel).value, NO_CHOICES)
            known = self._decided[key] = ChannelPreferences(workflow, channel, choices)
        return known


def load(
    unit: Unit, environment: int, subjects: Collection[int], workflows: Collection[Workflow[Any, ...] | None]
) -> Preferences:
    """Load every choice that decisions about some workflows may ask for, in one statement.

    Args:
        unit: Any unit.
        environment: Of the runs; not necessarily the unit's own.
        subjects: Whose choices count: ids of rows of subscribers and tenants, which no two tables share; 0 is nobody.
        workflows: What goes to them; critical ones ask nobody, and None is every workflow.
    """
    ids, targets = sorted(set(subjects) - {0}), stored_targets(workflows)
    found: dict[int, dict[int, dict[str, bool]]] = {}
    if ids and targets:
        for subject, target, channel, enabled in CHOICES.rows(
            unit, environment=environment, subjects=ids, targets=targets
        ):
            found.setdefault(channel, {}).setdefault(subject, {})[target] = bool(enabled)
    return Preferences(dict(found))
