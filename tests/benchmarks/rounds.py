"""Interleaved rounds: every piece of work once a round, in another order, so that a slow minute hits all of them."""

from __future__ import annotations

import gc
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Work:
    """Something to measure.

    Attributes:
        units: Events, messages or calls in one go: times are told for one of them.
        go: What is measured.
        before: What is not.
    """

    name: str
    units: int
    go: Callable[[], object]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Ratio:
    """One line of the report: a piece of work against another."""

    row: str
    now: str
    ratio: float
    low: float
    high: float
    micros: float

    def __str__(self) -> str:
        """A line under `HEADER`."""
        found = f"{self.ratio:>6.2f} x  {self.low:>6.2f}..{self.high:<6.2f} {self.micros:>10.2f} us"
        return f"{self.row:<72} {found}  {self.now}"


HEADER = f"{'work, against':<72} {'median':>8}  {'of the rounds':>14} {'a unit':>11}     to reach now"


def measured(works: Sequence[Work], files: Iterable[Path], rounds: int, warm: bool = True) -> dict[str, list[float]]:
    """Seconds a unit of each piece of work in each round, the first round left out as warm-up.

    Args:
        works: What to measure.
        files: Databases whose logs are moved into their files before each piece of work.
        rounds: How often.
        warm: Whether there is a first round that does not count.
    """
    files = list(files)
    gc.collect()
    gc.freeze()  # what the benchmark itself keeps in memory is nothing that a collector should walk through each time
    taken: dict[str, list[float]] = {work.name: [] for work in works}
    for at in range(rounds + warm):
        for work in random.Random(at).sample(list(works), len(works)):
            work.before()
            for file in files:
                checkpoint(file)
            gc.collect()
            start = time.perf_counter()
            work.go()
            spent = (time.perf_counter() - start) / work.units
            if at >= warm:
                taken[work.name].append(spent)
    gc.unfreeze()
    return taken


def ratio(row: str, now: str, taken: dict[str, list[float]], ours: str, theirs: str) -> Ratio:
    """The median of ours over the median of theirs, and the extremes of the rounds."""
    paired = sorted(a / b for a, b in zip(taken[ours], taken[theirs], strict=True))
    median = statistics.median(taken[ours])
    return Ratio(row, now, median / statistics.median(taken[theirs]), paired[0], paired[-1], median * 1e6)


def checkpoint(file: Path) -> None:
    """Move a database's log into its file, so that no round pays for the one before."""
    db = sqlite3.connect(file)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
