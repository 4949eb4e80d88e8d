"""Events: what observers are told after the commit, one frozen value for each signal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from notifykit.model.codes import Channel
from notifykit.results import Message, Receipt, Status


@dataclass(frozen=True)
class TriggerProcessed:
    """A trigger was stored."""

    transaction_id: str
    workflow: str
    recipients: int


@dataclass(frozen=True)
class BulkFinished:
    """A bulk trigger has ended; how many of its triggers ended with which status."""

    counts: dict[Status, int]


@dataclass(frozen=True)
class MessageCreated:
    """A channel step made a message."""

    message: Message


@dataclass(frozen=True)
class MessageQueued:
    """A message waits for its channel."""

    message: Message


@dataclass(frozen=True)
class MessageSent:
    """A message went out, or is in the inbox."""

    message: Message
    receipt: Receipt


@dataclass(frozen=True)
class MessageFailed:
    """A message was given up."""

    message: Message
    error: str


@dataclass(frozen=True)
class MessageSkipped:
    """A channel step sends nothing; `message` is None where the step never made one."""

    transaction_id: str
    subscriber_id: str
    workflow: str
    step: str
    channel: Channel
    reason: str
    message: Message | None


@dataclass(frozen=True)
class MessageRead:
    """A message was marked as read."""

    message: Message


@dataclass(frozen=True)
class MessageSeen:
    """A message was marked as seen."""

    message: Message


@dataclass(frozen=True)
class RunFinished:
    """A run came to its end."""

    transaction_id: str
    subscriber_id: str
    workflow: str
    status: Literal["completed", "failed", "cancelled"]
    reason: str | None


@dataclass(frozen=True)
class WorkScheduled:
    """Work was put off; the earliest of it is due then."""

    due_at: datetime


@dataclass(frozen=True)
class HookFailed:
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
