"""What is measured: an engine on a SQLite file with people, a topic and the workflows of the yardstick."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import notifykit as nk
from tests.benchmarks.straight_line import BODY, SUBJECT


class Comment(BaseModel):
    """The payload."""

    author: str
    post: str
    text: str


SHARED = "{{ payload.author }} wrote: {{ payload.text }}"
commented = nk.Workflow("comment-added", payload=Comment, steps=[nk.InApp("bell", subject=SUBJECT, body=BODY)])
untyped = nk.Workflow("comment-untyped", steps=[nk.InApp("bell", subject=SUBJECT, body=BODY)])
shared = nk.Workflow("comment-shared", payload=Comment, steps=[nk.InApp("bell", subject=SUBJECT, body=SHARED)])
mailed = nk.Workflow("comment-mailed", payload=Comment, steps=[nk.Email("mail", subject=SUBJECT, body=BODY)])
delayed = nk.Workflow(
    "comment-delayed", payload=Comment, steps=[nk.Delay("wait", hours=1), nk.InApp("bell", subject=SUBJECT, body=BODY)]
)
WORKFLOWS = (commented, untyped, shared, mailed, delayed)


def payload(number: int = 0) -> dict[str, Any]:
    """A payload of its own for each number."""
    return {"author": "Ada", "post": "Hello", "text": f"nice post {number}"}


def wires(count: int, people: int, key: str = "comment-added") -> list[dict[str, Any]]:
    """Triggers as they come in: one event each."""
    return [{"name": key, "to": f"user-{n % people}", "payload": payload(n)} for n in range(count)]


def people_rows(count: int) -> Iterator[dict[str, Any]]:
    """Subscribers of the same names as the yardstick's."""
    for n in range(count):
        yield {
            "subscriber_id": f"user-{n}",
            "email": f"u{n}@example.com",
            "first_name": f"First{n}",
            "last_name": f"Last{n}",
        }


def engine_on(path: Path, people: int, *, topic: bool = True, **options: Any) -> nk.Engine:
    """An engine with that many people, all of them in the topic `all`."""
    notify = nk.Engine(f"sqlite:///{path}", workflows=WORKFLOWS, **options)
    notify.subscribers.bulk_upsert(people_rows(people))
    if topic:
        notify.topics.add("all", (f"user-{n}" for n in range(people)))
    return notify


class Bare:
    """A bare `executemany` of our own finished rows: what no layer of code can be faster than.

    Takes the newest rows of an engine's file and inserts them into a copy of it again and again, under new ids.
    """

    TABLES = ("event", "run", "message")

    def __init__(self, source: Path, path: Path, events: int, runs: int) -> None:
        """Copy the file and remember its newest rows."""
        self.db = sqlite3.connect(path, isolation_level=None)
        with closing(sqlite3.connect(source)) as original:
            original.backup(self.db)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.rows: dict[str, list[list[Any]]] = {}
        self.inserts: dict[str, str] = {}
        self.columns: dict[str, list[str]] = {}
        for table, count in zip(self.TABLES, (events, runs, runs), strict=True):
            found = self.db.execute(f"SELECT * FROM notifykit_{table} ORDER BY id DESC LIMIT ?", (count,))
            self.columns[table] = [column[0] for column in found.description]
            self.rows[table] = [list(row) for row in found.fetchall()[::-1]]
            marks = ",".join("?" * len(self.columns[table]))
            self.inserts[table] = f"INSERT INTO notifykit_{table} VALUES ({marks})"

    def prepare(self) -> None:
        """Give the rows ids that nobody has."""
        for table in self.TABLES:
            columns = self.columns[table]
            for name, shift in {"id": 46 if table == "message" else 40, "event": 40, "content": 0}.items():
                if name in columns and shift:
                    at = columns.index(name)
                    for row in self.rows[table]:
                        row[at] += 1 << shift

    def insert(self) -> None:
        """Insert them in one transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        for table in self.TABLES:
            self.db.executemany(self.inserts[table], self.rows[table])
        self.db.execute("COMMIT")

    def __enter__(self) -> Bare:
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connection."""
        self.db.close()
