"""How quick the calls of an engine are, and so how many of them one claim may take."""

from __future__ import annotations

from notifykit.settings import SHORTEST_CALL, STARTS_WITHIN


class ClaimSizer:
    """Sizes claims by how long the calls so far took.

    A claim takes no more than starts within a short time: a process that dies leaves the end of all it claimed unknown,
    and who opts out meanwhile is called all the same.

    Attributes:
        calls: How many were made.
        seconds: How long one takes, the latest counting most.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.calls = 0
        self.seconds = 0.0

    def limit(self, at_once: int, most: int) -> int:
        """How many calls may be claimed together: at first no more than were made before.

        Args:
            at_once: Calls that are made at the same time.
            most: More than that are never claimed.
        """
        in_time = int(STARTS_WITHIN / max(self.seconds, SHORTEST_CALL)) * at_once
        return max(at_once, min(in_time, self.calls, most))

    def record(self, calls: int, seconds: float) -> None:
        """Learn from calls that were made.

        Args:
            calls: How many.
            seconds: How long they took together. Slower ones count at once, quicker ones by half.
        """
        if calls:
            self.calls += calls
            each = seconds / calls
            self.seconds = max(each, (self.seconds + each) / 2)
