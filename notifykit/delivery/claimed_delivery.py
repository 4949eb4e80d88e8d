"""One claimed job with everything that sending it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifykit.ids import encode_id
from notifykit.lifecycle.jobs import ClaimedJob
from notifykit.model.codes import Channel, ChannelCode, MessageStatus, RunStatus
from notifykit.model.values import Json
from notifykit.queries.addresses import Target
from notifykit.queries.run_facts import RunFacts
from notifykit.results import Message
from notifykit.workflow.context import TemplateScope
from notifykit.workflow.definition import Workflow
from notifykit.workflow.steps import Step


@dataclass(slots=True)
class MessageRow:
    """What the message's row says at the claim.

    Attributes:
        reason: Why it was stopped while a call was under way, which may have failed since; None while it is wanted.
        body: None until an attempt has rendered the content.
    """

    id: int
    environment: int
    channel: int
    status: int
    reason: str | None
    subject: str | None
    body: str | None
    data: Json | None
    expires_at: datetime | None
    created_at: datetime

    @property
    def channel_name(self) -> Channel:
        """The channel's name outside."""
        return CHANNEL_NAMES[self.channel]


CHANNEL_NAMES: dict[int, Channel] = {code.value: code.word for code in ChannelCode}


@dataclass(slots=True)
class ClaimedDelivery:
    """One job of this process.

    Attributes:
        job: The claimed job: its id, its lease and how often it was tried.
        facts: What is known of its run.
        subscriber: What templates see of the subscriber; empty if it is gone.
        message: The message to send; None for a custom step.
        overrides: What the trigger overrides at this step.
        targets: Where the message goes; none where the subscriber cannot be reached, or for a custom step.
        number: The number of this attempt among all of the message, from 1.
    """

    job: ClaimedJob
    facts: RunFacts
    subscriber: Json
    message: MessageRow | None
    overrides: Mapping[str, Any]
    targets: tuple[Target, ...]
    number: int

    @property
    def workflow(self) -> Workflow[Any, ...]:
        """The version that the run is pinned to."""
        return self.facts.version.workflow

    @property
    def scope(self) -> TemplateScope:
        """What templates and the host's functions see."""
        return self.facts.scope

    @property
    def step(self) -> Step:
        """The step that the job stands at."""
        return self.workflow.steps[self.job.step]

    @property
    def subscriber_id(self) -> str:
        """The subscriber's id, `''` for an address without one."""
        return str(self.subscriber.get("subscriber_id", ""))

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of its targets."""
        return tuple([target.address for target in self.targets])

    @property
    def address(self) -> str:
        """The address of its first target, `''` for none."""
        return self.targets[0].address if self.targets else ""

    @property
    def is_awaited(self) -> bool:
        """Whether the run waits for the outcome."""
        return self.facts.status == RunStatus.WAITING.value and self.facts.step == self.job.step

    @property
    def is_ephemeral(self) -> bool:
        """Whether the subscriber is an address only."""
        return self.facts.person is not None and not self.subscriber_id

    @property
    def key(self) -> str:
        """The idempotency key: the same for every attempt."""
        return encode_id("msg", self.message.id) if self.message else f"{encode_id('run', self.job.run)}/{self.step.id}"

    def shown(self, status: MessageStatus, reason: str | None, provider: str | None) -> Message:
        """The message as observers see it."""
        assert self.message is not None
        return Message(
            id=encode_id("msg", self.message.id),
            subscriber_id=self.subscriber_id,
            workflow=self.workflow.key,
            step=self.step.id,
            channel=self.message.channel_name,
            status=status.word,
            reason=reason,
            provider=provider,
            transaction_id=self.facts.transaction_id,
            created_at=self.message.created_at,
        )
