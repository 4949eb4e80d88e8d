"""All verbs at once, from several processes with several threads each; afterwards every invariant is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import notifykit as nk
from tests.harness.databases import Opened
from tests.harness.invariants import broken, wrong_counts
from tests.queue.conftest import SHARED
from tests.queue.soak import DOCUMENTED, PEOPLE, THREADS, TOPIC, Ahead, named, opened

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("NOTIFYKIT_TEST_SOAK_SECONDS", "60"))
PROCESSES = 4
TABLES = ("event", "run", "message", "delivery_attempt", "job")


@contextmanager
def processes(url: str, folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that begin together; killed if anything goes wrong here."""
    command = [sys.executable, "-m", "tests.queue.soak", url, str(SECONDS)]
    started = [
        subprocess.Popen(
            [*command, str(number), str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(PROCESSES)
    ]
    try:
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        yield started
    finally:
        for each in started:
            each.kill()
            each.communicate()


def told(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """What the processes did, and the errors that they met."""
    done, errors = Counter[str](), Counter[str]()
    for path in folder.glob("*.json"):
        found = json.loads(path.read_text())
        done.update(found["done"])
        errors.update(found["errors"])
    return done, errors


def called(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """How many calls began for each message, and how many were sent."""
    begun, sent = Counter[str](), Counter[str]()
    for path in folder.glob("*.calls"):
        for line in path.read_text().splitlines():
            key, what = line.split()
            begun[key] += what == "begins"
            sent[key] += what == "sent"
    return begun, sent


def settle(notify: nk.Engine, clock: Ahead) -> Counter[str]:
    """Do everything, with the clock as far ahead as is needed; the errors that were met."""
    errors = Counter[str]()
    end, due = clock.by + timedelta(days=10), clock.now()
    while due is not None and clock.by < end and errors.total() < 5:
        clock.by += max(due - clock.now(), timedelta())
        try:
            due = notify.drain().next_due
        except Exception as error:
            errors[f"settling: {named(error)}"] += 1
    return errors


@pytest.mark.slow
@pytest.mark.orphaned
@pytest.mark.parametrize("name", SHARED)
def test_all_verbs_at_once(name: str, place_of: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, clock = place_of(name), Ahead()  # type: ignore[arg-type]
    url = place.fresh(tmp_path)
    assert url is not None
    plain = place.plain or sa.create_engine(url, poolclass=sa.NullPool)
    with opened(url, tmp_path, "last", clock=clock, fails=False) as notify:
        notify.subscribers.bulk_upsert({"subscriber_id": who, "email": "someone@example.com"} for who in PEOPLE)
        notify.topics.add(TOPIC, PEOPLE)
        with processes(url, tmp_path) as started:
            began = time.monotonic()
            for each in started:
                assert each.stdin is not None
                print("go", file=each.stdin, flush=True)
            assert [each.wait(timeout=SECONDS * 2 + 60) for each in started] == [0] * PROCESSES
        took = time.monotonic() - began
        done, errors = told(tmp_path)
        left = count(plain)
        errors += settle(notify, clock)
        begun, sent = called(tmp_path)
        with plain.connect() as connection:
            wrong = broken(connection, settled=True)
        unread = wrong_counts(notify, PEOPLE)
        rows = count(plain)
    twice = {key: times for key, times in sent.items() if times > 1}
    strange = {what: times for what, times in errors.items() if what not in DOCUMENTED}
    figures = {
        "seconds": round(took),
        "verbs": dict(done.most_common()),
        "errors": errors.total(),
        "errors that are not documented": strange,
        "calls": f"{begun.total()} begun, {sent.total()} sent",
        "rows before it settled": left,
        "rows": rows,
        "broken": wrong,
        "unread counts that differ": unread,
        "sent twice": twice,
    }
    with capsys.disabled():
        print(f"\n{name}: {PROCESSES} processes of {THREADS} threads")
        for what, figure in figures.items():
            print(f"  {what}: {figure}")
    assert (strange, wrong, unread, twice) == ({}, {}, {}, {})
    assert rows["job"] == 0
    assert rows["delivery_attempt"] == begun.total()


def count(engine: sa.Engine) -> dict[str, int]:
    """How many rows there are."""
    with engine.connect() as connection:
        ask = connection.exec_driver_sql
        return {each: ask(f"SELECT count(*) FROM notifykit_{each}").scalar_one() for each in TABLES}
