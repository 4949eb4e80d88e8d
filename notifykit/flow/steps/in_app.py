"""An in-app message: delivered by being written, so its text is rendered here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from notifykit.errors import RenderError
from notifykit.flow.run_columns import without
from notifykit.flow.steps.behaviour import Behaviour
from notifykit.flow.steps.channel import NO_TEXT, wanting
from notifykit.flow.trace_log import TraceEntry
from notifykit.model.codes import Channel, ChannelCode, MessageStatus
from notifykit.model.values import Json
from notifykit.texts import error_text
from notifykit.workflow.steps import NOT_DELIVERED, ChannelStep

if TYPE_CHECKING:
    from notifykit.flow.moving import MovingRuns
    from notifykit.flow.run_columns import EventContext, Indexes, Text
    from notifykit.queries.facts import Loader
    from notifykit.render.compiled import CompiledStep

IN_APP = ChannelCode.IN_APP.value
SENT = MessageStatus.SENT.value


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class InApp(ChannelStep):
    """A message in the subscriber's inbox.

    Attributes:
        body: A template.
        subject: A template, or None.
        redirect: Where a click leads: a URL, or `{"url": ..., "target": "_blank"}`.
        primary: A button: `{"label": ..., "url": ...}`.
        secondary: The other button.
        data: Facts for the host's own front end; texts in it are templates.

    Example:
        >>> InApp("bell", subject="Shipped", body="Order {{ payload.order }} is on its way", redirect="/orders").id
        'bell'
    """

    kind: ClassVar[str] = "in_app"
    channel: ClassVar[Channel | None] = "in_app"

    body: str = ""
    subject: str | None = None
    redirect: str | Json | None = None
    primary: Json | None = None
    secondary: Json | None = None
    data: Json | None = None


class InAppBehaviour(Behaviour[InApp]):
    """Messages are written into inboxes at once; nobody waits."""

    def loaders(self) -> Collection[Loader]:
        """Who wants to be reached."""
        from notifykit.queries.facts import load_preferences

        return (load_preferences,)

    def move(self, moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
        """Write messages into inboxes."""
        return _write(moving, step, wanting(moving, step, indexes))


def _write(moving: MovingRuns, step: CompiledStep, indexes: Indexes) -> Indexes:
    """Render what is the same for all runs of an event once; this is the loop of a fan-out."""
    assert step.rendering is not None
    render, personal, position = step.rendering.bind(moving.scope), step.personal, step.index
    sent = TraceEntry(step.step.id, "message_sent", None, None, "sent", NOT_DELIVERED)
    runs, stamp, environment = moving.runs, moving.context.instant.stamp, moving.context.environment
    ids, events, subscribers, own, paths = runs.ids, runs.events, runs.subscribers, runs.payloads, runs.paths
    add, continued, workflow = moving.changes.messages.append, moving.context.trace.add, runs.version.workflow_id
    next_path = dict[int, int]()
    failed: list[int] = []
    last, text, kept = None, NO_TEXT, 0
    for index in indexes:
        event = events[index]
        try:
            if personal or event is not last or own[index] is not None:
                moving.fill(index)
                text, last, kept = render(), event if own[index] is None else None, 0
        except RenderError as error:
            failed.append(index)
            moving.fail(index, step, error_text(error))
            last = None
            continue
        content, shown = 0, text
        if event.fans_out and not personal and own[index] is None:
            kept = kept or _share(moving, event, position, text, ids[index] << 6 | position)
            content, shown = kept, NO_TEXT
        add(
            (
                ids[index] << 6 | position,
                environment,
                event.tenant_id,
                subscribers[index][0],
                workflow,
                IN_APP,
                content,
                *shown,
                SENT,
                stamp,
                stamp,
            )
        )
        path = paths[index]
        known = next_path.get(path)
        paths[index] = next_path.setdefault(path, continued(path, sent)) if known is None else known
    return without(indexes, failed) if step.step.stop_on_fail else indexes


def _share(moving: MovingRuns, event: EventContext, position: int, text: Text, message: int) -> int:
    """The id of a text that runs of an event share: that of the first message that has it, which is written once."""
    if event.shared is None:
        event.shared = {}
    number = event.shared.get((position, text))
    if number is None:
        number = event.shared[position, text] = message
        moving.changes.contents.append((number, *text))
    return number
