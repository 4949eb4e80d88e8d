"""An in-app message: delivered by being written, so its text is rendered here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from notifykit.errors import RenderError
from notifykit.flow.run_columns import without
from notifykit.flow.steps.behaviour import Behaviour
from notifykit.flow.steps.channel import NO_TEXT, wanting
from notifykit.flow.trace_log import TraceEntry
from notifykit.ids import step_key
from notifykit.model.codes import Channel, ChannelCode, MessageStatus
from notifykit.model.values import Json
from notifykit.texts import error_text
from notifykit.workflow.steps import NOT_DELIVERED, ChannelStep

if TYPE_CHECKING:
    from notifykit.flow.moving import MovingRuns
    from notifykit.flow.run_columns import EventContext, Indexes
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
    last, text = None, NO_TEXT
    for index in indexes:
        event = events[index]
        try:
            if personal or event is not last or own[index] is not None:
                moving.fill(index)
                text, last = render(), event if own[index] is None else None
        except RenderError as error:
            failed.append(index)
            moving.fail(index, step, error_text(error))
            last = None
            continue
        content, shown = 0, text
        if event.fans_out and not personal and own[index] is None:
            content, shown = _share(moving, event, position, text), NO_TEXT
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


def _share(moving: MovingRuns, event: EventContext, position: int, text: tuple[Any, ...]) -> int:
    """The id of a text that all runs of an event share; kept when it is met first."""
    number = step_key(event.id, position)
    if event.shared is None:
        event.shared = set()
    if position not in event.shared:
        event.shared.add(position)
        moving.changes.contents.append((number, *text))
    return number
