"""Traces grow at their end: one more line for what happened to a run, in the transaction in which it happened."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, update
from sqlmodel import col

from notifykit.model import Run
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit

APPEND = Statement(
    update(Run).where(col(Run.id) == bindparam("row")).values(trace=col(Run.trace).concat(bindparam("lines")))
)


def append(unit: Unit, additions: Iterable[tuple[int, str]]) -> None:
    """Append lines to the traces of runs.

    Args:
        unit: The unit in which it happened.
        additions: Run ids, and lines as `model.trace.line` makes them; several lines of one run keep their order.
    """
    gathered: dict[int, str] = {}
    for run, text in additions:
        if text:
            gathered[run] = gathered.get(run, "") + text
    APPEND.many(unit, [{"row": run, "lines": text} for run, text in sorted(gathered.items())])
