"""An organization groups environments; an environment isolates: every row belongs to one."""

from __future__ import annotations

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from notifykit.model.base import ID, KEY, Base

DEFAULT = "default"
DEFAULT_ID = 1
"""The organization and the environment that every database starts with."""


class Organization(Base, table=True):
    """A group of environments."""

    __tablename__ = "notifykit_organization"
    __table_args__ = (UniqueConstraint("key"),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    key: str = Field(sa_type=KEY)


class Environment(Base, table=True):
    """A world of its own: nothing of one environment is seen from another."""

    __tablename__ = "notifykit_environment"
    __table_args__ = (UniqueConstraint("organization", "key"),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    organization: int = Field(sa_type=ID)
    key: str = Field(sa_type=KEY)
