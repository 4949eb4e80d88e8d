"""An event: a stored trigger."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, SmallInteger
from sqlmodel import Field

from notifykit.model.base import ID, KEY, TEXT, Base, JsonText, UtcDateTime, only_where


class Event(Base, table=True):
    """One accepted trigger. A generated transaction id is derived from the id and not stored."""

    __tablename__ = "notifykit_event"
    __table_args__ = (
        Index(
            "ux_notifykit_event_transaction_id",
            "environment",
            "transaction_id",
            unique=True,
            info=only_where("transaction_id IS NOT NULL"),
        ),
    )

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    environment: int = Field(sa_type=ID)
    transaction_id: str | None = Field(default=None, sa_type=KEY)
    workflow: int = Field(sa_type=ID)
    version: int = Field(sa_type=ID)
    tenant: int = Field(default=0, sa_type=ID)
    actor: int = Field(default=0, sa_type=ID)
    payload: dict[str, Any] = Field(sa_type=JsonText)
    overrides: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    status: int = Field(sa_type=SmallInteger)
    recipients: int = Field(default=0, sa_type=ID)
    errors: list[Any] | None = Field(default=None, sa_type=JsonText)
    trace: str | None = Field(default=None, sa_type=TEXT)
    created_at: datetime = Field(sa_type=UtcDateTime)
