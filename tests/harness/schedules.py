"""Schedules: who goes on for how many points, one after the other."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import comb

Schedule = Sequence[tuple[str, int | None]]
"""Who goes on for how many points, one after the other; None is to the end. What is left then goes on in order."""


def every(counts: Mapping[str, int]) -> Iterator[Schedule]:
    """Every order of the points of two actors."""
    (first, n), (second, m) = counts.items()
    for places in combinations(range(n + m), n):
        chosen = set(places)
        yield [(first if at in chosen else second, 1) for at in range(n + m)]


def cutting(first: str, second: str, count: int) -> Iterator[Schedule]:
    """The second runs completely between two points of the first: the most productive family."""
    for at in range(count + 1):
        yield [(first, at), (second, None), (first, None)]


def crossing(counts: Mapping[str, int]) -> Iterator[Schedule]:
    """Each of two actors is stopped once: one goes some points, the other goes some, then they end in that order."""
    (a, n), (b, m) = counts.items()
    for first, others, second, those in ((a, n, b, m), (b, m, a, n)):
        for at in range(1, others):
            for then in range(1, those):
                yield [(first, at), (second, then), (first, None), (second, None)]


def schedules(counts: Mapping[str, int], limit: int, seed: int = 1) -> list[Schedule]:
    """Schedules for two actors.

    Args:
        counts: How many points each actor comes to when it is alone.
        limit: How many at most: all there are; else both families of `cutting`, the first one closer, and a sample of
            `crossing`.
        seed: Of the sample.
    """
    (first, n), (second, m) = counts.items()
    if comb(n + m, n) <= limit:
        return list(every(counts))
    cut = list(cutting(first, second, n))
    cut_back = list(cutting(second, first, m))
    some = _spread(cut_back, max(limit // 4, limit - len(cut)))
    chosen = [*_spread(cut, limit - len(some)), *some]
    crossed, room = list(crossing(counts)), limit - len(chosen)
    return [*chosen, *random.Random(seed).sample(crossed, min(room, len(crossed)))]


def _spread(these: list[Schedule], count: int) -> list[Schedule]:
    """That many of them, as far apart from each other as possible."""
    if count >= len(these):
        return these
    return [these[at * len(these) // count] for at in range(count)]
