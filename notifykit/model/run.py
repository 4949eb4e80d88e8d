"""A run: one event for one subscriber."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, SmallInteger, UniqueConstraint
from sqlmodel import Field

from notifykit.model.base import ID, TEXT, Base, JsonText, UtcDateTime


class Run(Base, table=True):
    """One event on its way to one subscriber.

    `payload` is NULL where it is the event's; `step` the place where a waiting run stands; `results` every finished
    step's record; `trace` one JSON line for each thing that happened. `workflow` and `tenant` are the event's; `topic`
    is the one by which the subscriber came, 0 for whoever was named, selected or is one of everyone.
    """

    __tablename__ = "notifykit_run"
    __table_args__ = (UniqueConstraint("event", "subscriber"), Index(None, "subscriber"))

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    environment: int = Field(sa_type=ID)
    event: int = Field(sa_type=ID)
    subscriber: int = Field(sa_type=ID)
    payload: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    step: int = Field(sa_type=SmallInteger)
    status: int = Field(sa_type=SmallInteger)
    results: dict[str, Any] = Field(sa_type=JsonText)
    trace: str = Field(sa_type=TEXT)
    reason: str | None = Field(default=None, sa_type=TEXT)
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    workflow: int = Field(sa_type=ID)
    tenant: int = Field(default=0, sa_type=ID)
    topic: int = Field(default=0, sa_type=ID)
