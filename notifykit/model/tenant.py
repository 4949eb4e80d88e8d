"""A tenant: the host's own customer, data of an event."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from notifykit.model.base import ID, KEY, TEXT, Base, JsonText, UtcDateTime


class Tenant(Base, table=True):
    """One tenant of one environment."""

    __tablename__ = "notifykit_tenant"
    __table_args__ = (UniqueConstraint("environment", "identifier"),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    environment: int = Field(sa_type=ID)
    identifier: str = Field(sa_type=KEY)
    name: str | None = Field(default=None, sa_type=TEXT)
    data: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
