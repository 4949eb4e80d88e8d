"""`kill -9`: a bulk is there as a whole or not at all; claimed work is done by the next process, inbox rows once."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import notifykit as nk
from tests.harness.databases import Opened, Place
from tests.harness.leaks import orphans

ROOT = Path(__file__).parents[2]
EVENTS = 20_000
DEATHS = 3
BULK = """
    import sys
    import notifykit as nk

    bell, wait = nk.InApp("bell", body="{{ payload.n }}"), nk.Delay("wait", hours=1)
    told = nk.Workflow("told", steps=[bell, wait, nk.Email("mail", subject="s", body="b")])
    notify = nk.Engine(sys.argv[1], workflows=[told])

    def progress(done):
        print(done, flush=True)

    events = (nk.Trigger(told, to=f"user-{n % 500}", payload={"n": n}) for n in range(EVENTS))
    notify.trigger_bulk(events, progress=progress)
    print("done", flush=True)
"""
WORKER = """
    import sys, time
    import notifykit as nk

    class Ahead:
        def __init__(self, hours): self.hours = hours
        def now(self):
            from datetime import UTC, datetime, timedelta
            return datetime.now(UTC) + timedelta(hours=self.hours)

    notify = nk.Engine(sys.argv[1], clock=Ahead(float(sys.argv[2])))
    calls = open(sys.argv[3], "a", buffering=1)

    @notify.deliver("email")
    def send(message):
        calls.write(message.idempotency_key + "\\n")
        time.sleep(0.001)

    print("ready", flush=True)
    while notify.drain().next_due is not None:
        pass
    print("done", flush=True)
"""


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own that runs a script."""
    code = textwrap.dedent(script).replace("EVENTS", str(EVENTS))
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def wait_for(calls: Path, lines: int) -> None:
    """Wait until that many calls were made."""
    end = time.monotonic() + 60
    while not calls.exists() or calls.read_text().count("\n") < lines:
        assert time.monotonic() < end, "the worker sends nothing"
        time.sleep(0.002)


def killed(process: subprocess.Popen[str]) -> list[str]:
    """Kill a process at once; what it had printed."""
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate(timeout=30)
    return out.split()


@pytest.fixture
def place(request: pytest.FixtureRequest, place_of: Opened) -> Place:
    """A database that outlives a process."""
    return place_of(request.param)


LASTING = [pytest.param(name, id=name) for name in ("file", "postgresql", "mariadb")]
QUICK = [LASTING[0], *(pytest.param(*each.values, id=each.id, marks=pytest.mark.slow) for each in LASTING[1:])]


@pytest.mark.parametrize("place", QUICK, indirect=True)
def test_a_killed_bulk_leaves_all_or_nothing(place: Place, tmp_path: Path) -> None:
    url = place.fresh(tmp_path)
    assert url is not None
    chances = random.Random(7)
    kills = 2 if place.name == "file" else 1
    for _ in range(kills):
        process = started(BULK, url)
        assert process.stdout is not None
        target = chances.randrange(EVENTS // 4, EVENTS - 2_000)
        for line in process.stdout:
            if not line.strip().isdigit() or int(line) >= target:
                break
        time.sleep(chances.random() * 0.02)
        printed = killed(process)
        assert "done" not in printed
        with nk.Engine(url) as notify:
            assert list(notify.runs.list(limit=1)) == []
            assert list(notify.subscribers.list(limit=1)) == []
    process = started(BULK, url)
    out, _ = process.communicate(timeout=120)
    assert out.split()[-2:] == [str(EVENTS), "done"]
    with nk.Engine(url) as notify, notify._runtime.database.transaction(write=False) as connection:
        assert orphans(connection) == {}
        assert connection.exec_driver_sql("SELECT count(*) FROM notifykit_run").scalar_one() == EVENTS
    if place.name == "file":
        with closing(sqlite3.connect(tmp_path / "notifykit.db")) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("place", QUICK, indirect=True)
def test_killed_workers_lose_nothing(place: Place, tmp_path: Path) -> None:
    url = place.fresh(tmp_path)
    assert url is not None
    count, calls = 400, tmp_path / "calls"
    workflow = nk.Workflow(
        "told", steps=[nk.Delay("wait", hours=1), nk.InApp("bell", body="b"), nk.Email("mail", subject="s", body="b")]
    )
    with nk.Engine(url, workflows=[workflow]) as notify:
        notify.subscribers.bulk_upsert(
            {"subscriber_id": f"user-{n}", "email": f"u{n}@example.com"} for n in range(count)
        )
        notify.trigger_bulk(nk.Trigger(workflow, to=f"user-{n}") for n in range(count))
    chances = random.Random(3)
    for death in range(DEATHS):
        process = started(WORKER, url, str(2 + death), str(calls))
        wait_for(calls, 80 * (death + 1) + chances.randrange(40))
        assert "done" not in killed(process)
    out, _ = started(WORKER, url, str(2 + DEATHS), str(calls)).communicate(timeout=120)
    assert "done" in out
    sent = Counter(calls.read_text().split())
    assert len(sent) == count
    assert max(sent.values()) <= DEATHS + 1
    with nk.Engine(url) as notify, notify._runtime.database.transaction(write=False) as connection:
        assert orphans(connection) == {}
        ask = connection.exec_driver_sql
        assert ask("SELECT count(*) FROM notifykit_message WHERE channel = 1").scalar_one() == count
        assert ask("SELECT count(*) FROM notifykit_message WHERE channel = 2 AND status = 2").scalar_one() == count
        assert ask("SELECT count(*) FROM notifykit_job").scalar_one() == 0
        runs = "SELECT DISTINCT id >> 6 AS run FROM notifykit_message WHERE channel = 1"
        assert ask(f"SELECT count(*) FROM ({runs}) AS runs").scalar_one() == count


@pytest.mark.parametrize("place", LASTING, indirect=True)
def test_two_workers_send_each_message_once(place: Place, tmp_path: Path) -> None:
    url = place.fresh(tmp_path)
    assert url is not None
    count, calls = 300, tmp_path / "calls"
    workflow = nk.Workflow("told", steps=[nk.Delay("wait", hours=1), nk.Email("mail", subject="s", body="b")])
    with nk.Engine(url, workflows=[workflow]) as notify:
        notify.subscribers.bulk_upsert(
            {"subscriber_id": f"user-{n}", "email": f"u{n}@example.com"} for n in range(count)
        )
        notify.trigger_bulk(nk.Trigger(workflow, to=f"user-{n}") for n in range(count))
    workers = [started(WORKER, url, "2", str(calls)) for _ in range(2)]
    for worker in workers:
        worker.communicate(timeout=120)
        assert worker.returncode == 0
    sent = Counter(calls.read_text().split())
    assert (len(sent), max(sent.values())) == (count, 1)
