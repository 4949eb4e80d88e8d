"""Who can be told something: subscribers and topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from notifykit.model.values import Json, Value
from notifykit.results.triggers import Problem


@dataclass(frozen=True, eq=False, repr=False)
class SubscriberChannel(Value):
    """Where push or chat reaches a subscriber; credentials are readable but hidden in repr."""

    provider: str
    integration: str | None
    credentials: Json = field(repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Subscriber(Value):
    """One subscriber."""

    subscriber_id: str
    email: str | None
    phone: str | None
    first_name: str | None
    last_name: str | None
    avatar: str | None
    locale: str | None
    timezone: str | None
    data: Json
    channels: tuple[SubscriberChannel, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, eq=False, repr=False)
class BulkUpsert(Value):
    """What `subscribers.bulk_upsert` did; `failed` by position in the input."""

    created: int
    updated: int
    failed: Mapping[int, Problem]


@dataclass(frozen=True, eq=False, repr=False)
class TopicDetails(Value):
    """One topic; `members` is how many it has."""

    key: str
    name: str | None
    members: int
    created_at: datetime
