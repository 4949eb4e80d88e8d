"""One claimed job with everything that sending it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifykit.delivery.addresses import Addresses
from notifykit.ids import encode_id
from notifykit.lifecycle.jobs import ClaimedJob
from notifykit.model.codes import Channel, ChannelCode, MessageStatus, RunStatus
from notifykit.model.values import Json
from notifykit.queries.run_facts import RunFacts
from notifykit.results import Message
from notifykit.workflow.context import TemplateScope
from notifykit.workflow.definition import Workflow
from notifykit.workflow.overrides import for_step
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
    def word(self) -> Channel:
        """The channel's name."""
        return WORDS[self.channel]


WORDS: dict[int, Channel] = {code.value: code.word for code in ChannelCode}


@dataclass(slots=True)
class ClaimedDelivery:
    """One job of this process.

    Attributes:
        job: The claimed job: its id, its lease and how often it was tried.
        facts: What is known of its run.
        subscriber: What templates see of the subscriber; empty if it is gone.
        message: The message to send; None for a custom step.
        addresses: Where the subscriber is reached.
        number: The number of this attempt among all of the message, from 1.
    """

    job: ClaimedJob
    facts: RunFacts
    subscriber: Json
    message: MessageRow | None
    addresses: Addresses
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
    def overrides(self) -> Mapping[str, Any]:
        """What the trigger overrides at this step."""
        return for_step(self.facts.overrides, self.step) if self.facts.overrides else {}

    @property
    def recipients(self) -> tuple[str, ...]:
        """Where an e-mail goes: the subscriber's address, and those that the trigger adds."""
        own = (self.addresses.email,) if self.addresses.email else ()
        added = self.overrides.get("to")
        return tuple(dict.fromkeys((*own, *added))) if added else own

    @property
    def is_reachable(self) -> bool:
        """Whether there is an address for the message's channel."""
        assert self.message is not None
        channel = self.message.word
        return self.addresses.reach(channel) or (channel == "email" and bool(self.overrides.get("to")))

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
            channel=self.message.word,
            status=status.word,
            reason=reason,
            provider=provider,
            transaction_id=self.facts.transaction_id,
            created_at=self.message.created_at,
        )
