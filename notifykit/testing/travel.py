"""The stops of a journey through time: written once for both kits."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from typing import Any

from notifykit.errors import InputError
from notifykit.results import DrainReport
from notifykit.testing.clock import FakeClock, aware


def destination(clock: FakeClock, to: datetime | None, span: dict[str, Any]) -> datetime:
    """Where a journey ends.

    Args:
        clock: The clock that will be moved.
        to: A moment, or None.
        span: Units and amounts, or nothing.

    Raises:
        InputError: Both are given, the moment is naive, or it lies in the past.
    """
    if to is None:
        return clock.after(**span)
    if span:
        raise InputError(f"travel to a moment or by a span, not both: leave to= or {next(iter(span))}= out", field="to")
    target = aware(to, "to")
    if target < clock.now():
        raise InputError(f"there is no way back from {clock.now().isoformat()} to {target.isoformat()}", field="to")
    return target


def journey(clock: FakeClock, target: datetime) -> Generator[None, DrainReport, DrainReport]:
    """Move the clock to every due moment on the way; each yield asks for a drain and gets its report.

    Moving to the end at once and draining once would skip what a stop makes due later, such as a second delay.

    Args:
        clock: The clock.
        target: Where the journey ends.

    Returns:
        Everything that was done on the way; what still waits, and for when, as of the end.
    """
    total = yield
    while total.next_due is not None and clock.now() < total.next_due < target:
        clock.move_to(total.next_due)
        total = _sum(total, (yield))
    if clock.now() < target:
        clock.move_to(target)
        total = _sum(total, (yield))
    return total


def _sum(before: DrainReport, last: DrainReport) -> DrainReport:
    return DrainReport(
        before.advanced + last.advanced,
        before.sent + last.sent,
        before.failed + last.failed,
        last.waiting_for,
        last.next_due,
    )
