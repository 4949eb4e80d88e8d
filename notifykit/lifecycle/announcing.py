"""What became of messages, written into the traces of their runs and told to observers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from sqlalchemy import bindparam, select

from notifykit.clock import micros
from notifykit.events import MessageQueued, MessageSkipped
from notifykit.ids import STEP_BITS
from notifykit.lifecycle import traces
from notifykit.model.tables import run
from notifykit.model.trace import line
from notifykit.queries.messages import summaries
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit

CHUNK = 1000
"""Messages that are told of together."""
TOLD = Statement(
    select(run.c.id).where(run.c.id == bindparam("id"), run.c.trace.like(bindparam("pattern"), escape="!"))
)
"""That a run's trace has a line: what tells of it is true, though the message may have been sent since."""
WILD = str.maketrans({sign: f"!{sign}" for sign in "!%_"})


def tell_stopped(unit: Unit, messages: Sequence[int], why: str) -> None:
    """Write and announce that queued messages were stopped.

    Args:
        unit: The unit that stopped them.
        messages: The ids of their rows, ascending.
        why: What stopped them.
    """
    at, rest = micros(unit.now), iter(messages)
    while chunk := list(islice(rest, CHUNK)):
        found = summaries(unit, chunk)
        told = [
            (number >> STEP_BITS, line(at, found[number].step, "message_skipped", "cancelled", {"why": why}))
            for number in chunk
        ]
        traces.append(unit, told)
        if unit.listens("message_skipped"):
            unit.effects.commit_probes.append(_probe(*told[0]))
            for number in chunk:
                unit.emit(MessageSkipped.of(found[number], "cancelled"))


def tell_retried(unit: Unit, messages: Sequence[int]) -> None:
    """Write and announce that messages were queued again."""
    found = summaries(unit, messages)
    at = micros(unit.now)
    told = [(number >> STEP_BITS, line(at, found[number].step, "message_retried")) for number in messages]
    traces.append(unit, told)
    unit.effects.commit_probes.append(_probe(*told[0]))
    if unit.listens("message_queued"):
        for number in messages:
            unit.emit(MessageQueued(found[number]))


def _probe(number: int, text: str) -> tuple[Statement, dict[str, Any]]:
    """What finds that a run was told of, if it was."""
    return TOLD, {"id": number, "pattern": f"%{text.translate(WILD)}%"}
