"""Several pieces of work on one database, one statement at a time, in a given order.

Each *actor* does its work in a thread of its own, with an engine of its own. It stops before each of its statements and
commits (and wherever it calls `point`), and the scheduler lets exactly one go on. A statement that waits for another
actor's lock is recognised by asking the server; then the others go on until it has what it waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import sqlalchemy as sa

from tests.harness.points import Dead, Stopper, listened, standing
from tests.harness.schedules import Schedule, schedules

Work = Callable[[], Any]

PATIENCE = 30.0
"""Seconds until a wait is given up; nothing that works ever waits that long."""
ENOUGH = 10
"""Failures after which no more schedules are played."""
GLANCE = 0.002
"""Seconds between two looks at whether an actor waits for a lock."""
BEGIN = "BEGIN IMMEDIATE"
"""What only one may do at a time on SQLite."""


class Stuck(AssertionError):
    """No actor came to a point, or to its end; says where each one stands."""


class Given(BaseException):
    """The scheduler has given up: every actor ends."""


class Locks:
    """Whether a connection waits for another one's lock, asked of the server on a connection of its own.

    On SQLite nothing is asked: who wants to write while another one does is not let go on at all.
    """

    def __init__(self, plain: sa.Engine | None) -> None:
        self._connection = None if plain is None else plain.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._look = _LOOKS["sqlite" if plain is None else plain.dialect.name]

    def is_waiting(self, number: int) -> bool:
        """Whether the connection with the server's own number waits."""
        return self._connection is not None and self._look(self._connection, number)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()


def _on_postgresql(connection: sa.Connection, number: int) -> bool:
    return bool(connection.exec_driver_sql("SELECT cardinality(pg_blocking_pids(%s)) > 0", (number,)).scalar())


def _on_mariadb(connection: sa.Connection, number: int) -> bool:
    # information_schema.INNODB_TRX is a copy that is not renewed while it is being read more often than ten times a
    # second; this says the same at once.
    status = str(connection.exec_driver_sql("SHOW ENGINE INNODB STATUS").one()[2])
    told = status.partition("LIST OF TRANSACTIONS FOR EACH SESSION:")[2].partition("\nFILE I/O")[0]
    return any(f"thread id {number}," in each and "LOCK WAIT" in each for each in told.split("---TRANSACTION"))


_LOOKS: dict[str, Callable[[sa.Connection, int], bool]] = {
    "sqlite": lambda connection, number: False,
    "postgresql": _on_postgresql,
    "mysql": _on_mariadb,
    "mariadb": _on_mariadb,
}


def number_of(connection: sa.Connection) -> int:
    """The server's own number of a connection."""
    raw: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "postgresql":
        return int(raw.info.backend_pid)
    return 0 if connection.dialect.name == "sqlite" else int(raw.thread_id())


@dataclass(frozen=True)
class Stop:
    """An actor is stopped for good at a point: by `KeyboardInterrupt`, or because its process dies."""

    at: int
    deadly: bool = False


class Actor(Stopper):
    """One piece of work in a thread of its own.

    Attributes:
        state: `at` a point, `running`, `blocked` in the database, or `done`.
        result: What its work returned.
        error: What it raised.
    """

    def __init__(self, name: str, work: Work, stop: Stop | None, changed: threading.Condition) -> None:
        super().__init__()
        self.name = name
        self.state: Literal["at", "running", "blocked", "done"] = "running"
        self.result: Any = None
        self.error: BaseException | None = None
        self.connection = 0
        self.is_writing = False
        self.given_up = False
        self._ends = False
        self._work = work
        self._stop = stop
        self._changed = changed
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def wants_to_write(self) -> bool:
        """It stands before the beginning of a transaction that writes, on SQLite."""
        return self.state == "at" and self.points[-1:] == [BEGIN]

    def reach(self, what: str, connection: sa.Connection | None) -> None:
        """Stand at a point until the scheduler lets this actor go on from it."""
        with self._changed:
            self.points.append(what)
            self.connection = self.connection if connection is None else number_of(connection)
            self._wait()
        if self._stop is not None and len(self.points) - 1 == self._stop.at:
            self.is_writing = False
            if self._stop.deadly:
                self.die(connection)
            raise KeyboardInterrupt
        self.is_writing = self.is_writing or what == BEGIN
        self._ends = what == "COMMIT"

    def leave(self, what: str) -> None:
        """A rollback is no point, but it lets others write."""
        self.is_writing = False

    def _wait(self) -> None:
        if self._ends:
            self.is_writing = self._ends = False
        self.state = "at"
        self._changed.notify_all()
        self._changed.wait_for(lambda: self.state != "at" or self.given_up, timeout=PATIENCE)
        if self.given_up or self.state == "at":
            self.given_up = True
            raise Given

    def _run(self) -> None:
        try:
            with self._changed:
                self._wait()
            with standing(self):
                self.result = self._work()
        except BaseException as error:
            self.error = error
        finally:
            with self._changed:
                self.is_writing = False
                self.state = "done"
                self._changed.notify_all()


@dataclass
class Played:
    """How a schedule went.

    Attributes:
        actors: The actors by name, each with its result or error.
        story: Who went on from which point, in order.
    """

    actors: dict[str, Actor]
    story: list[str] = field(default_factory=list)

    def result(self, name: str) -> Any:
        """What an actor's work returned; raises what it raised, but for a stop that was asked for."""
        actor = self.actors[name]
        if actor.error is not None and not isinstance(actor.error, (Dead, KeyboardInterrupt)):
            raise actor.error
        return actor.result

    def count(self, name: str) -> int:
        """How many points an actor came to."""
        return len(self.actors[name].points)

    def __str__(self) -> str:
        return "\n".join(self.story)


def play(
    works: Mapping[str, Work], schedule: Schedule, locks: Locks, stops: Mapping[str, Stop] | None = None
) -> Played:
    """Let several pieces of work go on as a schedule says.

    Args:
        works: What each actor does.
        schedule: Who goes on for how many points. An actor that waits for a lock lets the others go on until it has it.
        locks: Tells who waits.
        stops: Actors that are stopped for good, and where.

    Returns:
        How it went; every actor is at its end.

    Raises:
        Stuck: An actor neither came to a point nor waits for a lock.
    """
    return _Stage(works, locks, stops or {}).play(schedule)


class _Stage:
    def __init__(self, works: Mapping[str, Work], locks: Locks, stops: Mapping[str, Stop]) -> None:
        self.changed = threading.Condition()
        self.locks = locks
        self.played = Played({name: Actor(name, work, stops.get(name), self.changed) for name, work in works.items()})
        self.actors = list(self.played.actors.values())

    def play(self, schedule: Schedule) -> Played:
        with listened():
            try:
                for actor in self.actors:
                    actor.thread.start()
                    self._settle(actor)
                for name, count in [*schedule, *((actor.name, None) for actor in self.actors)]:
                    self._go(self.played.actors[name], count)
            finally:
                self._end()
        return self.played

    def _go(self, actor: Actor, count: int | None) -> None:
        """Let one actor go on for some points, and others where it has to wait for them."""
        while actor.state != "done" and count != 0:
            chosen = next((each for each in [actor, *self.actors] if self._may_go(each)), None)
            if chosen is None:
                self._wait_for_any()
                continue
            passed = bool(chosen.points)  # an actor begins when it is first let go on
            self._step(chosen)
            if chosen is actor and count is not None and passed:
                count -= 1

    def _may_go(self, actor: Actor) -> bool:
        others = (each for each in self.actors if each is not actor)
        return actor.state == "at" and not (actor.wants_to_write and any(each.is_writing for each in others))

    def _step(self, actor: Actor) -> None:
        if actor.points:
            self.played.story.append(f"{actor.name} {len(actor.points)}: {actor.points[-1]}")
        with self.changed:
            actor.state = "running"
            self.changed.notify_all()
        self._settle(actor)
        for each in self.actors:
            if each.state == "blocked":
                self._settle(each)

    def _wait_for_any(self) -> None:
        """Everybody waits in the database: it gives one of them up."""
        end = time.monotonic() + PATIENCE
        while not any(self._may_go(each) or each.state == "done" for each in self.actors if each.state != "done"):
            for each in self.actors:
                if each.state == "blocked":
                    self._settle(each)
            if all(each.state == "done" for each in self.actors):
                return
            self._check(end)

    def _settle(self, actor: Actor) -> None:
        """Wait until an actor stands at a point, waits for a lock, or is done."""
        end, was_blocked = time.monotonic() + PATIENCE, actor.state == "blocked"
        while True:
            with self.changed:
                if self.changed.wait_for(lambda: actor.state in {"at", "done"}, timeout=GLANCE):
                    break
            if self.locks.is_waiting(actor.connection):
                with self.changed:
                    if actor.state in {"at", "done"}:
                        break
                    actor.state = "blocked"
                if not was_blocked:
                    self.played.story.append(f"{actor.name}    waits for a lock")
                return
            self._check(end)
        if was_blocked:
            self.played.story.append(f"{actor.name}    goes on")
        if actor.state == "done" and actor.error is not None:
            self.played.story.append(f"{actor.name}    {type(actor.error).__name__}: {actor.error}")

    def _check(self, end: float) -> None:
        if time.monotonic() > end:
            standing_at = [f"{each.name} is {each.state} after {each.points[-1:]}" for each in self.actors]
            raise Stuck("\n".join([*self.played.story, *standing_at]))

    def _end(self) -> None:
        """Nobody is left behind, whatever happened."""
        with self.changed:
            for actor in self.actors:
                actor.given_up = True
            self.changed.notify_all()
        for actor in self.actors:
            if actor.thread.ident is not None:
                actor.thread.join(PATIENCE)


# All of them


class Scene(Protocol):
    """What is played again and again, each time from the start."""

    works: Mapping[str, Work]

    def check(self, played: Played) -> None:
        """Raise where something is wrong."""
        ...


@dataclass(frozen=True)
class Failure:
    """A schedule that went wrong."""

    schedule: Schedule
    error: BaseException
    played: Played | None

    def __str__(self) -> str:
        error = str(self.error) if isinstance(self.error, AssertionError) else repr(self.error)
        return f"{list(self.schedule)}: {error}\n{self.played or ''}"


def explore(make: Callable[[], Scene], locks: Locks, *, limit: int, seed: int = 1) -> int:
    """Play two actors of a scene under many schedules.

    Args:
        make: Sets the scene anew.
        locks: Tells who waits.
        limit: How many schedules at most.
        seed: Of the sample, where there are more.

    Returns:
        How many schedules were played.

    Raises:
        AssertionError: A schedule went wrong; tells how many did, and the story of the first.
    """
    first, second = make().works
    failures: list[Failure] = []
    counts = {name: _played(make, [(name, None)], locks, failures).get(name, 0) for name in (first, second)}
    chosen = schedules(counts, limit, seed)
    for schedule in chosen:
        if len(failures) < ENOUGH:
            _played(make, schedule, locks, failures)
    if failures:
        many = "or more " if len(failures) >= ENOUGH else ""
        which = [list(failure.schedule) for failure in failures]
        raise AssertionError(
            f"{len(failures)} {many}of {len(chosen) + 2} schedules of {counts} went wrong: {which}\n{failures[0]}"
        )
    return len(chosen) + 2


def _played(make: Callable[[], Scene], schedule: Schedule, locks: Locks, failures: list[Failure]) -> dict[str, int]:
    scene, played = make(), None
    try:
        played = play(scene.works, schedule, locks)
        scene.check(played)
    except Exception as error:
        failures.append(Failure(schedule, error, played))
    return {name: played.count(name) for name in played.actors} if played else {}
