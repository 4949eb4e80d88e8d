"""Where time comes from: nothing else in the package asks the operating system for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """A source of the present: aware, UTC. `notifykit.testing.FakeClock` is one that stands still until it is moved."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        ...


class SystemClock:
    """The clock of the operating system."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes back: for budgets such as `drain(seconds=)`, never for stored times."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Let this thread sleep: between two tries, never for what a test would want to travel over."""
    time.sleep(seconds)


def micros(moment: datetime) -> int:
    """Whole microseconds since 1970-01-01T00:00Z."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(count: int) -> datetime:
    """The aware UTC time that lies `count` microseconds after 1970-01-01T00:00Z."""
    return EPOCH + timedelta(microseconds=count)
