"""A job: a unit of work that waits. One queue for delays, deliveries and host functions."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Index, SmallInteger
from sqlmodel import Field

from notifykit.model.base import ID, LONG_KEY, Base, UtcDateTime


class Job(Base, table=True):
    """One thing to do at `due_at`; deleted when done.

    It belongs to a subject, a run. Its id is its run's id and six bits of step, so a step has one job at a time. A
    claim is `owner` and `lease_until`, not a status; `needs` names the host function (`workflow/step`) without which a
    process leaves the job alone.
    """

    __tablename__ = "notifykit_job"
    __table_args__ = (Index(None, "due_at", "id"), Index(None, "subject"))

    due_at: datetime = Field(sa_type=UtcDateTime)
    id: int = Field(primary_key=True, sa_type=ID, sa_column_kwargs={"autoincrement": False})
    kind: int = Field(sa_type=SmallInteger)
    subject: int = Field(sa_type=ID)
    message: int = Field(default=0, sa_type=ID)
    step: int = Field(sa_type=SmallInteger)
    needs: str = Field(default="", sa_type=LONG_KEY)
    owner: str = Field(default="", sa_type=LONG_KEY)
    attempt: int = 0
    rescues: int = 0
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    environment: int = Field(sa_type=ID)


class NewJob(NamedTuple):
    """A job that nobody has tried yet.

    Attributes:
        id: Its subject's id and six bits of step.
        kind: A `JobKind`.
        subject: The run that it belongs to.
        message: The message that it delivers, 0 for none.
        needs: The host function without which a process leaves it alone.
    """

    id: int
    environment: int
    due_at: datetime
    kind: int
    subject: int
    step: int
    message: int = 0
    needs: str = ""
