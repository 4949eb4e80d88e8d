"""Where ids come from."""

from __future__ import annotations

from sqlalchemy import Sequence as DatabaseSequence
from sqlmodel import Field

from notifykit.model.base import ID, KEY, Base, metadata

BLOCK = 1000
"""Ids in one value of the database's own sequence."""

sequence = DatabaseSequence("notifykit_id", start=1, increment=BLOCK, metadata=metadata)
"""Ids in blocks on PostgreSQL and MariaDB: its value is a block's first id. SQLite has none and uses the table."""


class IdSequence(Base, table=True):
    """The next free id, where the database has no sequences of its own."""

    __tablename__ = "notifykit_sequence"

    name: str = Field(primary_key=True, sa_type=KEY)
    next: int = Field(sa_type=ID)
