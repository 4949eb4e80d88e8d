"""Write what an advance has changed: each row once, by bulk statements; then say what there is to tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import bindparam, update

from notifykit.events import MessageCreated, MessageQueued, MessageSent, MessageSkipped, RunFinished
from notifykit.flow.run_columns import Changes, Instant
from notifykit.flow.trace_log import TraceEntry, TraceLog
from notifykit.ids import encode_id, step_key
from notifykit.lifecycle.enqueuing import enqueue
from notifykit.model import Content, Message, Run
from notifykit.model.codes import RunStatus
from notifykit.model.subscriber import public_id
from notifykit.model.tables import run
from notifykit.outgoing import Receipt
from notifykit.render.compiled import compiled
from notifykit.results import Message as MessageResult
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.registry import StoredVersion

RUN = (
    "id",
    "environment",
    "event",
    "subscriber",
    "workflow",
    "tenant",
    "topic",
    "payload",
    "step",
    "status",
    "results",
    "trace",
    "reason",
    "created_at",
    "finished_at",
)
MESSAGE = (
    "id",
    "environment",
    "tenant",
    "subscriber",
    "workflow",
    "channel",
    "content",
    "subject",
    "body",
    "cta",
    "data",
    "status",
    "feed_at",
    "created_at",
)
CONTENT = ("id", "subject", "body", "cta", "data")
WAITING = RunStatus.WAITING.value
FAILED = RunStatus.FAILED.value
OBSERVED = ("message_created", "message_sent", "message_queued", "message_skipped", "run_finished")

MOVE_RUN = Statement(
    update(run)
    .where(run.c.id == bindparam("number"))
    .values(
        step=bindparam("step"),
        status=bindparam("status"),
        results=bindparam("results"),
        trace=run.c.trace.concat(bindparam("trace")),
        reason=bindparam("reason"),
        finished_at=bindparam("finished_at"),
    )
)


def looks_at_people(unit: Unit, version: StoredVersion) -> bool:
    """Whether more than the row id of a subscriber matters: to templates, addresses or observers."""
    workflow = version.workflow
    return (
        "subscriber" in compiled(workflow).reads
        or any(step.channel not in {None, "in_app"} for step in workflow.steps)
        or any(map(unit.listens, OBSERVED))
    )


def store_new(unit: Unit, moved: Sequence[Changes], trace: TraceLog) -> None:
    """Insert runs that were just made, with all that they made.

    Args:
        unit: A unit that may write.
        moved: The changes of a chunk, one for each version.
        trace: The chunk's paths.
    """
    insert_rows(unit, Run, RUN, [row for changes in moved for row in _run_rows(unit, changes, trace)])
    _store_made(unit, moved, trace)


def store_moved(unit: Unit, moved: Sequence[Changes], trace: TraceLog) -> None:
    """Update runs that went on after a wait, and insert what they made."""
    MOVE_RUN.many(
        unit,
        [
            {
                "number": number,
                "step": step,
                "status": status,
                "results": trace.records[path],
                "trace": trace.texts[path],
                "reason": _reason(changes, place, trace),
                "finished_at": None if status == WAITING else unit.now,
            }
            for changes in moved
            for place, (number, step, status, path) in enumerate(
                zip(changes.runs.ids, changes.steps, changes.status, changes.runs.paths, strict=True)
            )
        ],
    )
    _store_made(unit, moved, trace)


def _store_made(unit: Unit, moved: Sequence[Changes], trace: TraceLog) -> None:
    insert_rows(unit, Content, CONTENT, [row for changes in moved for row in changes.contents])
    insert_rows(unit, Message, MESSAGE, [row for changes in moved for row in changes.messages])
    enqueue(unit, [job for changes in moved for job in changes.jobs])
    if any(map(unit.listens, OBSERVED)):
        for changes in moved:
            _tell(unit, changes, trace)


def _run_rows(unit: Unit, changes: Changes, trace: TraceLog) -> list[tuple[Any, ...]]:
    runs, stamp, environment = changes.runs, unit.timestamp(unit.now), unit.environment
    usual: dict[tuple[int, int], tuple[Any, ...]] = {}
    rows = []
    workflow = runs.version.workflow_id
    for number, event, person, topic, own, path, status, step in zip(
        runs.ids,
        runs.events,
        runs.subscribers,
        runs.topics,
        runs.payloads,
        runs.paths,
        changes.status,
        changes.steps,
        strict=True,
    ):
        tail = usual.get((path, status))
        if tail is None:
            reason = None if status == WAITING else trace.reasons[path] if status == FAILED else trace.reason_of(path)
            finished = None if status == WAITING else stamp
            tail = usual[path, status] = (status, trace.records_text(path), trace.texts[path], reason, stamp, finished)
        payload = None if own is None else to_json(own).decode()
        rows.append((number, environment, event.id, person[0], workflow, event.tenant_id, topic, payload, step, *tail))
    return rows


def _reason(changes: Changes, place: int, trace: TraceLog) -> str | None:
    """Why a run failed, or why a finished run has no message (its last skip's reason)."""
    status, path = changes.status[place], changes.runs.paths[place]
    if status == WAITING:
        return None
    return trace.reasons[path] if status == FAILED else trace.reason_of(path)


def _tell(unit: Unit, changes: Changes, trace: TraceLog) -> None:
    """Emit the events of some runs; called only where somebody listens."""
    runs, workflow = changes.runs, changes.runs.version.workflow
    indexes = workflow.positions
    channels = {step.id: step.channel for step in workflow.steps}
    for place, path in enumerate(runs.paths):
        event, who = runs.events[place], public_id(runs.subscribers[place][1])
        for entry in trace.entries[path]:
            channel = channels[entry.step]
            if entry.kind == "message_skipped" and channel and unit.listens("message_skipped"):
                unit.emit(
                    MessageSkipped(
                        event.transaction_id, who, workflow.key, entry.step, channel, entry.reason or "", None
                    )
                )
            elif entry.kind in {"message_sent", "message_queued"}:
                number = step_key(runs.ids[place], indexes[entry.step])
                _tell_message(unit, entry, _message(unit, changes, place, entry, number))
        if changes.status[place] != WAITING and unit.listens("run_finished"):
            status = RunStatus(changes.status[place]).word
            assert status != "waiting"
            unit.emit(RunFinished(event.transaction_id, who, workflow.key, status, _reason(changes, place, trace)))


def _message(unit: Unit, changes: Changes, place: int, entry: TraceEntry, number: int) -> MessageResult:
    runs, workflow = changes.runs, changes.runs.version.workflow
    step = workflow.step(entry.step)
    assert step is not None
    assert step.channel is not None
    return MessageResult(
        id=encode_id("msg", number),
        subscriber_id=public_id(runs.subscribers[place][1]),
        workflow=workflow.key,
        step=entry.step,
        channel=step.channel,
        status="sent" if entry.kind == "message_sent" else "queued",
        reason=None,
        provider=None,
        transaction_id=runs.events[place].transaction_id,
        created_at=unit.now,
    )


def _tell_message(unit: Unit, entry: TraceEntry, message: MessageResult) -> None:
    if unit.listens("message_created"):
        unit.emit(MessageCreated(message))
    if entry.kind == "message_queued":
        if unit.listens("message_queued"):
            unit.emit(MessageQueued(message))
    elif unit.listens("message_sent"):
        unit.emit(MessageSent(message, Receipt()))


def instant_of(unit: Unit) -> Instant:
    """The unit's moment in all its forms."""
    return Instant.of(unit.now, unit.timestamp(unit.now))
