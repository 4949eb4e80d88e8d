"""A message: what one channel step produced for one subscriber."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, SmallInteger
from sqlmodel import Field

from notifykit.model.base import ID, MARIADB, TEXT, Base, JsonText, UtcDateTime, only_where
from notifykit.model.codes import ChannelCode

IN_FEED = f"channel = {ChannelCode.IN_APP.value}"
UNREAD = f"{IN_FEED} AND read_at IS NULL AND archived_at IS NULL"


def partial_indexes(ddl: Any, target: Any, bind: Any, tables: Any = None, state: Any = None, **kw: Any) -> bool:
    """Whether the database has indexes on a part of a table."""
    return kw["dialect"].name not in MARIADB


def whole_indexes(ddl: Any, target: Any, bind: Any, tables: Any = None, state: Any = None, **kw: Any) -> bool:
    """Whether the database has indexes on whole tables only."""
    return kw["dialect"].name in MARIADB


class Message(Base, table=True):
    """One message; its id is its run's id and six bits of step.

    `content` is 0, or the id of a text shared by a fan-out; then subject, body, cta and data are read from there.
    """

    __tablename__ = "notifykit_message"
    __table_args__ = (
        Index(
            "ix_notifykit_message_feed",
            "subscriber",
            "feed_at",
            info=only_where(IN_FEED),
        ).ddl_if(callable_=partial_indexes),
        Index("ix_notifykit_message_unread", "subscriber", info=only_where(UNREAD)).ddl_if(callable_=partial_indexes),
        Index("ix_notifykit_message_feed_whole", "subscriber", "channel", "feed_at").ddl_if(callable_=whole_indexes),
        Index("ix_notifykit_message_unread_whole", "subscriber", "channel", "archived_at", "read_at").ddl_if(
            callable_=whole_indexes
        ),
    )

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    environment: int = Field(sa_type=ID)
    tenant: int = Field(default=0, sa_type=ID)
    subscriber: int = Field(sa_type=ID)
    workflow: int = Field(sa_type=ID)
    channel: int = Field(sa_type=SmallInteger)
    content: int = Field(default=0, sa_type=ID)
    subject: str | None = Field(default=None, sa_type=TEXT)
    body: str | None = Field(default=None, sa_type=TEXT)
    cta: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    data: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    status: int = Field(sa_type=SmallInteger)
    reason: str | None = Field(default=None, sa_type=TEXT)
    feed_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    archived_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
