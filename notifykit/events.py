"""Events: what observers are told after the commit, one frozen value for each signal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from notifykit.model.codes import Channel
from notifykit.model.values import Value
from notifykit.outgoing import Receipt
from notifykit.results import Message, Status


@dataclass(frozen=True, eq=False, repr=False)
class TriggerProcessed(Value):
    """A trigger was stored."""

    transaction_id: str
    workflow: str
    recipients: int


@dataclass(frozen=True, eq=False, repr=False)
class BulkFinished(Value):
    """A bulk trigger has ended; how many of its triggers ended with which status."""

    counts: dict[Status, int]


@dataclass(frozen=True, eq=False, repr=False)
class MessageEvent(Value):
    """Something happened to a message."""

    message: Message


class MessageCreated(MessageEvent):
    """A channel step made a message."""


class MessageQueued(MessageEvent):
    """A message waits for its channel."""


@dataclass(frozen=True, eq=False, repr=False)
class MessageSent(MessageEvent):
    """A message went out, or is in the inbox."""

    receipt: Receipt


@dataclass(frozen=True, eq=False, repr=False)
class MessageFailed(MessageEvent):
    """A message was given up."""

    error: str


@dataclass(frozen=True, eq=False, repr=False)
class MessageSkipped(Value):
    """A channel step sends nothing; `message` is None where the step never made one."""

    transaction_id: str
    subscriber_id: str
    workflow: str
    step: str
    channel: Channel
    reason: str
    message: Message | None

    @classmethod
    def of(cls, message: Message, reason: str) -> MessageSkipped:
        """That a message which was made is not sent."""
        return cls(
            message.transaction_id,
            message.subscriber_id,
            message.workflow,
            message.step,
            message.channel,
            reason,
            message,
        )


class MessageRead(MessageEvent):
    """A message was marked as read."""


class MessageSeen(MessageEvent):
    """A message was marked as seen."""


@dataclass(frozen=True, eq=False, repr=False)
class RunFinished(Value):
    """A run came to its end."""

    transaction_id: str
    subscriber_id: str
    workflow: str
    status: Literal["completed", "failed", "cancelled"]
    reason: str | None


@dataclass(frozen=True, eq=False, repr=False)
class WorkScheduled(Value):
    """Work was put off; the earliest of it is due then."""

    due_at: datetime


@dataclass(frozen=True, eq=False, repr=False)
class HookFailed(Value):
    """A hook of the host's raised; `hook` names the function."""

    hook: str
    error: str


EVENTS: dict[str, type[Any]] = {
    re.sub(r"(?<!^)([A-Z])", r"_\1", event.__name__).lower(): event
    for event in (
        TriggerProcessed,
        BulkFinished,
        MessageCreated,
        MessageQueued,
        MessageSent,
        MessageFailed,
        MessageSkipped,
        MessageSeen,
        MessageRead,
        RunFinished,
        WorkScheduled,
        HookFailed,
    )
}
"""Every event's class by the name of its signal."""
NAMES: dict[type[Any], str] = {event: name for name, event in EVENTS.items()}
