"""The async notifier against the sync one, and how long it holds the loop."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path

import notifykit as nk
from tests.benchmarks.rounds import Ratio, Work, measured, ratio
from tests.benchmarks.subject import WORKFLOWS, engine_on, wires
from tests.benchmarks.triggering import checked

TICK = 0.001


def notifiers(folder: Path, *, events: int, rounds: int) -> Iterator[Ratio | str]:
    """A bulk on a SQLite file through either notifier."""
    path, people = folder / "notifiers.db", 10_000
    triggers = wires(events, people)
    busy: list[float] = []
    idle: list[float] = []
    with engine_on(path, people, topic=False) as notify, asyncio.Runner() as runner:
        awaited = nk.AsyncEngine(f"sqlite:///{path}", workflows=WORKFLOWS)

        async def worst_lag(done: asyncio.Event) -> float:
            worst = 0.0
            while not done.is_set():
                start = time.perf_counter()
                await asyncio.sleep(TICK)
                worst = max(worst, time.perf_counter() - start - TICK)
            return worst

        async def beside(work: Awaitable[object], lags: list[float]) -> None:
            done = asyncio.Event()
            watch = asyncio.create_task(worst_lag(done))
            await work
            done.set()
            lags.append(await watch)

        async def told() -> None:
            checked(await awaited.trigger_bulk(triggers), events)

        works = [
            Work("sync", events, lambda: checked(notify.trigger_bulk(triggers), events)),
            Work("async", events, lambda: runner.run(beside(told(), busy))),
        ]
        taken = measured(works, [path], rounds)
        for _ in range(rounds):
            runner.run(beside(asyncio.sleep(statistics.median(taken["async"]) * events), idle))
        runner.run(awaited.close())
    yield ratio(
        f"async notifier, bulk of {events:,} on a SQLite file, against the sync notifier",
        "<= 1.5",
        taken,
        "async",
        "sync",
    )
    for what, lags in (("that bulk", busy), ("nothing at all", idle)):
        row = f"loop lag during {what}, the worst of a round: median, worst"
        yield f"{row:<72} {statistics.median(lags) * 1000:.1f} ms, {max(lags) * 1000:.1f} ms   <= 20 ms"
