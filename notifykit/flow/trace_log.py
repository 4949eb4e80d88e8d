"""Paths: runs that went the same way have the same trace and records, made once for each distinct path in a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from notifykit.model.trace import line

if TYPE_CHECKING:
    from notifykit.flow.run_columns import Instant

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One thing that happened to a run at a step, as its trace tells it and as later steps see it.

    Attributes:
        step: The step's id.
        kind: One of `results.ExecutionKind`.
        reason: Why.
        note: Which preference, condition or fact decided.
        status: The record's `status`; None leaves the step without a record, as it is not over.
        facts: More fields of the record, as JSON text.
    """

    step: str
    kind: str
    reason: str | None = None
    note: str | None = None
    status: str | None = None
    facts: str = "{}"


class TraceLog:
    """The paths of one chunk. A path is a small integer; 0 is the path of a run that has not moved."""

    def __init__(self, instant: Instant) -> None:
        """Begin a chunk at an instant: every line of it has that time."""
        self.instant = instant
        self.texts: list[str] = [""]
        self.entries: list[tuple[TraceEntry, ...]] = [()]
        self.records: list[dict[str, Record]] = [{}]
        self.has_message: list[bool] = [False]
        self.reasons: list[str | None] = [None]
        self._next: dict[tuple[int, TraceEntry], int] = {}
        self._starts: dict[str, int] = {}
        self._texts_of_records: dict[int, str] = {0: "{}"}

    def start(self, records: dict[str, Record], *, has_message: bool, reason: str | None = None) -> int:
        """The path of runs that stand in the middle, with these records of earlier steps."""
        key = to_json([records, has_message, reason]).decode()
        path = self._starts.get(key)
        if path is None:
            path = self._starts[key] = self._new("", (), records, has_message, reason)
        return path

    def add(self, path: int, entry: TraceEntry) -> int:
        """The path that continues another by one entry."""
        found = self._next.get((path, entry))
        if found is not None:
            return found
        records = self.records[path]
        if entry.status is not None:
            record = {"status": entry.status, "reason": entry.reason, "at": self.instant.text, **from_json(entry.facts)}
            records = {**records, entry.step: record}
        data = {"rule": entry.note} if entry.note else None
        text = self.texts[path] + line(self.instant.micros, entry.step, entry.kind, entry.reason, data)
        sent = self.has_message[path] or entry.kind in PRODUCED
        reason = self.reasons[path] if entry.reason is None else entry.reason
        found = self._new(text, (*self.entries[path], entry), records, sent, reason)
        self._next[path, entry] = found
        return found

    def finish_step(self, path: int, entry: TraceEntry) -> int:
        """The path that continues another by the end of a step that has a record already: its other fields stay."""
        kept = {name: value for name, value in self.records[path][entry.step].items() if name not in BASICS}
        return self.add(path, replace(entry, facts=to_json(kept).decode()))

    def with_reason(self, path: int, reason: str) -> int:
        """The same path, ended for a reason that no step has given."""
        return self._new(self.texts[path], self.entries[path], self.records[path], self.has_message[path], reason)

    def records_text(self, path: int) -> str:
        """The records of a path as JSON."""
        text = self._texts_of_records.get(path)
        if text is None:
            text = self._texts_of_records[path] = to_json(self.records[path]).decode()
        return text

    def reason_of(self, path: int) -> str | None:
        """Why a finished run produced no message; None where it did."""
        return None if self.has_message[path] else self.reasons[path]

    def _new(
        self,
        text: str,
        entries: tuple[TraceEntry, ...],
        records: dict[str, Record],
        has_message: bool,
        reason: str | None,
    ) -> int:
        self.texts.append(text)
        self.entries.append(entries)
        self.records.append(records)
        self.has_message.append(has_message)
        self.reasons.append(reason)
        return len(self.texts) - 1


BASICS = frozenset({"status", "reason", "at"})
"""What every record has."""
PRODUCED = frozenset({"message_sent", "message_queued"})
"""Marks after which a run has produced something."""
