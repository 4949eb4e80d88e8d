from __future__ import annotations

import asyncio
import threading

import pytest

from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from tests.store.conftest import in_unit, unit_of


def test_ids_are_ascending_and_never_repeat(database: Database) -> None:
    taken: list[int] = []
    for count in (3, 0, 1, 1500, 999, 1, 2001):
        with unit_of(database) as unit:
            block = unit.ids(count)
        assert len(block) == count
        assert block == sorted(set(block))
        taken += block
    assert len(set(taken)) == len(taken)
    assert min(taken) > 1  # the default environment's


def test_sqlite_takes_exactly_what_it_needs_and_takes_it_back(url_of) -> None:
    database = Database.open(None)
    with unit_of(database) as unit:
        assert unit.ids(3) == [2, 3, 4]
    with pytest.raises(RuntimeError), unit_of(database) as unit:  # noqa: PT012
        unit.ids(100)
        raise RuntimeError
    with unit_of(database) as unit:
        assert unit.ids(2) == [5, 6]
    database.close()


def test_a_rollback_never_gives_ids_back_on_a_server(server: str) -> None:
    database = Database.open(server)
    taken: list[int] = []
    with pytest.raises(RuntimeError), unit_of(database) as unit:  # noqa: PT012
        taken += unit.ids(700)
        raise RuntimeError
    with unit_of(database) as unit:
        taken += unit.ids(700)
    assert len(set(taken)) == 1400
    database.close()


def test_threads_share_blocks_without_repetition(server: str) -> None:
    database = Database.open(server)
    database.ready()
    taken: list[int] = []

    def work() -> None:
        for _ in range(10):
            with unit_of(database) as unit:
                taken.extend(unit.ids(130))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == len(taken) == 5200
    database.close()


def test_a_fork_does_not_hand_out_its_parents_ids(server: str) -> None:
    database = Database.open(server)
    with unit_of(database) as unit:
        mine = set(unit.ids(1))
    database.after_fork()
    with unit_of(database) as unit:
        theirs = unit.ids(1)
    assert theirs[0] > max(mine) + 900
    database.close()


async def test_tasks_share_blocks_without_repetition(awaited: AsyncDatabase) -> None:
    blocks = await asyncio.gather(*(in_unit(awaited, lambda unit: unit.ids(300)) for _ in range(8)))
    taken = [number for block in blocks for number in block]
    assert len(set(taken)) == len(taken) == 2400
