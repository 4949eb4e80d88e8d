"""A workflow and its immutable versions, as stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from notifykit.model.base import ID, KEY, TEXT, Base, JsonText, UtcDateTime


class Workflow(Base, table=True):
    """One workflow: which version processes without its code use, and how that one describes itself."""

    __tablename__ = "notifykit_workflow"
    __table_args__ = (UniqueConstraint("environment", "key"),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    environment: int = Field(sa_type=ID)
    key: str = Field(sa_type=KEY)
    name: str = Field(default="", sa_type=TEXT)
    group: str = Field(default="", sa_type=KEY)
    tags: list[str] = Field(sa_type=JsonText)
    active: bool = True
    critical: bool = False
    current_version: int = Field(default=0, sa_type=ID)


class WorkflowVersion(Base, table=True):
    """One definition, never changed: a run keeps the version it started with."""

    __tablename__ = "notifykit_workflow_version"
    __table_args__ = (UniqueConstraint("workflow", "hash"),)

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    workflow: int = Field(sa_type=ID)
    hash: str = Field(sa_type=KEY)
    definition: dict[str, Any] = Field(sa_type=JsonText)
    payload_schema: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    created_at: datetime = Field(sa_type=UtcDateTime)
