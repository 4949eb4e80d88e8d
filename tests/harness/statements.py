"""Counts the SQL statements that anything in this process runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

CONTROL = ("begin", "commit", "rollback", "pragma", "savepoint", "release", "set ")


class Statements(list[str]):
    """The statements seen, in order; transaction control left out."""

    def of(self, *words: str) -> list[str]:
        """Those that hold every one of the words, whatever their case."""
        return [text for text in self if all(word.lower() in text.lower() for word in words)]

    @property
    def writes(self) -> list[str]:
        """Those that change rows."""
        return [
            text
            for text in self
            if text.lstrip().split(None, 1)[0].lower() in {"insert", "update", "delete", "replace", "copy"}
        ]


@contextmanager
def statements() -> Iterator[Statements]:
    """Record every statement while the block runs, on whichever engine, thread or loop."""
    seen = Statements()

    def note(connection: Any, cursor: Any, text: str, parameters: Any, context: Any, executemany: bool) -> None:
        if not text.lstrip().lower().startswith(CONTROL):
            seen.append(text)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
