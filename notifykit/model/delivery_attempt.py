"""A delivery attempt: one call to the outside for one message."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import SmallInteger
from sqlmodel import Field

from notifykit.model.base import ID, LONG_KEY, TEXT, Base, UtcDateTime


class DeliveryAttempt(Base, table=True):
    """One call, from 1; `target` is a device token or an address where a message has several."""

    __tablename__ = "notifykit_delivery_attempt"

    message: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    target: str = Field(default="", primary_key=True, sa_type=LONG_KEY)
    attempt: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    integration: str = Field(default="", sa_type=LONG_KEY)
    idempotency_key: str = Field(default="", sa_type=LONG_KEY)
    outcome: int = Field(sa_type=SmallInteger)
    status_code: int | None = None
    provider_message_id: str | None = Field(default=None, sa_type=TEXT)
    response: str | None = Field(default=None, sa_type=TEXT)
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
