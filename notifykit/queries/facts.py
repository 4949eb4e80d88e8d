"""Facts about the subscribers of a chunk, loaded once for all its groups. Code after this point runs no SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select

from notifykit.model.codes import ChannelCode
from notifykit.model.preference import EVERYTHING, of_workflow
from notifykit.model.tables import preference, subscriber_channel
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow

CHOICES = Statement(
    select(preference.c.subject, preference.c.target, preference.c.channel, preference.c.enabled).where(
        preference.c.environment == bindparam("environment"),
        any_of(preference.c.subject, "ids"),
        any_of(preference.c.target, "targets"),
    )
)
CHANNELS = Statement(
    select(subscriber_channel.c.subscriber, subscriber_channel.c.token_hash, subscriber_channel.c.credentials).where(
        any_of(subscriber_channel.c.subscriber, "ids")
    )
)

DEVICES = frozenset({"push", "chat"})
"""Channels whose addresses are rows of their own."""

Choices = dict[str, bool]
"""A subscriber's choices for one channel, by target."""


@dataclass(slots=True)
class Facts:
    """What is known of the subscribers of a chunk.

    Attributes:
        choices: By channel code, by subscriber: only those who chose anything.
        push: Subscribers with a device token.
        chat: Subscribers with a webhook.
    """

    choices: dict[int, dict[int, Choices]] = field(default_factory=dict)
    push: set[int] = field(default_factory=set)
    chat: set[int] = field(default_factory=set)

    def has_address(self, channel: int, person: tuple[object, ...]) -> bool:
        """Whether a subscriber can be reached on an outside channel."""
        if channel in ADDRESS:
            return bool(person[ADDRESS[channel]])
        return person[0] in (self.push if channel == ChannelCode.PUSH.value else self.chat)


Loader = Callable[[Unit, Sequence[int], Collection[Workflow[Any, ...]], Facts], None]
"""Reads one kind of facts for the subscribers of a chunk and what goes to them, by one statement."""
ADDRESS = {ChannelCode.EMAIL.value: 2, ChannelCode.SMS.value: 3}
"""Where a subscriber row (`subscriber_fields.COLUMNS`) has the address of a channel."""


def load_choices(unit: Unit, ids: Sequence[int], workflows: Collection[Workflow[Any, ...]], facts: Facts) -> None:
    """What subscribers have chosen; of critical workflows nobody is asked."""
    targets = {of_workflow(workflow.key) for workflow in workflows if not workflow.critical}
    if targets and ids:
        for subject, target, channel, enabled in CHOICES.rows(
            unit, environment=unit.environment, ids=ids, targets=sorted(targets | {EVERYTHING})
        ):
            facts.choices.setdefault(channel, {}).setdefault(subject, {})[target] = bool(enabled)


def load_devices(unit: Unit, ids: Sequence[int], workflows: Collection[Workflow[Any, ...]], facts: Facts) -> None:
    """Who has a device or a webhook, where a workflow asks for them."""
    if ids and any(step.channel in DEVICES for workflow in workflows for step in workflow.steps):
        for subscriber, token, credentials in CHANNELS.rows(unit, ids=ids):
            if token:
                facts.push.add(subscriber)
            elif credentials.get("webhook_url"):
                facts.chat.add(subscriber)
