"""What must not be left behind by a test: threads, checked-out connections, rows that nothing will ever finish."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import and_, exists, literal_column, or_, select
from sqlalchemy.pool import Pool

from notifykit.errors import NotifyKitError
from notifykit.model import metadata
from notifykit.model.codes import JobKind, MessageStatus, RunStatus
from notifykit.store.database import Database

event, run, message, job, content, version = (
    metadata.tables[f"notifykit_{name}"] for name in ("event", "run", "message", "job", "content", "workflow_version")
)
STEP_BITS = 6
"""A message's id is its run's id and six bits of step."""

_undelivered = exists().where(
    message.c.id == run.c.id * 2**STEP_BITS + run.c.step,
    message.c.status.in_([MessageStatus.QUEUED.value, MessageStatus.UNKNOWN.value]),
)
ORPHANS: dict[str, Any] = {
    "runs without an event": select(run.c.id).where(~exists().where(event.c.id == run.c.event)),
    "jobs without a run": select(job.c.id).where(~exists().where(run.c.id == job.c.subject)),
    "messages without a run": select(message.c.id).where(
        ~exists().where(run.c.id == message.c.id.op(">>")(literal_column(str(STEP_BITS))))
    ),
    "content without the run that had it first": select(content.c.id).where(
        ~exists().where(run.c.id == content.c.id.op(">>")(literal_column(str(STEP_BITS))))
    ),
    "messages without their content": select(message.c.id).where(
        message.c.content != 0, ~exists().where(content.c.id == message.c.content)
    ),
    "waiting runs that nothing wakes": select(run.c.id).where(
        run.c.status == RunStatus.WAITING.value, ~exists().where(job.c.subject == run.c.id), ~_undelivered
    ),
    "jobs that advance a finished run": select(job.c.id).where(
        job.c.kind == JobKind.ADVANCE.value,
        exists().where(run.c.id == job.c.subject, run.c.status != RunStatus.WAITING.value),
    ),
    "queued messages without a job": select(message.c.id).where(
        message.c.status == MessageStatus.QUEUED.value, ~exists().where(job.c.id == message.c.id)
    ),
    "jobs that deliver a final message": select(job.c.id).where(
        job.c.kind == JobKind.DELIVER.value,
        ~exists().where(message.c.id == job.c.message, message.c.status == MessageStatus.QUEUED.value),
    ),
    "jobs of another environment than their run": select(job.c.id).where(
        exists().where(run.c.id == job.c.subject, run.c.environment != job.c.environment)
    ),
    "messages of another environment than their run": select(message.c.id).where(
        exists().where(
            run.c.id == message.c.id.op(">>")(literal_column(str(STEP_BITS))),
            run.c.environment != message.c.environment,
        )
    ),
    "runs of another workflow, tenant or environment than their event": select(run.c.id).where(
        exists().where(
            event.c.id == run.c.event,
            or_(
                event.c.workflow != run.c.workflow,
                event.c.tenant != run.c.tenant,
                event.c.environment != run.c.environment,
            ),
        )
    ),
    "runs without a version": select(run.c.id).where(
        ~exists().where(event.c.id == run.c.event, version.c.id == event.c.version)
    ),
    "finished runs without a time": select(run.c.id).where(
        or_(
            and_(run.c.status == RunStatus.WAITING.value, run.c.finished_at.is_not(None)),
            and_(run.c.status != RunStatus.WAITING.value, run.c.finished_at.is_(None)),
        )
    ),
}
"""Rows that nothing will ever finish or find, by what they are."""


def orphans(connection: sa.Connection) -> dict[str, list[int]]:
    """The ids of every orphan row, by what it is; empty where all is well."""
    name = connection.dialect.name
    if name not in _texts:
        _texts[name] = {what: _text(query, connection.dialect) for what, query in ORPHANS.items()}
    found = {what: [row[0] for row in connection.exec_driver_sql(text)] for what, text in _texts[name].items()}
    return {what: ids for what, ids in found.items() if ids}


_texts: dict[str, dict[str, str]] = {}


def _text(query: Any, dialect: sa.Dialect) -> str:
    return str(query.limit(5).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


@contextmanager
def rows_watched() -> Iterator[None]:
    """Fail where an engine of our own is closed over orphan rows, whichever test or sandbox made it."""
    left: list[dict[str, list[int]]] = []
    close = Database.close

    def looked_at(database: Database) -> None:
        if database.own and database._ready and not database.closed:
            left.extend(filter(None, [_left_in(database)]))
        close(database)

    Database.close = looked_at  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Database.close = close  # type: ignore[method-assign]
    assert not left, f"orphan rows: {left}"


def _left_in(database: Database) -> dict[str, list[int]]:
    try:
        connection = database.begin(write=False)
    except NotifyKitError:
        return {}  # a test broke this database on purpose
    try:
        return orphans(connection)
    finally:
        database.rollback(connection)


class Borrowed:
    """Connections that are checked out of any pool of this process."""

    def __init__(self) -> None:
        self.records: dict[int, str] = {}

    def checkout(self, connection: Any, record: Any, proxy: Any) -> None:
        """A connection leaves its pool."""
        self.records[id(record)] = repr(connection)

    def checkin(self, connection: Any, record: Any) -> None:
        """A connection comes back."""
        self.records.pop(id(record), None)

    def invalidate(self, connection: Any, record: Any, error: Any) -> None:
        """A connection is thrown away."""
        self.records.pop(id(record), None)


@contextmanager
def watched(patience: float = 2.0) -> Iterator[None]:
    """Fail where the block leaves a thread alive (for longer than some patience) or a connection out of its pool."""
    before = set(threading.enumerate())
    borrowed = Borrowed()
    for name in ("checkout", "checkin", "invalidate"):
        sa.event.listen(Pool, name, getattr(borrowed, name))
    try:
        yield
    finally:
        for name in ("checkout", "checkin", "invalidate"):
            sa.event.remove(Pool, name, getattr(borrowed, name))
    if borrowed.records:
        gc.collect()
    assert not borrowed.records, f"connections left out of their pool: {list(borrowed.records.values())}"
    left = _alive(before, patience)
    assert not left, f"threads left alive: {[thread.name for thread in left]}"


def _alive(before: set[threading.Thread], patience: float) -> list[threading.Thread]:
    end = time.monotonic() + patience
    while left := [thread for thread in threading.enumerate() if thread not in before]:
        if time.monotonic() > end:
            return left
        time.sleep(0.005)
    return []
