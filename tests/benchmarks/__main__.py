"""Prints every figure of the benchmark: `python -m tests.benchmarks [--long] [--only bulk topic ...]`."""

from __future__ import annotations

import argparse
import platform
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.benchmarks import awaiting, importing, memory, reading, triggering, waiting
from tests.benchmarks.rounds import HEADER, Ratio

Figures = Iterable[Ratio | str]
PARTS = ("import", "bulk", "topic", "single", "memory", "inbox", "due", "delivery", "notifiers", "million")


def parts(folder: Path, args: argparse.Namespace) -> dict[str, Callable[[], Figures]]:
    """Every part of the benchmark, by name, not yet run."""
    rounds, events, members, large = args.rounds, args.events, args.topic, args.large
    found: dict[str, Callable[[], Figures]] = {
        "import": lambda: importing.cost(rounds=rounds),
        "bulk": lambda: triggering.bulk(folder, events=events, rounds=rounds),
        "topic": lambda: triggering.topic(folder, members=members, rounds=rounds),
        "single": lambda: triggering.single(folder, rounds=rounds),
        "memory": lambda: memory.growth(members=members),
        "inbox": lambda: reading.inbox(folder, messages=large, rounds=rounds),
        "due": lambda: waiting.due(folder, pending=large, rounds=rounds),
        "delivery": lambda: waiting.delivery(folder, events=events, rounds=rounds),
        "notifiers": lambda: awaiting.notifiers(folder, events=events * 5, rounds=min(rounds, 3)),
    }
    if args.long or (args.only and "million" in args.only):
        found["million"] = lambda: memory.generated(events=args.large)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts and print their figures as they come."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000, help="events of a bulk")
    parser.add_argument("--topic", type=int, default=100_000, help="members of the topic")
    parser.add_argument("--large", type=int, default=1_000_000, help="rows of what is large")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", action="store_true", help="also the million events from a generator")
    parser.add_argument("--only", nargs="+", help=f"names of parts: {' '.join(PARTS)}")
    args = parser.parse_args(arguments)
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}\n{HEADER}",
        flush=True,
    )
    for name in args.only or parts(Path(), args):
        with tempfile.TemporaryDirectory(prefix="notifykit-benchmark-") as folder:
            for figure in parts(Path(folder), args)[name]():
                print(figure, flush=True)


if __name__ == "__main__":
    main()
