"""What `explain` answers: who would get what, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from notifykit.model.codes import Channel
from notifykit.model.values import HasSubscriberId, Value, subscriber_id_of

SkipReason = Literal[
    "no_address",
    "preference",
    "condition",
    "throttled",
    "digested",
    "schedule",
    "duplicate",
    "actor",
    "excluded",
    "cancelled",
    "expired",
    "inactive",
]


@dataclass(frozen=True, eq=False, repr=False)
class Planned(Value):
    """One recipient at one step, in the order of time.

    Attributes:
        step: None for who is left out before any step (actor, excluded, refused).
        rule: Which preference, condition or fact decided.
    """

    subscriber_id: str
    step: str | None
    channel: Channel | None
    outcome: Literal["send", "wait", "skip", "fail"]
    at: datetime
    reason: SkipReason | None
    rule: str


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Value):
    """What a trigger would do; it assumes that nothing changes meanwhile."""

    recipients: int
    counts: Mapping[Channel, int]
    rows: tuple[Planned, ...]

    def why_not(self, subscriber: str | HasSubscriberId) -> str:
        """Sentences that say what keeps messages from a subscriber.

        Args:
            subscriber: A subscriber id or a host's row with one; strangers are answered too.

        Returns:
            One sentence for each step that sends nothing, or one that says that everything is sent.
        """
        who = subscriber_id_of(subscriber)
        mine = [row for row in self.rows if row.subscriber_id == who]
        if not mine:
            return f"{who!r} is not among the recipients of this trigger."
        held = [row for row in mine if row.outcome in {"skip", "fail"}]
        if not held:
            return f"Nothing keeps this from {who!r}: every step is sent."
        return " ".join(_why(row) for row in held)


def _why(row: Planned) -> str:
    what = f"Step {row.step!r}" if row.step else f"{row.subscriber_id!r}"
    verb = "fails" if row.outcome == "fail" else "is skipped" if row.step else "is left out"
    return f"{what} {verb}: {row.reason or 'error'} ({row.rule})." if row.rule else f"{what} {verb}: {row.reason}."
