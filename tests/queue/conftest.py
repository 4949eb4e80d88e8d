"""Worlds on every database that several processes can share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import notifykit as nk
from tests.harness.databases import Opened
from tests.harness.interleaving import Locks, explore
from tests.queue.scenes import Scene
from tests.queue.world import World

SHARED = ("file", "postgresql", "mariadb")
MakeWorld = Callable[..., World]
Explore = Callable[[type[Scene]], int]
MANY = 200
LIMITS = [pytest.param(1, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]


@pytest.fixture(params=SHARED)
def make_world(request: pytest.FixtureRequest, place_of: Opened, tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes a world with some workflows on a database."""
    with ExitStack() as stack:

        def make(*workflows: nk.Workflow[Any, ...]) -> World:
            world = World(place_of(request.param), tmp_path, workflows)
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture
def locks_of() -> Iterator[Callable[[World], Locks]]:
    """Who tells, in a world, whether a connection waits."""
    with ExitStack() as stack:

        def locks(world: World) -> Locks:
            found = world.locks()
            stack.callback(found.close)
            return found

        yield locks


@pytest.fixture(params=LIMITS)
def explored(request: pytest.FixtureRequest, make_world: MakeWorld, locks_of: Callable[[World], Locks]) -> Explore:
    """Plays a scene under many schedules."""

    def explored(scene: type[Scene]) -> int:
        world = make_world(scene.workflow)
        few = scene.few // 2 if world.name == "mariadb" else scene.few  # as PostgreSQL, but slower
        return explore(lambda: scene(world), locks_of(world), limit=max(few, request.param))

    return explored
