"""Messages: what was sent, and as an inbox shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic

from notifykit.model.codes import Channel, MessageState, Outcome
from notifykit.model.values import Json, M, Value


@dataclass(frozen=True, eq=False, repr=False)
class Message(Value):
    """What one channel step produced; `provider` is who sent it: an integration's name, or `hook`."""

    id: str
    subscriber_id: str
    workflow: str
    step: str
    channel: Channel
    status: MessageState
    reason: str | None
    provider: str | None
    transaction_id: str
    created_at: datetime


@dataclass(frozen=True, eq=False, repr=False)
class Attempt(Value):
    """One call to the outside; numbers count from 1, `target` is a device token or address, shortened."""

    number: int
    target: str | None
    integration: str
    outcome: Outcome
    status_code: int | None
    provider_id: str | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, eq=False, repr=False)
class MessageDetails(Message):
    """One message with what it said and every attempt to send it."""

    subject: str | None
    body: str | None
    html: str | None
    data: Json
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, eq=False, repr=False)
class InboxMessage(Value, Generic[M]):
    """One message of an inbox.

    Attributes:
        payload: Of the type of the workflow passed to `list(workflow=)`, else the plain mapping.
        actor: `subscriber_id`, `name`, `avatar`, or None.
        redirect: Absolute http(s), or rooted at `/`.
        redirect_target: `_self`, `_blank`, `_parent` or `_top`.
        primary: A button: `label`, `url`.
        secondary: The other button.
    """

    id: str
    subject: str | None
    body: str
    payload: M
    data: Json
    transaction_id: str
    workflow: str
    step: str
    tags: tuple[str, ...]
    actor: Json | None
    tenant: str | None
    redirect: str | None
    redirect_target: str | None
    primary: Json | None
    secondary: Json | None
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    created_at: datetime
