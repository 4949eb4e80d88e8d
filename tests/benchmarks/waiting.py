"""Due jobs among many pending ones, and delivery through a hook that does nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import notifykit as nk
from notifykit.testing import FakeClock
from tests.benchmarks.rounds import Ratio, Work, measured, ratio
from tests.benchmarks.subject import engine_on, wires
from tests.benchmarks.triggering import checked

SEED = 10_000
"""Jobs that are triggered; the others are their copies."""


def due(folder: Path, *, pending: int, rounds: int) -> Iterator[Ratio]:
    """Claim and advance: the same number of due jobs, among few and among many that are not due yet."""
    seed = min(SEED, pending // 4)
    few, many = Pending(folder / "few.db", seed, seed * 2), Pending(folder / "many.db", seed, pending)
    works = [Work("few", few.due, few.drain, few.move), Work("many", many.due, many.drain, many.move)]
    taken = measured(works, [few.path, many.path], min(rounds, 8))
    few.notify.close()
    many.notify.close()
    row = f"due jobs, claim and advance, {pending:,} pending, against {seed * 2:,}"
    yield ratio(row, "<= 1.3", taken, "many", "few")


class Pending:
    """An engine with that many jobs pending, due one after the other, a millisecond apart.

    Attributes:
        due: How many fall due in one round.
    """

    def __init__(self, path: Path, seed: int, pending: int) -> None:
        """Trigger a few, then copy their rows in SQL."""
        self.path, self.clock, self.due = path, FakeClock(), seed // 5
        self.notify = engine_on(path, seed, topic=False, clock=self.clock)
        checked(self.notify.trigger_bulk(wires(seed, seed, "comment-delayed")), seed)
        self.clock.move(hours=1)
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        runs = "SELECT subject, row_number() OVER (ORDER BY subject) AS place FROM notifykit_job"
        later = "UPDATE notifykit_job SET due_at = due_at + 1000 * place"
        db.execute(f"{later} FROM ({runs}) AS at WHERE at.subject = notifykit_job.subject")
        for copy in range(1, pending // seed):
            _copied(db, "event", {"id": f"id + ({copy} << 40)"})
            _copied(db, "run", {"id": f"id + ({copy} << 40)", "event": f"event + ({copy} << 40)"})
            later = f"due_at + {copy} * {seed} * 1000"
            _copied(db, "job", {"id": f"id + ({copy} << 46)", "subject": f"subject + ({copy} << 40)", "due_at": later})
        db.execute("COMMIT")
        db.close()

    def move(self) -> None:
        """Let the next jobs fall due."""
        self.clock.move(seconds=self.due / 1000)

    def drain(self) -> None:
        """Work on them."""
        found = self.notify.drain()
        assert found.advanced == self.due, found


def _copied(db: sqlite3.Connection, table: str, changed: dict[str, str]) -> None:
    """Copy the first rows of a table with some columns changed."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info(notifykit_{table})")]
    values = ", ".join(changed.get(column, f'"{column}"') for column in columns)
    limit = 1 << (46 if table == "job" else 40)
    db.execute(f"INSERT INTO notifykit_{table} SELECT {values} FROM notifykit_{table} WHERE id < {limit}")


def delivery(folder: Path, *, events: int, rounds: int) -> Iterator[Ratio]:
    """Claim, render, send through a hook that does nothing, record: against the time of the bulk trigger."""
    path = folder / "delivery.db"
    with engine_on(path, events, topic=False) as notify:

        @notify.deliver("email")
        def send(message: nk.EmailMessage) -> None:
            """Do nothing."""

        bell, mail = wires(events, events), wires(events, events, "comment-mailed")

        def drained() -> None:
            found = notify.drain()
            assert found.sent == events, found

        works = [
            Work("bulk", events, lambda: checked(notify.trigger_bulk(bell), events)),
            Work("drain", events, drained, lambda: checked(notify.trigger_bulk(mail), events)),
        ]
        taken = measured(works, [path], rounds)
    yield ratio("delivery through a hook that does nothing, against bulk a trigger", "<= 2", taken, "drain", "bulk")
