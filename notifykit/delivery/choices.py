"""Preferences once more at the claim (D5): after an opt-out returned, nothing violates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlmodel import col

from notifykit.delivery.task import Task
from notifykit.model import Preference
from notifykit.model.preference import EVERYTHING, of_workflow
from notifykit.store.statement import Statement, within
from notifykit.store.unit import Unit
from notifykit.workflow.preferences import decide

CHOICES = Statement(
    select(col(Preference.subject), col(Preference.channel), col(Preference.target), col(Preference.enabled)).where(
        within(Preference.environment, "environments"),
        within(Preference.subject, "subjects"),
        within(Preference.target, "targets"),
    )
)


class Choices:
    """What the subscribers of some messages have chosen, as of now."""

    def __init__(self, unit: Unit, tasks: Sequence[Task]) -> None:
        """Read the choices, in one query.

        Args:
            unit: The unit of the claim.
            tasks: The claimed jobs; those of critical workflows ask nobody.
        """
        self._chosen: dict[tuple[int, int], dict[str, bool]] = {}
        self._usual: dict[tuple[int, int], bool] = {}
        asked = [task for task in tasks if task.message is not None and not task.workflow.critical]
        if asked:
            for subject, channel, target, enabled in CHOICES.rows(
                unit,
                environments=sorted({task.message.environment for task in asked if task.message is not None}),
                subjects=sorted({task.facts.subscriber_row for task in asked}),
                targets=sorted({EVERYTHING, *(of_workflow(task.workflow.key) for task in asked)}),
            ):
                self._chosen.setdefault((subject, channel), {})[target] = bool(enabled)

    def allow(self, task: Task) -> bool:
        """Whether a message may still be sent."""
        assert task.message is not None
        chosen = self._chosen.get((task.facts.subscriber_row, task.message.channel))
        if chosen is not None:
            return _allows(task, chosen)
        usual = (task.facts.version.version_id, task.message.channel)
        if usual not in self._usual:
            self._usual[usual] = _allows(task, {})
        return self._usual[usual]


def _allows(task: Task, chosen: Mapping[str, bool]) -> bool:
    assert task.message is not None
    workflow = task.workflow
    return decide(
        task.message.word,
        workflow=workflow.key,
        critical=workflow.critical,
        defaults=workflow.preferences,
        choices=chosen,
    ).allow
