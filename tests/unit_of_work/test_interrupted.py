"""Exceptions from signal handlers: Ctrl-C, Celery's soft limits, timeouts. They arrive between any two steps."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

import notifykit as nk
from tests.harness import databases, leaks
from tests.harness.interrupts import Interrupter

pytestmark = [  # of connections that were lost, and of finalizers that were interrupted
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
OURS = ("notifykit/store/", "notifykit/unit_of_work/")
THEIRS = ("sqlalchemy/",)
hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello")])
Call = Callable[[nk.Engine, str], object]


class SoftLimit(Exception):
    """Celery's is an exception as others are."""


def trigger(notify: nk.Engine, name: str) -> object:
    return notify.trigger("hello", to="ada", transaction_id=name)


def block(notify: nk.Engine, name: str) -> object:
    with notify.transaction() as notifier:
        return notifier.trigger("hello", to="ada", transaction_id=name)


def read(notify: nk.Engine, name: str) -> object:
    return notify.inbox("ada").list()


class Interrupted:
    """An engine whose calls are interrupted at one step after the other, and used after each."""

    def __init__(self, notify: nk.Engine, path: Path | None, *, keep: bool) -> None:
        self.notify = notify
        self.path = path
        self.keep = keep
        self.kept: BaseException | None = None
        self.stored: list[str] = []
        trigger(notify, "first")

    def each(self, call: Call, parts: tuple[str, ...], *, every: int = 1, opcodes: bool = False) -> int:
        """Interrupt a call at its steps until it comes to its end; how many there were."""
        for number in range(0, 10**6, every):
            name = f"{call.__name__}-{number}"
            error = self._interrupted(call, name, parts, number, opcodes)
            if error is None:
                return number
            where, self.kept = error.args[0], error if self.keep else None
            del error
            self._look(where, number, name)
        raise AssertionError

    def _interrupted(
        self, call: Call, name: str, parts: tuple[str, ...], step: int, opcodes: bool
    ) -> BaseException | None:
        with Interrupter(step, parts, opcodes=opcodes, kind=KeyboardInterrupt) as interrupter:
            try:
                call(self.notify, name)
            except KeyboardInterrupt as error:
                return error
        assert interrupter.at is None, f"somebody kept the interruption for himself at {interrupter.at}"
        return None

    def _look(self, where: str, number: int, name: str) -> None:
        if self.path is not None and not self.keep:  # another process does not wait for our next call
            with closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
        if number % 2:
            self._in_a_thread(where)
        self.notify.subscribers.upsert("bob")
        runtime = self.notify._runtime
        assert not runtime.inside, where
        assert runtime.database._writer_lock.holder is None, where

    def _in_a_thread(self, where: str) -> None:
        done: list[object] = []
        thread = threading.Thread(target=lambda: done.append(self.notify.subscribers.upsert("eve")), daemon=True)
        thread.start()
        thread.join(10)
        assert done, f"another thread waits after an interruption at {where}"


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """What interruptions left to the garbage collector is collected here, not in the test of somebody else."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """A lost connection is garbage, which nobody tells the pool's listeners; rows are looked at as everywhere."""
    with nullcontext() if request.node.get_closest_marker("orphaned") else leaks.rows_watched():
        yield


@pytest.fixture(params=["memory", "file", "postgresql", "mariadb"])
def place(request: pytest.FixtureRequest, place_of: databases.Opened) -> databases.Place:
    return place_of(request.param)


@pytest.fixture
def interrupted(place: databases.Place, tmp_path: Path) -> Iterator[Callable[[bool], Interrupted]]:
    """Opens the engine."""
    url = place.fresh(tmp_path)
    path = tmp_path / "notifykit.db" if place.name == "file" else None
    with nk.Engine(url, workflows=[hello]) as notify:
        yield lambda keep: Interrupted(notify, path, keep=keep)


@pytest.mark.parametrize("keep", [False, True], ids=["dropped", "kept"])
@pytest.mark.parametrize("call", [trigger, block, read])
def test_wherever_a_call_is_interrupted_the_engine_goes_on(
    interrupted: Callable[[bool], Interrupted], call: Call, keep: bool
) -> None:
    """Kept tracebacks, as notebooks keep the last one, keep everything alive that the call had in its hands."""
    assert interrupted(keep).each(call, OURS, every=1 if call is block else 2) > 150


@pytest.mark.parametrize("place", ["memory", "file"], indirect=True)
@pytest.mark.parametrize("keep", [False, True], ids=["dropped", "kept"])
def test_also_inside_sqlalchemy(interrupted: Callable[[bool], Interrupted], keep: bool) -> None:
    assert interrupted(keep).each(trigger, THEIRS, every=3) > 500


@pytest.mark.slow
@pytest.mark.parametrize("call", [trigger, block])
def test_at_every_bytecode(interrupted: Callable[[bool], Interrupted], call: Call) -> None:
    assert interrupted(True).each(call, OURS, opcodes=True) > 2000


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True], ids=["dropped", "kept"])
def test_at_every_line_of_sqlalchemy(interrupted: Callable[[bool], Interrupted], keep: bool) -> None:
    assert interrupted(keep).each(block, THEIRS) > 500


@pytest.mark.parametrize("parts", [OURS, THEIRS], ids=["ours", "theirs"])
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_tables_that_were_being_made_are_made_by_the_next_call(
    kind: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    every, number = (29, 0) if parts is OURS else (2503, 0)
    while True:
        url = None if kind == "memory" else f"sqlite:///{tmp_path / f'{number}.db'}"
        with nk.Engine(url, workflows=[hello]) as notify:
            interrupter = Interrupter(number, parts, kind=KeyboardInterrupt)
            try:
                with interrupter:
                    notify.trigger("hello", to="ada")
            except KeyboardInterrupt:
                notify.trigger("hello", to="ada")
            assert len(notify.runs.list()) in {1, 2}
        if interrupter.at is None:
            break
        number += every
    assert number > 5 * every


@pytest.mark.orphaned  # the host of this test commits what an interrupted verb left
@pytest.mark.parametrize("place", ["memory", "file"], indirect=True)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_a_block_that_goes_on_after_an_interruption_can_be_committed(
    place: databases.Place, tmp_path: Path, kind: type[BaseException]
) -> None:
    with nk.Engine(place.fresh(tmp_path), workflows=[hello]) as notify:
        notify.trigger("hello", to="ada")
        for number in range(0, 10**6, 3):
            with notify.transaction() as notifier:
                interrupter = Interrupter(number, OURS, kind=kind)
                try:
                    with interrupter:
                        notifier.trigger("hello", to="ada")
                except kind as error:
                    kept = error
                notifier.subscribers.upsert(f"after-{number}")
            notify.subscribers.get(f"after-{number}")
            if interrupter.at is None:
                break
        assert number > 90
        assert kept.__traceback__ is not None


@pytest.mark.parametrize("parts", [OURS, THEIRS], ids=["ours", "theirs"])
def test_an_interruption_of_the_first_look_inside_a_hosts_transaction_stays_one(
    parts: tuple[str, ...], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"
    with nk.Engine(url) as engine:
        engine.migrate()
    database = sa.create_engine(url)
    every, number = (7, 0) if parts is OURS else (83, 0)
    while True:
        with nk.Engine(url, workflows=[hello]) as notify, Session(database) as session:
            interrupter = Interrupter(number, parts, kind=KeyboardInterrupt)
            try:
                with interrupter:
                    notify.trigger("hello", to="ada", session=session)
            except KeyboardInterrupt:
                pass
            else:
                assert interrupter.at is None
                break
        number += every
    assert number > 5 * every
    database.dispose()


async def awaited_block(notify: nk.AsyncEngine) -> None:
    async with notify.transaction() as notifier:
        await notifier.trigger("hello", to="ada")


async def awaited_trigger(notify: nk.AsyncEngine) -> None:
    await notify.trigger("hello", to="ada")


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize(("call", "keep"), [(awaited_trigger, False), (awaited_trigger, True), (awaited_block, False)])
def test_so_does_the_awaited_notifier(call: Callable[..., Any], keep: bool, kind: str, tmp_path: Path) -> None:
    """An exception that arrives while a task runs; the next task neither fails nor waits for long."""
    notify = nk.AsyncEngine(None if kind == "memory" else f"sqlite:///{tmp_path / 'app.db'}", workflows=[hello])
    kept: BaseException | None = None
    with asyncio.Runner() as runner:
        runner.run(awaited_trigger(notify))
        for number in range(0, 10**6, 2 if call is awaited_trigger else 3):
            interrupter = Interrupter(number, OURS, kind=SoftLimit)
            try:
                with interrupter:
                    runner.run(call(notify))
            except SoftLimit as error:
                kept = error if keep else None
            if interrupter.at is None:
                break
            runner.run(notify.subscribers.upsert("bob"))
        runner.run(notify.close())
    assert number > 150
    assert bool(kept) is keep


class Storm:
    """Calls that are interrupted by a timer, at moments that a seed decides."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.is_armed = False
        self.hits = 0

    def __enter__(self) -> Storm:
        self.before = signal.signal(signal.SIGALRM, self._rings)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)

    def over(self, call: Callable[[], object], kind: type[BaseException], longest: float) -> BaseException | None:
        """Interrupt one call, or not."""
        self.kind = kind
        try:
            self.is_armed = True
            signal.setitimer(signal.ITIMER_REAL, self.random.uniform(2e-5, longest))
            call()
            self.is_armed = False
        except (kind, nk.StorageError) as error:
            self.is_armed = False
            return error
        return None

    def _rings(self, number: int, frame: Any) -> None:
        if self.is_armed:
            self.is_armed = False
            self.hits += 1
            raise self.kind


def stormed(notify: nk.Engine, times: int) -> None:
    kept = None
    trigger(notify, "first")
    began = monotonic()
    trigger(notify, "second")
    longest = 2 * (monotonic() - began)  # so that about half of the calls are hit
    with Storm(times) as storm:
        for number in range(times):
            call = (trigger, block)[number % 2]
            kind = (KeyboardInterrupt, SoftLimit)[number % 3 == 0]
            kept = storm.over(lambda number=number, call=call: call(notify, f"t{number}"), kind, longest) or kept  # type: ignore[misc]
    assert kept is not None
    assert storm.hits
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(notify.subscribers.upsert("eve")))
    thread.start()
    thread.join(20)
    assert done
    for number in range(times):  # each is there once, or was not there and is now
        assert trigger(notify, f"t{number}")
    assert notify._runtime.inside == {}
    assert len({run.transaction_id for run in notify.runs.list(limit=100)}) == len(notify.runs.list(limit=100))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
@pytest.mark.parametrize("times", [150, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_storm_of_signals(place: databases.Place, tmp_path: Path, times: int) -> None:
    with nk.Engine(place.fresh(tmp_path), workflows=[hello]) as notify:
        stormed(notify, times)
