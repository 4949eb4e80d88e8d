"""Preferences: which channels a subscriber wants, and what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Table, bindparam, delete, select, update

from notifykit.errors import ConflictError, InputError, NotFoundError, nearest
from notifykit.model import Preference
from notifykit.model import Subscriber as SubscriberRow
from notifykit.model.codes import CHANNELS, Channel, ChannelCode
from notifykit.model.preference import EVERYTHING, of_workflow
from notifykit.model.tables import preference, subscriber
from notifykit.model.tables import workflow as workflow_table
from notifykit.model.values import Who
from notifykit.queries import preferences, versions
from notifykit.queries.references import channel_code, scope_row, subscriber_key, workflow_key
from notifykit.store.rows import reveal_rows, upsert_rows
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Namespace, Unit, query, verb
from notifykit.workflow.definition import Workflow

_NAMED = select(subscriber.c.id).where(
    subscriber.c.environment == bindparam("environment"), subscriber.c.subscriber_id == bindparam("key")
)
FIND = Statement(_NAMED)
LOCK = Statement(_NAMED.with_for_update())
"""Choices of one subscriber are made one after the other: else an opt-out could miss an opt-in that it must clear."""
TOUCH = Statement(
    update(subscriber).where(subscriber.c.id == bindparam("row")).values(environment=subscriber.c.environment)
)
"""Leaves a trace of a choice: where a host's snapshot is older, PostgreSQL then gives the host's transaction up."""
CURRENT = Statement(
    select(workflow_table.c.current_version).where(
        workflow_table.c.environment == bindparam("environment"), workflow_table.c.key == bindparam("key")
    )
)


def _of_subject(table: Table) -> tuple[Any, ...]:
    return table.c.environment == bindparam("environment"), table.c.subject == bindparam("subject")


CLEAR_NARROWER = Statement(
    delete(preference).where(
        *_of_subject(preference),
        preference.c.target != EVERYTHING,
        preference.c.enabled.is_(True),
        any_of(preference.c.channel, "channels"),
    )
)


class Preferences(Namespace):
    """Which channels subscribers want."""

    @verb
    def update(
        self,
        subscriber: Who,
        *,
        workflow: str | Workflow[Any, ...] | None = None,
        channels: Mapping[Channel, bool] | None = None,
        enabled: bool | None = None,
    ) -> None:
        """Set a choice; without a workflow the subscriber's global one.

        A global opt-out clears what was chosen for single workflows on that channel before; a global opt-in leaves
        the opt-outs of single workflows alone. A channel that is not named keeps its choice, or has none and inherits.

        Args:
            subscriber: Whose choice.
            workflow: For this workflow only.
            channels: Which channels are wanted and which are not; also of channels that the workflow does not use yet.
            enabled: All channels, on or off; `channels` stand above it.

        Raises:
            NotFoundError: There is no such subscriber or workflow.
            ConflictError: The workflow is critical: subscribers have no choice.
            InputError: A channel is unknown, a choice is not a truth value, or nothing is chosen.

        Example:
            ```python
            notify.preferences.update("ada", workflow=shipped, channels={"email": False})
            ```
        """
        choices = _choices(channels, enabled)
        target = EVERYTHING
        if workflow is not None:
            definition = _definition(self.unit, workflow)
            if definition.critical:
                message = f"workflow {definition.key!r} is critical: subscribers have no choice, so nothing was stored"
                raise ConflictError(message)
            target = of_workflow(definition.key)
        subject = _subject(self.unit, subscriber, LOCK)
        TOUCH.run(self.unit, row=subject)
        reveal_rows(self.unit, SubscriberRow, ("id",), [(subject,)])
        _store(self.unit, subject, target, choices)
        if not all(choices.values()):
            self.unit.stop(subscribers=[subject])

    @query
    def get(self, subscriber: Who, *, workflow: str | Workflow[Any, ...] | None = None) -> Mapping[Channel, bool]:
        """The effective channels.

        Args:
            subscriber: Whose.
            workflow: For this workflow: the channels of its active steps. Without one all channels.

        Raises:
            NotFoundError: There is no such subscriber or workflow.
        """
        subject = _subject(self.unit, subscriber, FIND)
        used: Collection[Channel] = CHANNELS
        definition = None
        if workflow is not None:
            definition = _definition(self.unit, workflow)
            steps = {step.channel for step in definition.steps if step.active}
            used = [channel for channel in CHANNELS if channel in steps]
        tenant = scope_row(self.unit) or 0
        chosen = preferences.load(self.unit, self.unit.environment, (subject, tenant), [definition])
        return {channel: chosen.of(definition, channel).decision(subject, tenant).allow for channel in used}


def _choices(channels: Mapping[Channel, bool] | None, enabled: bool | None) -> dict[int, bool]:
    """The choice for each channel's number."""
    if channels is None and enabled is None:
        raise InputError("channels: name the channels to choose, or give `enabled`", field="channels")
    if enabled is not None and not isinstance(enabled, bool):
        raise InputError(f"enabled: True or False is expected, not {enabled!r}", field="enabled")
    if not isinstance(channels, Mapping | None):
        raise InputError(f"channels: a mapping is expected, not {type(channels).__name__}", field="channels")
    choices = {} if enabled is None else {code.value: enabled for code in ChannelCode}
    for channel, wanted in (channels or {}).items():
        path = f"channels.{channel}"
        if not isinstance(wanted, bool):
            raise InputError(f"{path}: True or False is expected, not {wanted!r}", field=path)
        choices[channel_code(channel, path)] = wanted
    return choices


def _store(unit: Unit, subject: int, target: str, choices: Mapping[int, bool]) -> None:
    refused = [channel for channel, wanted in sorted(choices.items()) if not wanted]
    if target == EVERYTHING and refused:
        CLEAR_NARROWER.run(unit, environment=unit.environment, subject=subject, channels=refused)
    whose, now = (unit.environment, subject, target), unit.timestamp(unit.now)
    upsert_rows(
        unit,
        Preference,
        ("environment", "subject", "target", "channel", "enabled", "locked", "updated_at"),
        [(*whose, channel, wanted, False, now) for channel, wanted in choices.items()],
        key=("environment", "subject", "target", "channel"),
        update=("enabled", "updated_at"),
    )


def _subject(unit: Unit, who: Who, find: Statement) -> int:
    key = subscriber_key(who)
    found = find.row(unit, environment=unit.environment, key=key)
    if found is None:
        raise NotFoundError(f"there is no subscriber {key!r}")
    return int(found[0])


def _definition(unit: Unit, workflow: str | Workflow[Any, ...]) -> Workflow[Any, ...]:
    """The definition that counts: this process's own code, else what the database holds."""
    key = workflow_key(workflow)
    if (code := unit.registry.get(key)) is not None:
        return code
    if isinstance(workflow, Workflow):
        return workflow
    found = CURRENT.row(unit, environment=unit.environment, key=key)
    if found is None or not found[0]:
        raise NotFoundError(f"there is no workflow {key!r}.{nearest(key, unit.registry.registered)}")
    return versions.usable(versions.by_id(unit, [found[0]])[found[0]]).workflow
