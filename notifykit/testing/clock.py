"""The clock of the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from typing_extensions import Unpack

from notifykit.errors import InputError
from notifykit.model.values import Span
from notifykit.workflow.span import after, problem

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """A clock that stands still until it is moved.

    Example:
        ```python
        clock = FakeClock(datetime(2026, 3, 29, 1, 30, tzinfo=UTC))
        notify = nk.Engine(clock=clock)
        clock.move(hours=2)
        ```
    """

    def __init__(self, start: datetime | None = None) -> None:
        """Set the clock.

        Args:
            start: Its first present, aware; left out, the first moment of 2026 in UTC.

        Raises:
            InputError: The time is naive.
        """
        self._now = START if start is None else aware(start, "start")

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return self._now

    def move(self, **span: Unpack[Span]) -> None:
        """Move the clock forward.

        Args:
            **span: How far, such as `minutes=10`.

        Raises:
            InputError: It would go back.
        """
        self.move_to(self.after(**span))

    def move_to(self, moment: datetime) -> None:
        """Move the clock forward to a moment.

        Raises:
            InputError: The moment is naive or lies in the past.
        """
        moment = aware(moment, "to")
        if moment < self._now:
            raise InputError(
                f"the clock can't go back from {self._now.isoformat()} to {moment.isoformat()}", field="to"
            )
        self._now = moment

    def after(self, **span: Unpack[Span]) -> datetime:
        """The moment that lies a span after the present.

        Raises:
            InputError: It is no span, or a negative one.
        """
        given = {unit: amount for unit, amount in span.items() if amount != 0}
        if wrong := problem(given):
            raise InputError(wrong, field=next(iter(given)))
        return after(self._now, given)


def aware(moment: Any, field: str) -> datetime:
    """An aware time in UTC.

    Raises:
        InputError: It is no time, or naive.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InputError(f"{field} must be an aware datetime, such as datetime(2026, 1, 1, tzinfo=UTC)", field=field)
    return moment.astimezone(UTC)
