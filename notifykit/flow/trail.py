"""Ways: runs that went the same way have the same trace and records, made once for each distinct way in a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json, to_json

from notifykit.flow.runs import Instant
from notifykit.model.trace import line

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
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


class Trail:
    """The ways of one chunk. A way is a small integer; 0 is the way of a run that has not moved."""

    def __init__(self, instant: Instant) -> None:
        """Begin a chunk at an instant: every line of it has that time."""
        self.instant = instant
        self.texts: list[str] = [""]
        self.marks: list[tuple[Mark, ...]] = [()]
        self.records: list[dict[str, Record]] = [{}]
        self.has_message: list[bool] = [False]
        self.reasons: list[str | None] = [None]
        self._next: dict[tuple[int, Mark], int] = {}
        self._starts: dict[str, int] = {}
        self._texts_of_records: dict[int, str] = {0: "{}"}

    def start(self, records: dict[str, Record], *, has_message: bool, reason: str | None = None) -> int:
        """The way of runs that stand in the middle, with these records of earlier steps."""
        key = to_json([records, has_message, reason]).decode()
        way = self._starts.get(key)
        if way is None:
            way = self._starts[key] = self._new("", (), records, has_message, reason)
        return way

    def go(self, way: int, mark: Mark) -> int:
        """The way that continues another by one mark."""
        found = self._next.get((way, mark))
        if found is not None:
            return found
        records = self.records[way]
        if mark.status is not None:
            record = {"status": mark.status, "reason": mark.reason, "at": self.instant.text, **from_json(mark.facts)}
            records = {**records, mark.step: record}
        data = {"rule": mark.note} if mark.note else None
        text = self.texts[way] + line(self.instant.micros, mark.step, mark.kind, mark.reason, data)
        sent = self.has_message[way] or mark.kind in MESSAGES
        reason = self.reasons[way] if mark.reason is None else mark.reason
        found = self._new(text, (*self.marks[way], mark), records, sent, reason)
        self._next[way, mark] = found
        return found

    def settle(self, way: int, mark: Mark) -> int:
        """The way that continues another by the end of a step that has a record already: its other fields stay."""
        kept = {name: value for name, value in self.records[way][mark.step].items() if name not in BASICS}
        return self.go(way, replace(mark, facts=to_json(kept).decode()))

    def because(self, way: int, reason: str) -> int:
        """The same way, ended for a reason that no step has given."""
        return self._new(self.texts[way], self.marks[way], self.records[way], self.has_message[way], reason)

    def records_text(self, way: int) -> str:
        """The records of a way as JSON."""
        text = self._texts_of_records.get(way)
        if text is None:
            text = self._texts_of_records[way] = to_json(self.records[way]).decode()
        return text

    def reason_of(self, way: int) -> str | None:
        """Why a finished run produced no message; None where it did."""
        return None if self.has_message[way] else self.reasons[way]

    def _new(
        self, text: str, marks: tuple[Mark, ...], records: dict[str, Record], has_message: bool, reason: str | None
    ) -> int:
        self.texts.append(text)
        self.marks.append(marks)
        self.records.append(records)
        self.has_message.append(has_message)
        self.reasons.append(reason)
        return len(self.texts) - 1


BASICS = frozenset({"status", "reason", "at"})
"""What every record has."""
MESSAGES = frozenset({"message_sent", "message_queued"})
"""Marks after which a run has produced something."""
