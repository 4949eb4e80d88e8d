"""All rows of a database in a form that is equal on every database and notifier.

Ids are told by what they stand for (`run 3`, `subscriber ada`), times relative to the test's clock, JSON parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json

from notifykit.clock import EPOCH, from_micros
from notifykit.model import metadata
from notifykit.model.codes import AttemptClass, ChannelCode, JobKind, MessageStatus, RunStatus
from notifykit.model.subscriber import EPHEMERAL

Rows = list[dict[str, Any]]
Dump = dict[str, Rows]
SHOWN_ID = re.compile(r"\b(txn|run|msg)_([0-9a-f]+)\b")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
WORDS: dict[tuple[str, str], Any] = {
    ("run", "status"): RunStatus,
    ("message", "status"): MessageStatus,
    ("message", "channel"): ChannelCode,
    ("preference", "channel"): ChannelCode,
    ("job", "kind"): JobKind,
    ("delivery_attempt", "outcome"): AttemptClass,
}
REFERENCES: dict[str, str] = {
    "subscriber": "subscriber", "subject": "subscriber", "actor": "subscriber", "tenant": "tenant", "topic": "topic",
    "workflow": "workflow", "version": "workflow_version", "current_version": "workflow_version", "event": "event",
    "run": "run", "message": "message", "content": "content",
}  # fmt: skip
TABLES = (
    "subscriber", "subscriber_channel", "topic", "topic_member", "tenant", "workflow", "workflow_version", "preference",
    "event", "run", "message", "content", "job", "delivery_attempt",
)  # fmt: skip


def dump(connection: sa.Connection, start: datetime) -> Dump:
    """Every row of every table but the sequences, normalised.

    Args:
        connection: Of the database.
        start: What times are told relative to.
    """
    tables = {name: _rows(connection, name) for name in TABLES}
    names = Names(tables)
    shown = {name: [_shown(name, row, names, start) for row in rows] for name, rows in tables.items()}
    return {name: sorted(rows, key=repr) if name not in {"event", "run"} else rows for name, rows in shown.items()}


def _rows(connection: sa.Connection, name: str) -> Rows:
    text, columns, processors = _question(name, connection.dialect)
    found = []
    for row in connection.exec_driver_sql(text):
        cells = (process(cell) if process else cell for process, cell in zip(processors, row, strict=True))
        found.append(dict(zip(columns, cells, strict=True)))
    return found


_known: dict[tuple[str, str], tuple[str, list[str], list[Any]]] = {}


def _question(name: str, dialect: sa.Dialect) -> tuple[str, list[str], list[Any]]:
    """A table's query as text: SQLAlchemy forgets with each engine what it has compiled, and each test has its own."""
    key = (name, f"{dialect.name}+{dialect.driver}")
    if key not in _known:
        table = metadata.tables[f"notifykit_{name}"]
        order = [table.c.id] if "id" in table.c else []
        text = str(sa.select(table).order_by(*order).compile(dialect=dialect))
        processors = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in table.c]
        _known[key] = (text, [column.name for column in table.c], processors)
    return _known[key]


class Names:
    """What each id stands for."""

    def __init__(self, tables: Dump) -> None:
        self.known: dict[str, dict[int, str]] = {name: {0: ""} for name in TABLES}
        strangers = 0
        for row in tables["subscriber"]:
            key = row["subscriber_id"]
            if key.startswith(EPHEMERAL):
                strangers += 1
                key = row["subscriber_id"] = f"<address {strangers}>"
            self.known["subscriber"][row["id"]] = key
        # ids aside: a bulk numbers new subscribers by key, triggers one after the other by turn
        tables["run"].sort(key=lambda row: (row["event"], self.known["subscriber"].get(row["subscriber"], "")))
        natural: dict[str, Callable[[Mapping[str, Any]], str]] = {
            "topic": lambda row: row["key"],
            "tenant": lambda row: row["identifier"],
            "workflow": lambda row: row["key"],
        }
        for name, key_of in natural.items():
            self.known[name].update({row["id"]: key_of(row) for row in tables[name]})
        for row in tables["workflow_version"]:
            self.known["workflow_version"][row["id"]] = (
                f"{self.known['workflow'].get(row['workflow'])}@{row['hash'][:12]}"
            )
        self.events: dict[int, int] = {row["id"]: row["event"] for row in tables["run"]}
        for name in ("event", "run"):
            self.known[name].update({row["id"]: f"{name} {at}" for at, row in enumerate(tables[name], 1)})

    def of(self, kind: str, number: int) -> str:
        """What an id of one kind stands for."""
        if kind in {"message", "content"} and number:
            if kind == "content":  # known by the message that had it first, which is another one in another order
                return f"{self.of('event', self.events.get(number >> 6, -1))} step {number & 63}"
            return f"{self.of('run', number >> 6)} step {number & 63}"
        return self.known[kind].get(number, f"unknown {kind}")

    def text(self, value: str) -> str:
        """A text with the ids that are shown outside replaced."""
        kinds = {"txn": "event", "run": "run", "msg": "message"}
        return SHOWN_ID.sub(lambda found: f"<{self.of(kinds[found[1]], int(found[2], 16))}>", value)


def _shown(table: str, row: dict[str, Any], names: Names, start: datetime) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for column, value in row.items():
        if column in {"id", "environment"}:
            kind = "message" if table == "job" else table  # made of the same run and step
            shown[column] = names.of(kind, value) if column == "id" and kind in REFERENCES.values() else None
        elif (table, column) == ("job", "subject"):
            shown[column] = names.of("run", value)
        elif column in REFERENCES and isinstance(value, int):
            shown[column] = names.of(REFERENCES[column], value)
        elif (table, column) in WORDS:
            shown[column] = WORDS[table, column](value).name
        elif column == "trace":
            shown[column] = [_line(line, names, start) for line in (value or "").split("\n")[:-1]]
        elif column == "owner":
            shown[column] = "somebody" if value else ""
        else:
            shown[column] = plain(value, names, start)
    return shown


def _line(text: str, names: Names, start: datetime) -> Any:
    at, *rest = from_json(text)
    return [_since(from_micros(at), start), *plain(rest, names, start)]


def plain(value: Any, names: Names, start: datetime) -> Any:
    """A value with its times relative and its shown ids told by what they stand for, at any depth."""
    if isinstance(value, datetime):
        return _since(value, start)
    if isinstance(value, str):
        return names.text(MOMENT.sub(lambda found: _since(datetime.fromisoformat(found[0]), start), value))
    if isinstance(value, Mapping):
        return {key: plain(item, names, start) for key, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [plain(item, names, start) for item in value]
    return value


def _since(moment: datetime, start: datetime) -> str:
    return "epoch" if moment == EPOCH else f"+{(moment - start).total_seconds():g}s"
