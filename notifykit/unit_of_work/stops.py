"""Whom this process has stopped: asked by drains that are about to make calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from itertools import count
from typing import NamedTuple

KEPT = 256
"""How many times of stopping are remembered: a claim asks about those since it was made."""
NAMED = 100
"""Beyond that many at once, everybody counts as stopped: the next claim looks who really is."""


class Stop(NamedTuple):
    """One time that somebody was stopped."""

    number: int
    runs: Collection[int]
    subscribers: Collection[int]
    is_named: bool

    def hits(self, run: int, subscriber: int) -> bool:
        """Whether it concerns a run or its subscriber."""
        return not self.is_named or run in self.runs or subscriber in self.subscribers


class Stops:
    """Keeps cancellations, deletions and opt-outs once they are committed.

    A claim reads what was committed before it; what is stopped after that, and before a call begins, is found here.
    Without a lock, which a fork could leave held: whoever adds a stop has committed before it takes its number.
    """

    def __init__(self) -> None:
        """Nobody was stopped yet."""
        self._numbers = count(1)
        self._stops: deque[Stop] = deque(maxlen=KEPT)

    @property
    def last(self) -> int:
        """The number of the last time that anybody was stopped."""
        stops = list(self._stops)
        return max((each.number for each in stops), default=0)

    def add(self, runs: Collection[int], subscribers: Collection[int]) -> None:
        """Runs or subscribers were stopped, given by the ids of their rows."""
        is_named = len(runs) + len(subscribers) <= NAMED
        named = (runs, subscribers) if is_named else ((), ())
        self._stops.append(Stop(next(self._numbers), *named, is_named))

    def allows(self, run: int, subscriber: int, since: int) -> bool:
        """Whether neither a run nor its subscriber was stopped.

        Args:
            run: The run.
            subscriber: Whom it is for.
            since: What `last` was when that was looked up.
        """
        stops = list(self._stops)
        if len(stops) == KEPT and stops[0].number > since + 1:
            return False
        return not any(each.number > since and each.hits(run, subscriber) for each in reversed(stops))
