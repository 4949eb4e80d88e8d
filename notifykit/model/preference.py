"""A preference: one choice for one channel."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import SmallInteger
from sqlmodel import Field

from notifykit.model.base import ID, LONG_KEY, WITHOUT_ROWID, Base, UtcDateTime

EVERYTHING = "*"
"""The target of a global choice."""


def of_workflow(key: str) -> str:
    """The target of a choice for one workflow."""
    return f"workflow:{key}"


class Preference(Base, table=True):
    """One choice: whose (a subscriber's id), for what (`*`, `workflow:key`), on which channel."""

    __tablename__ = "notifykit_preference"
    __table_args__ = ({"info": WITHOUT_ROWID},)

    environment: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    subject: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    target: str = Field(primary_key=True, sa_type=LONG_KEY)
    channel: int = Field(primary_key=True, sa_type=SmallInteger, sa_column_kwargs={"autoincrement": False})
    enabled: bool
    locked: bool = False
    updated_at: datetime = Field(sa_type=UtcDateTime)
