"""What work and stopping it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from notifykit.model.values import Value


@dataclass(frozen=True, eq=False, repr=False)
class DrainReport(Value):
    """What one drain did.

    Attributes:
        advanced: Runs that went on.
        sent: Messages sent.
        failed: Messages given up.
        waiting_for: What jobs wait for and how many, such as `{"email: no provider": 12}`.
        next_due: When the next job is due, or None.
    """

    advanced: int = 0
    sent: int = 0
    failed: int = 0
    waiting_for: Mapping[str, int] = field(default_factory=dict)
    next_due: datetime | None = None


@dataclass(frozen=True, eq=False, repr=False)
class CancelReport(Value):
    """What `cancel` stopped (runs that waited and messages not yet claimed), and what it could not.

    True where anything was stopped.
    """

    stopped: int
    sent: int
    in_flight: int

    def __bool__(self) -> bool:
        """Whether anything was stopped."""
        return self.stopped > 0
