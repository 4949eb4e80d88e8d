"""The scheduler itself: who waits is seen, who is stuck is told, and nobody is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

import notifykit as nk
from tests.harness import interleaving
from tests.harness.interleaving import Locks, Played, Stop, Stuck, explore, play
from tests.harness.points import Dead, interrupted, point, summary
from tests.harness.schedules import every, schedules
from tests.queue.conftest import MakeWorld
from tests.queue.world import World

plain = nk.Workflow("plain", steps=[nk.Email("mail", subject="s", body="b")])


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    world = make_world(plain)
    world.set("a", "b")
    for who in ("ada", "bob"):
        world.worker("setup").subscribers.upsert(who, email=f"{who}@example.com")
    return world


def naming(engine: nk.Engine, *people: str) -> Callable[[], Any]:
    """Changes some people in one transaction, one after the other; each time anew."""
    names = count()

    def work() -> None:
        name = f"{people} {next(names)} {id(names)}"
        with engine.transaction() as notifier:
            for who in people:
                notifier.subscribers.upsert(who, first_name=name)

    return work


def waits(played: Played) -> list[str]:
    """Who had to wait for a lock."""
    return [line.split()[0] for line in played.story if line.endswith("waits for a lock")]


def test_who_waits_for_a_lock_is_let_wait(world: World, locks_of: Callable[[World], Locks]) -> None:
    works = {name: naming(world.worker(name), "ada") for name in ("a", "b")}
    points = play(works, [("a", None)], locks_of(world)).count("a")
    played = play(works, [("a", points - 1), ("b", None)], locks_of(world))
    assert [actor.error for actor in played.actors.values()] == [None, None]
    assert waits(played) == ([] if world.name == "file" else ["b"])
    ends = [line.split()[0] for line in played.story if line.endswith("COMMIT")]
    assert ends[-2:] == ["a", "b"]


def test_a_deadlock_ends(world: World, locks_of: Callable[[World], Locks]) -> None:
    works = {"a": naming(world.worker("a"), "ada", "bob"), "b": naming(world.worker("b"), "bob", "ada")}
    points = play(works, [("a", None)], locks_of(world)).count("a")
    played = play(works, [("a", points // 2), ("b", points // 2), ("a", None)], locks_of(world))
    errors = [actor.error for actor in played.actors.values() if actor.error]
    if world.name == "file":
        assert errors == []
    else:
        assert [type(error) for error in errors] == [nk.StorageError]
        assert "waited for each other" in str(errors[0])


def test_who_neither_moves_nor_waits_is_told(
    world: World, locks_of: Callable[[World], Locks], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(interleaving, "PATIENCE", 0.1)
    works = {"a": lambda: (point("here"), over.wait(30)), "b": lambda: world.worker("b").runs.list()}
    threading.Timer(0.5, over.set).start()
    with pytest.raises(Stuck, match="a is running after \\['here'\\]"):
        play(works, [("a", None)], locks_of(world))
    over.wait(30)


def test_a_process_that_dies_leaves_nothing_half_done(world: World, locks_of: Callable[[World], Locks]) -> None:
    trigger = lambda: world.worker("a").trigger(plain, to="ada")  # noqa: E731
    played = play({"a": trigger}, [("a", None)], locks_of(world), {"a": Stop(5, deadly=True)})
    assert isinstance(played.actors["a"].error, Dead)
    assert list(world.worker("b").runs.list()) == []
    world.bury("a")
    assert world.worker("a").trigger(plain, to="ada").recipients == 1


@pytest.mark.parametrize("deadly", [False, True])
def test_work_is_interrupted_at_a_point(world: World, deadly: bool) -> None:
    points = 0
    while interrupted(lambda: world.worker("a").trigger(plain, to="ada"), points, deadly=deadly):
        assert list(world.worker("b").runs.list()) == []
        world.bury("a")
        points += 1
    assert points > 5
    assert len(world.worker("b").runs.list()) == 1


def test_a_wrong_order_is_found_and_told(world: World, locks_of: Callable[[World], Locks]) -> None:
    class Lost:
        """Two that read, then write what they have read and one more."""

        def __init__(self) -> None:
            self.number = 0
            self.works = {"a": self.add, "b": self.add}

        def add(self) -> None:
            point("read")
            read = self.number
            point("write")
            self.number = read + 1

        def check(self, played: Played) -> None:
            assert self.number == 2, f"lost an update: {self.number}"

    with pytest.raises(AssertionError, match=r"(?s)4 of 8 schedules .* lost an update: 1"):
        explore(Lost, locks_of(world), limit=50)


def test_schedules() -> None:
    assert len(list(every({"a": 3, "b": 2}))) == 10
    assert len(schedules({"a": 3, "b": 2}, limit=10)) == 10
    few = schedules({"a": 40, "b": 10}, limit=16)
    assert len(few) == 16
    assert few == schedules({"a": 40, "b": 10}, limit=16)
    many = schedules({"a": 40, "b": 10}, limit=200)
    assert len({tuple(schedule) for schedule in many}) == 200
    assert [("a", 7), ("b", None), ("a", None)] in many


def test_a_statement_in_a_few_words() -> None:
    text = 'SELECT notifykit_job.id FROM notifykit_job WHERE notifykit_job.subject = "x"\n FOR UPDATE SKIP LOCKED'
    assert summary(text) == "SELECT job FOR UPDATE SKIP LOCKED"
    assert summary("BEGIN IMMEDIATE") == "BEGIN IMMEDIATE"
