"""What is true of the queue at every moment, and what is true once nothing is due any more: counts that must be 0."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import and_, exists, func, literal, literal_column, or_, select, union_all

import notifykit as nk
from notifykit.model import metadata
from notifykit.model.codes import AttemptClass, ChannelCode, JobKind, MessageStatus, RunStatus
from notifykit.model.subscriber import EPHEMERAL
from tests.harness.leaks import ORPHANS, STEP_BITS

event, run, message, job, subscriber, attempt = (
    metadata.tables[f"notifykit_{name}"]
    for name in ("event", "run", "message", "job", "subscriber", "delivery_attempt")
)
WAITING = run.c.status == RunStatus.WAITING.value
QUEUED = message.c.status == MessageStatus.QUEUED.value
OUTSIDE = message.c.channel != ChannelCode.IN_APP.value
OF_MESSAGE = message.c.id.op(">>")(literal_column(str(STEP_BITS)))
HERE = run.c.id * 2**STEP_BITS + run.c.step
"""The id of the job of a run at the step where it stands, and of the message of that step."""
_runs = select(func.count()).select_from(run).where(run.c.event == event.c.id).scalar_subquery()
_sent = attempt.c.outcome == AttemptClass.SENT.value

HINTS = ("jobs that deliver a final message", "jobs that advance a finished run")
"""What a verb leaves where another unit had the job just then, and could do nothing with it any more: due work drops
it."""
ALWAYS: dict[str, Any] = {
    **{what: query for what, query in ORPHANS.items() if what not in HINTS},
    "waiting runs without a job of the step at which they stand": select(run.c.id).where(
        WAITING, ~exists().where(job.c.id == HERE)
    ),
    "jobs whose id is not their run's and step's": select(job.c.id).where(
        job.c.id != job.c.subject * 2**STEP_BITS + job.c.step
    ),
    "events whose recipients are not their runs": select(event.c.id).where(event.c.recipients != _runs),
    "attempts without a message": select(attempt.c.message).where(~exists().where(message.c.id == attempt.c.message)),
    "messages sent twice": select(attempt.c.message)
    .where(_sent)
    .group_by(attempt.c.message, attempt.c.target)
    .having(func.count() > 1),
    "messages sent without an attempt": select(message.c.id).where(
        OUTSIDE,
        message.c.status == MessageStatus.SENT.value,
        ~exists().where(attempt.c.message == message.c.id, _sent),
    ),
    "messages with a successful attempt that are not sent": select(message.c.id).where(
        message.c.status != MessageStatus.SENT.value, exists().where(attempt.c.message == message.c.id, _sent)
    ),
    "jobs with an owner and no lease, or the other way round": select(job.c.id).where(
        or_(
            and_(job.c.owner == "", job.c.lease_until.is_not(None)),
            and_(job.c.owner != "", job.c.lease_until.is_(None)),
        )
    ),
    "claimed jobs that advance a run": select(job.c.id).where(job.c.owner != "", job.c.kind == JobKind.ADVANCE.value),
    "addresses of runs that are over": select(subscriber.c.id).where(
        subscriber.c.subscriber_id.like(EPHEMERAL + "%"),
        ~exists().where(run.c.subscriber == subscriber.c.id, WAITING),
        ~exists().where(run.c.subscriber == subscriber.c.id, job.c.subject == run.c.id),
    ),
}
"""True after every commit. Two messages of one run and step cannot be told: that is the primary key."""
SETTLED: dict[str, Any] = {
    "waiting runs whose subscriber is gone": select(run.c.id).where(
        WAITING, ~exists().where(subscriber.c.id == run.c.subscriber)
    ),
    "runs that still wait": select(run.c.id).where(WAITING),
    "messages that are still queued": select(message.c.id).where(QUEUED),
    "jobs that are left": select(job.c.id),
}
"""True as well when everything has been drained, with the clock far ahead."""


def broken(connection: sa.Connection, *, settled: bool = False) -> dict[str, tuple[int, list[int]]]:
    """The invariants that do not hold: how many rows break each, and the first of them.

    Args:
        connection: Any that sees the database.
        settled: Everything has been drained.
    """
    found: dict[str, list[int]] = {}
    for name, number in connection.exec_driver_sql(_question(connection.dialect, settled)):
        found.setdefault(name, []).append(number)
    return {name: (len(numbers), sorted(numbers)[:3]) for name, numbers in found.items()}


def wrong_counts(notify: nk.Engine, people: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Subscribers whose number of unread messages is not the length of the list of them."""
    found = {}
    for who in people:
        inbox = notify.inbox(who)
        counted, listed, after = inbox.unread_count(), 0, None
        while True:
            page = inbox.list(read=False, limit=100, after=after)
            listed += len(page)
            if (after := page.next) is None:
                break
        if counted != listed:
            found[who] = (counted, listed)
    return found


_texts: dict[tuple[str, bool], str] = {}


def _question(dialect: sa.Dialect, settled: bool) -> str:
    """All of them in one query: a round trip each would take longer than what they look at."""
    key = (dialect.name, settled)
    if key not in _texts:
        wanted = {**ALWAYS, **SETTLED} if settled else ALWAYS
        parts = []
        for name, query in wanted.items():
            rows = query.subquery()
            parts.append(select(literal(name).label("name"), next(iter(rows.c)).label("number")))
        whole = union_all(*parts)
        _texts[key] = str(whole.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    return _texts[key]
