"""Content: the text of a fan-out that names nothing of the subscriber, kept once."""

from __future__ import annotations

from typing import Any

from sqlmodel import Field

from notifykit.model.base import ID, TEXT, Base, JsonText


class Content(Base, table=True):
    """One shared text; its id is that of the first message that has it.

    So each text of an event and step has its own: two locales or variants never share one.
    """

    __tablename__ = "notifykit_content"

    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    subject: str | None = Field(default=None, sa_type=TEXT)
    body: str | None = Field(default=None, sa_type=TEXT)
    cta: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
    data: dict[str, Any] | None = Field(default=None, sa_type=JsonText)
