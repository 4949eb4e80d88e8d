"""A subscriber: somebody or something that can be told something."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from notifykit.model.base import ID, KEY, TEXT, Base, JsonText, UtcDateTime

EPHEMERAL = "\x1f"
"""Starts the subscriber id of an address without a subscriber; ids from outside are trimmed and can't start with it."""


def public_id(subscriber_id: str | None) -> str:
    """A subscriber id as it is seen outside: `''` for an address without a subscriber, or one that is gone."""
    return "" if subscriber_id is None or subscriber_id.startswith(EPHEMERAL) else subscriber_id


class Subscriber(Base, table=True):
    """One subscriber of one environment."""

    __tablename__ = "notifykit_subscriber"
    __table_args__ = (UniqueConstraint("environment", "subscriber_id"),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    environment: int = Field(sa_type=ID)
    subscriber_id: str = Field(sa_type=KEY)
    email: str | None = Field(default=None, sa_type=TEXT)
    phone: str | None = Field(default=None, sa_type=TEXT)
    first_name: str | None = Field(default=None, sa_type=TEXT)
    last_name: str | None = Field(default=None, sa_type=TEXT)
    avatar: str | None = Field(default=None, sa_type=TEXT)
    locale: str | None = Field(default=None, sa_type=TEXT)
    timezone: str | None = Field(default=None, sa_type=TEXT)
    data: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class SubscriberChannel(Base, table=True):
    """Where push and chat reach a subscriber; one row a device token."""

    __tablename__ = "notifykit_subscriber_channel"
    __table_args__ = (
        UniqueConstraint(
            "subscriber", "provider", "integration", "token_hash", name="uq_notifykit_subscriber_channel_token"
        ),
    )

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    subscriber: int = Field(sa_type=ID)
    provider: str = Field(sa_type=KEY)
    integration: str = Field(default="", sa_type=KEY)
    token_hash: str = Field(default="", sa_type=KEY)
    credentials: dict[str, Any] = Field(sa_type=JsonText)
