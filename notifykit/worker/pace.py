"""How quick the calls of an engine are, and so how many of them one claim may take."""

from __future__ import annotations

from notifykit.settings import BEGINS_WITHIN

QUICKEST = 1e-5
"""Seconds that any call takes."""


class Pace:
    """What is known of the calls so far.

    A claim takes no more than begins within a short time: a process that dies leaves the end of all it claimed unknown,
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
        """How many calls may be claimed together.

        Args:
            at_once: Calls that are made at the same time.
            most: More than that are never claimed.
        """
        quick = int(BEGINS_WITHIN / max(self.seconds, QUICKEST)) * at_once
        return max(at_once, min(quick, self.calls, most))

    def note(self, calls: int, seconds: float) -> None:
        """Take note of calls that were made, and of how long they took together."""
        if calls:
            self.calls += calls
            each = seconds / calls
            self.seconds = max(each, (self.seconds + each) / 2)
