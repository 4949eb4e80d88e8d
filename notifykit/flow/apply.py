"""Write what an advance has changed: each row once, by bulk statements; then say what there is to tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import bindparam, update

from notifykit.events import MessageCreated, MessageQueued, MessageSent, MessageSkipped, RunFinished
from notifykit.flow.runs import Changes, Instant, Wait
from notifykit.flow.trail import Mark, Trail
from notifykit.ids import at_step, text_of
from notifykit.model import Content, Job, Message, Run
from notifykit.model.codes import RunStatus
from notifykit.model.tables import run
from notifykit.outgoing import Receipt
from notifykit.render.compiled import compiled
from notifykit.results import Message as MessageResult
from notifykit.store.endings import shown
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement
from notifykit.store.unit import Unit
from notifykit.workflow.registry import StoredVersion

RUN = (
    "id",
    "environment",
    "event",
    "subscriber",
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
JOB = ("due_at", "id", "kind", "run", "message", "step", "needs", "owner", "attempt", "rescues")
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


def store_new(unit: Unit, moved: Sequence[Changes], trail: Trail) -> None:
    """Insert runs that were just made, with all that they made.

    Args:
        unit: A unit that may write.
        moved: The changes of a chunk, one for each version.
        trail: The chunk's ways.
    """
    insert_rows(unit, Run, RUN, [row for changes in moved for row in _run_rows(unit, changes, trail)])
    _store_made(unit, moved, trail)


def store_moved(unit: Unit, moved: Sequence[Changes], trail: Trail) -> None:
    """Update runs that went on after a wait, and insert what they made."""
    MOVE_RUN.many(
        unit,
        [
            {
                "number": number,
                "step": step,
                "status": status,
                "results": trail.records[way],
                "trace": trail.texts[way],
                "reason": _reason(changes, place, trail),
                "finished_at": None if status == WAITING else unit.now,
            }
            for changes in moved
            for place, (number, step, status, way) in enumerate(
                zip(changes.runs.ids, changes.steps, changes.status, changes.runs.ways, strict=True)
            )
        ],
    )
    _store_made(unit, moved, trail)


def _store_made(unit: Unit, moved: Sequence[Changes], trail: Trail) -> None:
    insert_rows(unit, Content, CONTENT, [row for changes in moved for row in changes.contents])
    insert_rows(unit, Message, MESSAGE, [row for changes in moved for row in changes.messages])
    waits = [wait for changes in moved for wait in changes.waits]
    if waits:
        insert_rows(unit, Job, JOB, _job_rows(unit, waits))
        unit.schedule(min(wait.due_at for wait in waits))
    if any(map(unit.listens, OBSERVED)):
        for changes in moved:
            _tell(unit, changes, trail)


def _run_rows(unit: Unit, changes: Changes, trail: Trail) -> list[tuple[Any, ...]]:
    runs, stamp, environment = changes.runs, unit.moment(unit.now), unit.environment
    usual: dict[tuple[int, int], tuple[Any, ...]] = {}
    rows = []
    for number, origin, person, own, way, status, step in zip(
        runs.ids, runs.origins, runs.people, runs.payloads, runs.ways, changes.status, changes.steps, strict=True
    ):
        tail = usual.get((way, status))
        if tail is None:
            reason = None if status == WAITING else trail.reasons[way] if status == FAILED else trail.reason_of(way)
            finished = None if status == WAITING else stamp
            tail = usual[way, status] = (status, trail.records_text(way), trail.texts[way], reason, stamp, finished)
        payload = None if own is None else to_json(own).decode()
        rows.append((number, environment, origin.id, person[0], payload, step, *tail))
    return rows


def _reason(changes: Changes, place: int, trail: Trail) -> str | None:
    """Why a run failed, or why a finished run has no message (its last skip's reason)."""
    status, way = changes.status[place], changes.runs.ways[place]
    if status == WAITING:
        return None
    return trail.reasons[way] if status == FAILED else trail.reason_of(way)


def _job_rows(unit: Unit, waits: Sequence[Wait]) -> list[tuple[Any, ...]]:
    stamps = {wait.due_at: unit.moment(wait.due_at) for wait in waits}
    return [
        (
            stamps[wait.due_at],
            at_step(wait.run, wait.step),
            wait.kind,
            wait.run,
            wait.message,
            wait.step,
            wait.needs,
            "",
            0,
            0,
        )
        for wait in waits
    ]


def _tell(unit: Unit, changes: Changes, trail: Trail) -> None:
    """Emit the events of some runs; called only where somebody listens."""
    runs, workflow = changes.runs, changes.runs.version.workflow
    indexes = {step.id: index for index, step in enumerate(workflow.steps)}
    channels = {step.id: step.channel for step in workflow.steps}
    for place, way in enumerate(runs.ways):
        origin, who = runs.origins[place], shown(runs.people[place][1])
        for mark in trail.marks[way]:
            channel = channels[mark.step]
            if mark.kind == "message_skipped" and channel and unit.listens("message_skipped"):
                unit.emit(
                    MessageSkipped(
                        origin.transaction_id, who, workflow.key, mark.step, channel, mark.reason or "", None
                    )
                )
            elif mark.kind in {"message_sent", "message_queued"}:
                number = at_step(runs.ids[place], indexes[mark.step])
                _tell_message(unit, mark, _message(unit, changes, place, mark, number))
        if changes.status[place] != WAITING and unit.listens("run_finished"):
            status = RunStatus(changes.status[place]).word
            assert status != "waiting"
            unit.emit(RunFinished(origin.transaction_id, who, workflow.key, status, _reason(changes, place, trail)))


def _message(unit: Unit, changes: Changes, place: int, mark: Mark, number: int) -> MessageResult:
    runs, workflow = changes.runs, changes.runs.version.workflow
    step = workflow.step(mark.step)
    assert step is not None
    assert step.channel is not None
    return MessageResult(
        id=text_of("msg", number),
        subscriber_id=shown(runs.people[place][1]),
        workflow=workflow.key,
        step=mark.step,
        channel=step.channel,
        status="sent" if mark.kind == "message_sent" else "queued",
        reason=None,
        provider=None,
        transaction_id=runs.origins[place].transaction_id,
        created_at=unit.now,
    )


def _tell_message(unit: Unit, mark: Mark, message: MessageResult) -> None:
    if unit.listens("message_created"):
        unit.emit(MessageCreated(message))
    if mark.kind == "message_queued":
        if unit.listens("message_queued"):
            unit.emit(MessageQueued(message))
    elif unit.listens("message_sent"):
        unit.emit(MessageSent(message, Receipt()))


def instant_of(unit: Unit) -> Instant:
    """The unit's moment in all its forms."""
    return Instant.of(unit.now, unit.moment(unit.now))
