"""The yardstick: the rows and the rendering of a trigger, written by hand for sqlite3 with nothing in between.

Textual ids, stock Jinja, one `executemany` a table: what a careful programmer writes in an afternoon.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_json

TABLES = """
CREATE TABLE subscriber (id TEXT PRIMARY KEY, subscriber_id TEXT NOT NULL UNIQUE, email TEXT, first_name TEXT,
    last_name TEXT, data TEXT, created_at TEXT) WITHOUT ROWID;
CREATE TABLE member (topic TEXT NOT NULL, subscriber TEXT NOT NULL, PRIMARY KEY (topic, subscriber)) WITHOUT ROWID;
CREATE TABLE event (id TEXT PRIMARY KEY, transaction_id TEXT NOT NULL UNIQUE, workflow TEXT NOT NULL, payload TEXT,
    status TEXT, created_at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run (id TEXT PRIMARY KEY, event TEXT NOT NULL, subscriber TEXT NOT NULL, status TEXT, trace TEXT,
    created_at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE message (id TEXT PRIMARY KEY, run TEXT NOT NULL, subscriber TEXT NOT NULL, channel TEXT NOT NULL,
    subject TEXT, body TEXT, cta TEXT, data TEXT, seen_at TEXT, read_at TEXT, archived_at TEXT,
    created_at TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX run_of_event ON run (event);
CREATE INDEX feed ON message (subscriber, channel, created_at);
"""
INSERTS = {
    "event": "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)",
    "run": "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)",
    "message": "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
}
NOW = "2026-01-01 00:00:00.000000"
SUBJECT = "{{ payload.author }} commented on {{ payload.post }}"
BODY = "Hi {{ subscriber.first_name }}, {{ payload.author }} wrote: {{ payload.text }}"
VARIABLES = 30_000
"""Parameters that one statement of SQLite takes."""


Person = tuple[Any, ...]
"""One row of the table of subscribers: id, subscriber_id, email, first_name, last_name, data, created_at."""


class Wire(BaseModel):
    """One trigger as it comes in."""

    name: str
    to: str
    payload: dict[str, Any] = {}


WIRES = TypeAdapter(list[Wire])


class Rows(NamedTuple):
    """The finished rows of a trigger."""

    event: list[tuple[Any, ...]]
    run: list[tuple[Any, ...]]
    message: list[tuple[Any, ...]]


class Line:
    """A database of the yardstick's own."""

    def __init__(self, path: Path, people: int) -> None:
        """Make the tables, that many subscribers and a topic of all of them."""
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.executescript(TABLES)
        self._numbers = itertools.count(1)
        environment = ImmutableSandboxedEnvironment(autoescape=False)
        self.subject, self.body = environment.from_string(SUBJECT), environment.from_string(BODY)
        rows = [
            (self.new_id(), f"user-{n}", f"u{n}@example.com", f"First{n}", f"Last{n}", "{}", NOW) for n in range(people)
        ]
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany("INSERT INTO subscriber VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self.db.executemany("INSERT INTO member VALUES ('all', ?)", ((person[0],) for person in rows))
        self.db.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self.db.close()

    def new_id(self) -> str:
        """A textual id in order of time, as UUIDs of version 7 are; as cheap as the fastest of them."""
        return f"019b76da{next(self._numbers):024x}"

    def bulk(self, triggers: Sequence[dict[str, Any]]) -> None:
        """One event each: validate, look the subscribers up, render, insert."""
        valid = WIRES.validate_python(triggers)
        known = self.people([trigger.to for trigger in valid])
        self.insert(self.rows(((known[trigger.to], trigger.payload) for trigger in valid), each=True))

    def fan_out(self, payload: dict[str, Any], limit: int) -> None:
        """One event to the topic: read the members, render and insert run and message for each."""
        members = self.db.execute(
            "SELECT s.* FROM member m JOIN subscriber s ON s.id = m.subscriber WHERE m.topic = 'all' LIMIT ?", (limit,)
        ).fetchall()
        self.insert(self.rows(((row, payload) for row in members), each=False))

    def one(self, trigger: dict[str, Any]) -> None:
        """One trigger: look-up, rendering, three inserts, commit."""
        wire = Wire.model_validate(trigger)
        row = self.db.execute("SELECT * FROM subscriber WHERE subscriber_id = ?", (wire.to,)).fetchone()
        made = self.rows([(row, wire.payload)], each=True)
        self.db.execute("BEGIN IMMEDIATE")
        for table, rows in made._asdict().items():
            self.db.execute(INSERTS[table], rows[0])
        self.db.execute("COMMIT")

    def people(self, ids: Sequence[str]) -> dict[str, Person]:
        """The subscribers of these ids."""
        known = {}
        for at in range(0, len(ids), VARIABLES):
            part = ids[at : at + VARIABLES]
            query = f"SELECT * FROM subscriber WHERE subscriber_id IN ({','.join('?' * len(part))})"
            known.update({row[1]: row for row in self.db.execute(query, part)})
        return known

    def rows(self, work: Iterable[tuple[Person, dict[str, Any]]], *, each: bool) -> Rows:
        """The finished rows: an event for each person, or one for all."""
        made = Rows([], [], [])
        event = ""
        for person, payload in work:
            if each or not event:
                event = self.new_id()
                made.event.append((event, event, "comment-added", to_json(payload).decode(), "processed", NOW))
            names = {"first_name": person[3], "last_name": person[4], "email": person[2]}
            scope = {"payload": payload, "subscriber": names}
            run = self.new_id()
            made.run.append((run, event, person[0], "completed", '[["bell","sent"]]', NOW))
            text = rendered(self.subject, scope), rendered(self.body, scope)
            made.message.append((self.new_id(), run, person[0], "in_app", *text, None, None, None, None, None, NOW))
        return made

    def insert(self, made: Rows) -> None:
        """All rows in one transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        for table, rows in made._asdict().items():
            self.db.executemany(INSERTS[table], rows)
        self.db.execute("COMMIT")


def rendered(template: Template, scope: dict[str, Any]) -> str:
    """The text of a template, without the detour through `render`."""
    return "".join(template.root_render_func(template.new_context(scope, True)))
