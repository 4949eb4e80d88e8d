"""A topic: a named group of subscribers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from notifykit.model.base import ID, KEY, TEXT, WITHOUT_ROWID, Base, UtcDateTime


class Topic(Base, table=True):
    """One topic of one environment."""

    __tablename__ = "notifykit_topic"
    __table_args__ = (UniqueConstraint("environment", "key"),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    environment: int = Field(sa_type=ID)
    key: str = Field(sa_type=KEY)
    name: str | None = Field(default=None, sa_type=TEXT)
    created_at: datetime = Field(sa_type=UtcDateTime)


class TopicMember(Base, table=True):
    """One subscriber in one topic."""

    __tablename__ = "notifykit_topic_member"
    __table_args__ = (Index(None, "subscriber"), {"info": WITHOUT_ROWID})

    topic: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    subscriber: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
