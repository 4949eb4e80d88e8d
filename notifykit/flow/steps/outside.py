"""Messages to the outside: queued here; rendered and sent after a claim, outside any transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from notifykit.errors import RenderError
from notifykit.flow.steps.behaviour import Behaviour, Record
from notifykit.flow.steps.channel import NO_TEXT, reachable, wanting
from notifykit.flow.trace_log import TraceEntry
from notifykit.ids import step_key
from notifykit.model.codes import Channel, ChannelCode, JobKind, MessageStatus
from notifykit.model.job import NewJob
from notifykit.model.values import Json
from notifykit.texts import error_text
from notifykit.workflow.steps import ChannelStep

if TYPE_CHECKING:
    from notifykit.flow.moving import MovingRuns
    from notifykit.flow.run_columns import Indexes
    from notifykit.queries.facts import Loader
    from notifykit.render.compiled import CompiledStep

QUEUED = MessageStatus.QUEUED.value
DELIVER = JobKind.DELIVER.value
IN_QUEUE = '{"delivery":"queued","seen":false,"read":false}'


class Outside(ChannelStep):
    """What the steps of all outside channels have."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Email(Outside):
    """An e-mail.

    Attributes:
        subject: A template; an e-mail needs one.
        body: The text, a template.
        html: The same as HTML, a template; the only text in which what is filled in is escaped.
    """

    kind: ClassVar[str] = "email"
    channel: ClassVar[Channel | None] = "email"

    subject: str = ""
    body: str = ""
    html: str | None = None

    def problems(self) -> Iterator[str]:
        """What registration refuses."""
        yield from super().problems()
        subject: Any = self.subject
        if not isinstance(subject, str) or not subject.strip():
            yield "subject: an e-mail needs one"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sms(Outside):
    """A text message; `body` is a template."""

    kind: ClassVar[str] = "sms"
    channel: ClassVar[Channel | None] = "sms"

    body: str = ""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Push(Outside):
    """A push notification; `title`, `body` and the texts in `data` are templates."""

    kind: ClassVar[str] = "push"
    channel: ClassVar[Channel | None] = "push"

    title: str = ""
    body: str = ""
    data: Json | None = None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Chat(Outside):
    """A chat message; `body` is a template."""

    kind: ClassVar[str] = "chat"
    channel: ClassVar[Channel | None] = "chat"

    body: str = ""


class OutsideBehaviour(Behaviour[Outside]):
    """A message and its job are queued; the run waits for the outcome only where a later step asks for it."""

    def loaders(self) -> Collection[Loader]:
        """Who wants to be reached, and on which devices."""
        from notifykit.queries.facts import load_devices, load_preferences

        return (load_preferences, load_devices)

    def move(self, moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
        """Queue messages."""
        indexes = reachable(moving, step, wanting(moving, step, indexes))
        _queue(moving, step, indexes)
        if moving.context.preview:
            _preview(moving, step, indexes)
        if not step.awaited:
            return indexes
        moving.suspend(indexes, step.index)
        return ()

    def has_failed(self, record: Record) -> bool:
        """Whether the message was given up, or nobody knows."""
        return record.get("delivery") in {"failed", "unknown"}

    def assumed(self, record: Record, at: datetime, *, renders: bool) -> Record:
        """What was queued has been sent, or could not be rendered."""
        return {**record, "delivery": "sent" if renders else "failed"} if record["status"] == "queued" else record


def _queue(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> None:
    assert step.step.channel is not None
    runs, stamp, now = moving.runs, moving.context.instant.stamp, moving.context.instant.now
    code, position, environment = ChannelCode.of(step.step.channel).value, step.index, moving.context.environment
    queued = TraceEntry(step.step.id, "message_queued", None, None, "queued", IN_QUEUE)
    workflow, add, enqueue = runs.version.workflow_id, moving.changes.messages.append, moving.changes.jobs.append
    for index in indexes:
        run, event = runs.ids[index], runs.events[index]
        number = step_key(run, position)
        add(
            (
                number,
                environment,
                event.tenant_id,
                runs.subscribers[index][0],
                workflow,
                code,
                0,
                *NO_TEXT,
                QUEUED,
                stamp,
                stamp,
            )
        )
        enqueue(NewJob(number, environment, now, DELIVER, run, position, number))
        moving.record(index, queued)


def _preview(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> None:
    """Render without keeping anything, to know what can't be."""
    assert step.rendering is not None
    render = step.rendering.bind(moving.scope)
    for index in indexes:
        moving.fill(index)
        try:
            render()
        except RenderError as error:
            moving.changes.unrenderable[index, step.step.id] = error_text(error)
