"""Triggers: from what was asked to stored events and runs that have gone as far as they get.

One path for one trigger and for a million: chunks of input, batches of it whose audience is known at once, chunks of
runs. Each long verb is a generator that yields after each chunk, so that the async notifier can let the loop breathe.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from notifykit.errors import InputError, TriggerError
from notifykit.events import BulkFinished
from notifykit.flow import wire
from notifykit.flow.batch import BatchWriter
from notifykit.flow.pending_trigger import PendingTrigger
from notifykit.flow.recipients import keep_recipients, stands_alone
from notifykit.flow.subscriber_set import given_devices
from notifykit.flow.topic_members import PRELOADED, TopicMembers
from notifykit.flow.validation import validate
from notifykit.flow.wire import TriggerRequest
from notifykit.model.values import Everyone
from notifykit.queries.addresses import DEVICE_CHANNELS
from notifykit.results import BulkResult, Problem, TriggerResult
from notifykit.unit_of_work.pull_buffer import PullBuffer, next_batch
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import BoundWorkflow, Workflow


def trigger(
    unit: Unit,
    workflow: str | BoundWorkflow[Any] | Workflow[Any, ...],
    to: Any,
    payload: Any,
    options: Mapping[str, Any],
) -> Generator[PullBuffer | None, None, TriggerResult]:
    """Trigger a workflow for one or many recipients.

    Raises:
        NotFoundError: The workflow is unknown.
        InputError: A value is refused, or no valid recipient is left.
    """
    (pending,) = yield from _write(unit, [wire.trigger_request(workflow, to, payload, options)])
    if pending.error is not None:
        raise pending.error
    result = BulkResult()
    _note(result, pending)
    return result[0]


def broadcast(
    unit: Unit, workflow: str | BoundWorkflow[Any] | Workflow[Any, ...], payload: Any, options: Mapping[str, Any]
) -> Generator[PullBuffer | None, None, TriggerResult]:
    """Trigger a workflow for everyone."""
    return (yield from trigger(unit, workflow, Everyone(), payload, options))


def trigger_bulk(
    unit: Unit,
    source: Iterable[Any] | PullBuffer,
    *,
    atomic: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Generator[PullBuffer | None, None, BulkResult]:
    """Many triggers in one transaction.

    Args:
        unit: The unit.
        source: Triggers and wire dictionaries; a `PullBuffer` where the source is an async iterable.
        atomic: Refuse all where one is refused.
        progress: Called after each chunk with the number of triggers done so far.

    Raises:
        TriggerError: `atomic`, and a trigger is refused.
    """
    if isinstance(source, (str, bytes, Mapping)) or not isinstance(source, (Iterable, PullBuffer)):
        raise InputError(
            f"triggers: an iterable of triggers is expected, not {type(source).__name__}", field="triggers"
        )
    items: Iterator[Any] | PullBuffer = source if isinstance(source, PullBuffer) else iter(source)
    if atomic and unit.is_external:
        items = iter((yield from _checked_first(unit, items)))
    result = BulkResult()
    while batch := (yield from next_batch(items, unit.chunk)):
        for pending in (yield from _write(unit, wire.read(batch))):
            _note(result, pending)
            if atomic and pending.status != "processed":
                result.raise_for_status()
        if progress is not None:
            progress(len(result))
        yield None
    if unit.listens("bulk_finished"):
        unit.emit(BulkFinished(dict(result.counts)))
    return result


def _checked_first(unit: Unit, items: Iterator[Any] | PullBuffer) -> Generator[PullBuffer | None, None, list[Any]]:
    """All triggers as a list, each checked before the first write: a host's transaction is not rolled back here."""
    everything: list[Any] = []
    while batch := (yield from next_batch(items, unit.chunk)):
        read = wire.read(batch)
        for one in read:
            if not isinstance(one, list):
                keep_recipients(one)
        for at, pending in enumerate(validate(unit, read), len(everything)):
            if pending.status != "processed":
                sentence = "; ".join(map(str, pending.problems))
                raise TriggerError(f"trigger {at}: {pending.status}: {sentence}; nothing was written (atomic)")
        everything += read
    return everything


def _write(
    unit: Unit, read: Sequence[TriggerRequest | list[Problem]]
) -> Generator[PullBuffer | None, None, list[PendingTrigger]]:
    """Serve triggers in order; one to everyone or to a `select` sees all before it written, and is served alone."""
    done: list[PendingTrigger] = []
    start = 0
    for at, one in enumerate(read):
        if isinstance(one, list):
            continue
        keep_recipients(one)
        if stands_alone(one.get("to")):
            for part in (read[start:at], read[at : at + 1]):
                done += yield from _write_part(unit, part)
            start = at + 1
    done += yield from _write_part(unit, read[start:])
    return done


def _write_part(
    unit: Unit, read: Sequence[TriggerRequest | list[Problem]]
) -> Generator[PullBuffer | None, None, list[PendingTrigger]]:
    if not read:
        return []
    triggers = validate(unit, read)
    live = [pending for pending in triggers if pending.live]
    topics = TopicMembers.load(unit, live)
    for batch in _batches(unit, topics, live):
        yield from BatchWriter(unit, topics).write(batch)
    return triggers


@dataclass(slots=True)
class _Reached:
    """Whom a batch reaches on devices, whose addresses are read once for all of it: as they are at its end.

    Attributes:
        keys: Subscriber ids.
        anybody: Members of topics too.
        versions: Which versions have such a step.
    """

    keys: set[str] = field(default_factory=set)
    anybody: bool = False
    versions: dict[int, bool] = field(default_factory=dict)

    def add(self, pending: PendingTrigger) -> None:
        """Reach the audience of one more trigger."""
        number = pending.pinned.version_id
        uses = self.versions.get(number)
        if uses is None:
            steps = pending.pinned.workflow.steps
            uses = self.versions[number] = any(step.channel in DEVICE_CHANNELS for step in steps)
        if uses and pending.only is not None:
            self.keys.add(pending.only)
        elif uses:
            self.keys.update(pending.audience.named)
            self.anybody = self.anybody or bool(pending.audience.topics)

    def would_change_by(self, pending: PendingTrigger) -> bool:
        """Whether a trigger gives a device to somebody who was reached without it."""
        if not self.keys and not self.anybody:
            return False
        given = given_devices(pending)
        return bool(given) and (self.anybody or not given.isdisjoint(self.keys))


def _batches(unit: Unit, topics: TopicMembers, triggers: Sequence[PendingTrigger]) -> Iterator[list[PendingTrigger]]:
    """Triggers whose recipients fit in memory together; one with more than that is a batch of its own."""
    batch: list[PendingTrigger] = []
    weight, reached = 0, _Reached()
    for pending in triggers:
        size = 1 if pending.only is not None else _size(topics, pending)
        if batch and (size > unit.chunk or weight + size > unit.chunk * PRELOADED or reached.would_change_by(pending)):
            yield batch
            batch, weight, reached = [], 0, _Reached()
        batch.append(pending)
        weight += size
        reached.add(pending)
        if size > unit.chunk:
            yield batch
            batch, weight, reached = [], 0, _Reached()
    if batch:
        yield batch


def _size(topics: TopicMembers, pending: PendingTrigger) -> int:
    """How many recipients there are; many where nobody has counted them."""
    who = pending.audience
    if who.everyone or not topics.are_small(pending):
        return sys.maxsize
    return len(pending.named) + sum(len(topic.members) for topic in topics.of(pending))


def _note(result: BulkResult, pending: PendingTrigger) -> None:
    if pending.live and not pending.problems:
        result.add_processed(pending.event, pending.recipients, pending.transaction_id)
        return
    given = wire.given_id(pending.request)
    refused = given if isinstance(given, str) else ""
    result.add(
        pending.status,
        event=pending.event,
        recipients=pending.recipients,
        transaction_id=pending.transaction_id if pending.status == "processed" else refused,
        problems=pending.problems,
        duplicate=pending.duplicate,
    )
