"""The async door against the sync one, and how long it holds the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import notifykit as nk
from tests.benchmarks.rounds import Ratio, Work, measured, ratio
from tests.benchmarks.subject import WORKFLOWS, engine_on, wires
from tests.benchmarks.triggering import checked

TICK = 0.001


def doors(folder: Path, *, events: int, rounds: int) -> Iterator[Ratio | str]:
    """A bulk on a SQLite file through either door."""
    path, people = folder / "doors.db", 10_000
    triggers = wires(events, people)
    lags: list[float] = []
    with engine_on(path, people, topic=False) as notify, asyncio.Runner() as runner:
        awaited = nk.AsyncEngine(f"sqlite:///{path}", workflows=WORKFLOWS)

        async def ticking(done: asyncio.Event) -> float:
            worst = 0.0
            while not done.is_set():
                start = time.perf_counter()
                await asyncio.sleep(TICK)
                worst = max(worst, time.perf_counter() - start - TICK)
            return worst

        async def go() -> None:
            done = asyncio.Event()
            watch = asyncio.create_task(ticking(done))
            await asyncio.sleep(0)
            checked(await awaited.trigger_bulk(triggers), events)
            done.set()
            lags.append(await watch)

        works = [
            Work("sync", events, lambda: checked(notify.trigger_bulk(triggers), events)),
            Work("async", events, lambda: runner.run(go())),
        ]
        taken = measured(works, [path], rounds)
        runner.run(awaited.close())
    yield ratio(
        f"async door, bulk of {events:,} on a SQLite file, against the sync door", "<= 1.5", taken, "async", "sync"
    )
    lags.sort()
    middle, worst = lags[len(lags) // 2] * 1000, lags[-1] * 1000
    row = "loop lag during that bulk, worst of a round: median, worst"
    yield f"{row:<72} {middle:.1f} ms, {worst:.1f} ms   <= 20 ms"
