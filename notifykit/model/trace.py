"""The lines of a trace, as text: newline-delimited JSON, so that SQL appends to it by concatenation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from notifykit.clock import from_micros


class Line(NamedTuple):
    """One thing that happened. `step` is None for lines of the event itself and of the run as a whole."""

    at: datetime
    step: str | None
    kind: str
    reason: str | None
    data: dict[str, Any]


def line(at: int, step: str | None, kind: str, reason: str | None = None, data: dict[str, Any] | None = None) -> str:
    """One line as stored, its newline included.

    Args:
        at: Microseconds since 1970.
        step: The step's id, or None.
        kind: One of `results.ExecutionKind`.
        reason: Why, in the words of `results.SkipReason` where one applies.
        data: What else is worth knowing; plain JSON.
    """
    cells: list[Any] = [at, step, kind, reason, data]
    while cells[-1] is None:
        cells.pop()
    return to_json(cells).decode() + "\n"


def lines(text: str | None) -> Iterator[Line]:
    """The lines of a stored trace, in the order they were written."""
    for stored in (text or "").split("\n")[:-1]:  # other line breaks stand unescaped in JSON strings
        at, step, kind, reason, data = [*from_json(stored), None, None][:5]
        yield Line(from_micros(at), step, kind, reason, data or {})
