"""Extra memory of large triggers, each in a process of its own: `python -m tests.benchmarks.memory NAME FILE SIZE`."""

from __future__ import annotations

import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import notifykit as nk
from tests.benchmarks.subject import WORKFLOWS, Comment, commented, engine_on, payload, shared

PEOPLE = 10_000
TENTHS = 10


def topic(notify: nk.Engine, size: int, workflow: nk.Workflow[Comment, ...] = commented) -> None:
    """One event to a topic of everybody."""
    assert notify.trigger(workflow, to=nk.Topic("all"), payload=Comment(**payload())).recipients == size


def same(notify: nk.Engine, size: int) -> None:
    """The same with one text for all."""
    topic(notify, size, shared)


def million(notify: nk.Engine, size: int) -> dict[str, Any]:
    """Events from a generator in one transaction: the processor's seconds of each tenth, bytes kept an event."""
    marks = [time.process_time()]

    def events() -> Iterator[nk.Trigger]:
        for n in range(size):
            if n and n % (size // TENTHS) == 0:
                marks.append(time.process_time())
            yield commented(**payload(n)).to(f"user-{n % PEOPLE}")

    before = resident()
    found = notify.trigger_bulk(events())
    marks.append(time.process_time())
    assert found.counts == {"processed": size}
    gc.collect()
    tenths = [later - earlier for earlier, later in itertools.pairwise(marks)]
    kept = sum(map(sys.getsizeof, (value for value in vars(found).values() if hasattr(value, "__sizeof__"))))
    return {"tenths": tenths, "kept": kept / size, "left": resident() - before}


WORK: dict[str, Callable[[nk.Engine, int], Any]] = {"topic": topic, "same": same, "million": million}


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def peak() -> int:
    """The most bytes this process had in memory since the mark was reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def fill(path: Path, people: int) -> None:
    """Make the people; in a process of its own, whose freed memory would hide what a trigger takes."""
    engine_on(path, people).close()


def measure(name: str, path: Path, size: int) -> dict[str, Any]:
    """Do one piece of work in this process and tell what it took."""
    with nk.Engine(f"sqlite:///{path}", workflows=WORKFLOWS) as notify:
        for workflow in (commented, shared):
            notify.trigger(workflow, to=[f"user-{n}" for n in range(10)], payload=Comment(**payload()))
        gc.collect()
        before = resident()
        Path("/proc/self/clear_refs").write_text("5")
        start = time.perf_counter()
        found = WORK[name](notify, size)
        taken = time.perf_counter() - start
        return {"growth": peak() - before, "seconds": taken, **(found or {})}


def main(name: str, path: Path, size: int) -> None:
    """Measure one piece of work, or make what it needs; prints JSON."""
    if name == "fill":
        fill(path, size)
    else:
        print(json.dumps(measure(name, path, size)))


def in_children(name: str, people: int, size: int) -> dict[str, Any]:
    """Make the people in one new process and measure the work in another."""
    with tempfile.TemporaryDirectory(prefix="notifykit-benchmark-") as folder:
        for part, amount in (("fill", people), (name, size)):
            command = [sys.executable, "-m", "tests.benchmarks.memory", part, f"{folder}/memory.db", str(amount)]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found: dict[str, Any] = json.loads(out)
        return found


def growth(*, members: int) -> Iterator[str]:
    """Extra memory of a fan-out."""
    for name, what in (("topic", "text names the subscriber"), ("same", "text the same for all")):
        found = in_children(name, members, members)
        row = f"extra memory, one event to a topic of {members:,}, {what}"
        yield f"{row:<72} {found['growth'] / 1e6:6.1f} MB   <= 20 MB"


def generated(*, events: int) -> Iterator[str]:
    """A very long bulk from a generator."""
    found = in_children("million", PEOPLE, events)
    tenths = found["tenths"]
    row = f"{events:,} events from a generator, one transaction"
    early, late = statistics.median(tenths[1:4]), statistics.median(tenths[-3:])
    yield f"{f'{row}: rate of the last tenths against the first':<72} {early / late:6.2f} x   flat"
    yield f"{f'{row}: extra memory at the peak':<72} {found['growth'] / 1e6:6.1f} MB   + 40 bytes an event"
    yield f"{f'{row}: kept for an event':<72} {found['kept']:6.1f} bytes   <= 40"
    yield f"{f'{row}: rate':<72} {events / found['seconds']:6,.0f} /s"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
