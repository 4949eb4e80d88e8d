"""A small world for the queue: workers on one database, one clock, and hooks that keep what they are called with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import notifykit as nk
from notifykit.ids import decode_id
from notifykit.model import metadata
from notifykit.testing import FakeClock
from tests.harness.databases import Name, Place
from tests.harness.interleaving import Locks
from tests.harness.invariants import broken
from tests.harness.points import point, standing

job = metadata.tables["notifykit_job"]
CHANNELS: tuple[Any, ...] = ("email", "sms")
Hook = Callable[[Any], Any]
SCENES = 30
"""Scenes on one database: what looks at all of its rows gets slower with each."""


@dataclass(frozen=True)
class Returned:
    """What was true at the instant at which a verb returned.

    Attributes:
        answer: What it answered.
        claimed: The messages whose jobs were claimed.
        calls: How many calls had begun.
    """

    answer: Any
    claimed: set[int]
    calls: int


class World:
    """One database and whoever works on it.

    Attributes:
        entered: The messages of calls for which a hook was entered, in order.
        calls: The same once the call goes out: an actor may be stopped in between.
        returned: How verbs ended that were `noted`, by actor.
        begins: Told of each call when its hook is entered.
        answer: What hooks do once their call has gone out; may raise.
    """

    def __init__(self, place: Place, folder: Path, workflows: tuple[nk.Workflow[Any, ...], ...]) -> None:
        self.place = place
        self.name: Name = place.name
        self.clock = FakeClock()
        self.workflows = workflows
        self.entered: list[int] = []
        self.calls: list[int] = []
        self.returned: dict[str, Returned] = {}
        self.begins: Callable[[int], None] = lambda row: None
        self.answer: Hook = lambda message: None
        self.dirty = False
        self._folder = folder
        self._number = self._scenes = 0
        self._workers: dict[str, nk.Engine] = {}
        self._plain: sa.Engine | None = None
        self._url = ""

    def set(self, *workers: str) -> None:
        """Be ready for the next scene with some workers: on an empty database if the last one left something behind."""
        self.forget()
        self.begins, self.answer = lambda row: None, lambda message: None
        self._scenes += 1
        if self.dirty or self._scenes >= SCENES or not self._url:
            self.close()
            self._url = self._fresh()
            self._plain = sa.create_engine(self._url) if self.name == "file" else self.place.plain
            self.dirty, self._scenes = False, 0
        self._number += 1
        for name in ("setup", *workers):
            self.worker(name)  # a warm one only does what it is asked

    def forget(self) -> None:
        """Forget what has been called so far."""
        for kept in (self.entered, self.calls, self.returned):
            kept.clear()

    def unique(self, name: str) -> str:
        """An id that no scene before this had."""
        return f"{name}-{self._number}"

    def worker(self, name: str) -> nk.Engine:
        """The engine of a worker, as if it were a process of its own."""
        if name not in self._workers:
            engine = self._workers[name] = nk.Engine(self._url, clock=self.clock, workflows=self.workflows)
            for channel in CHANNELS:
                engine.deliver(channel)(self._hook(name))
            engine.runs.list(limit=1)
        return self._workers[name]

    def bury(self, name: str) -> None:
        """Forget a worker whose process has died; the next of this name is another process."""
        self._workers.pop(name).close()

    def locks(self) -> Locks:
        """Who tells whether a connection waits."""
        return Locks(None if self.name == "file" else self.place.plain)

    @contextmanager
    def looking(self) -> Iterator[sa.Connection]:
        """A connection that is none of the workers'."""
        assert self._plain is not None
        with self._plain.connect() as connection:
            yield connection

    def claimed(self, by: nk.Engine | None = None) -> set[int]:
        """The messages whose jobs are claimed, or are being claimed in a transaction that is open.

        Args:
            by: Claimed by this worker only.
        """
        ask = sa.select(job.c.message, job.c.owner)
        with self.looking() as connection:
            jobs = {message for message, _ in connection.execute(ask)}
            unlocked = ask.with_for_update(skip_locked=True)  # on SQLite, whose writers are alone, these are all
            owner = "" if by is None else by._runtime.owner
            free = {
                message for message, whose in connection.execute(unlocked) if not whose or not whose.startswith(owner)
            }
        return jobs - free

    def settle(self, name: str = "setup", days: float = 1) -> None:
        """Move the clock far ahead, stopping wherever work is due, until nothing is left to do."""
        engine = self.worker(name)
        end = self.clock.after(days=days)
        due = engine.drain().next_due
        while due is not None and due <= end:
            self.clock.move_to(max(due, self.clock.now()))
            due = engine.drain().next_due
        self.clock.move_to(end)

    def check(self, *, settled: bool = False) -> None:
        """Every invariant holds."""
        with self.looking() as connection:
            found = broken(connection, settled=settled)
        assert not found, f"{'settled: ' if settled else ''}{found}"

    def noted(self, name: str, verb: Callable[[], Any]) -> Callable[[], Any]:
        """A verb after which is noted what is true then; every invariant is."""

        def work() -> Any:
            answer = verb()
            with standing(None):
                self.check()
                self.returned[name] = Returned(answer, self.claimed(), len(self.calls))
            return answer

        return work

    def called_after(self, name: str) -> list[int]:
        """The calls that began after an actor's verb had returned, but for those that were claimed by then."""
        returned = self.returned[name]
        return [row for row in self.calls[returned.calls :] if row not in returned.claimed]

    def close(self) -> None:
        """Close every worker."""
        for engine in self._workers.values():
            engine.close()
        self._workers.clear()
        if self._plain is not None and self.name == "file":
            self._plain.dispose()

    def _fresh(self) -> str:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        url = self.place.fresh(folder)
        assert url is not None
        return url

    def _hook(self, name: str) -> Hook:
        def hook(message: Any) -> Any:
            row = decode_id("msg", message.id)
            self.entered.append(row)
            self.begins(row)
            point(f"calls {message.step}")
            self.calls.append(row)
            return self.answer(message)

        return hook
