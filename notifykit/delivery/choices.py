"""Preferences once more at the claim (D5): after an opt-out returned, nothing violates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlmodel import col

from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.model import Preference
from notifykit.model.preference import EVERYTHING, of_workflow
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.preferences import decide

CHOICES = Statement(
    select(col(Preference.subject), col(Preference.channel), col(Preference.target), col(Preference.enabled)).where(
        any_of(Preference.environment, "environments"),
        any_of(Preference.subject, "subjects"),
        any_of(Preference.target, "targets"),
    )
)


class Choices:
    """What the subscribers of some messages have chosen, as of now."""

    def __init__(self, unit: Unit, deliveries: Sequence[ClaimedDelivery]) -> None:
        """Read the choices, in one query.

        Args:
            unit: The unit of the claim.
            deliveries: The claimed jobs; those of critical workflows ask nobody.
        """
        self._chosen: dict[tuple[int, int], dict[str, bool]] = {}
        self._usual: dict[tuple[int, int], bool] = {}
        asked = [delivery for delivery in deliveries if delivery.message is not None and not delivery.workflow.critical]
        if asked:
            for subject, channel, target, enabled in CHOICES.rows(
                unit,
                environments=sorted(
                    {delivery.message.environment for delivery in asked if delivery.message is not None}
                ),
                subjects=sorted({delivery.facts.subscriber_row for delivery in asked}),
                targets=sorted({EVERYTHING, *(of_workflow(delivery.workflow.key) for delivery in asked)}),
            ):
                self._chosen.setdefault((subject, channel), {})[target] = bool(enabled)

    def allow(self, delivery: ClaimedDelivery) -> bool:
        """Whether a message may still be sent."""
        assert delivery.message is not None
        chosen = self._chosen.get((delivery.facts.subscriber_row, delivery.message.channel))
        if chosen is not None:
            return _allows(delivery, chosen)
        usual = (delivery.facts.version.version_id, delivery.message.channel)
        if usual not in self._usual:
            self._usual[usual] = _allows(delivery, {})
        return self._usual[usual]


def _allows(delivery: ClaimedDelivery, chosen: Mapping[str, bool]) -> bool:
    assert delivery.message is not None
    workflow = delivery.workflow
    return decide(
        delivery.message.word,
        workflow=workflow.key,
        critical=workflow.critical,
        defaults=workflow.preferences,
        choices=chosen,
    ).allow
