"""Transactions of our own: what commits together, what follows, what is refused."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from tests.unit_of_work.conftest import hello, said

Wire = dict[str, Any]


def wires(count: int) -> Iterator[Wire]:
    """Triggers for as many subscribers."""
    return ({"name": "hello", "to": f"user-{n}", "payload": {"name": "x"}} for n in range(count))


async def async_wires(count: int) -> AsyncIterator[Wire]:
    """The same, from a source that is awaited."""
    for each in wires(count):
        await asyncio.sleep(0)
        yield each


def fails_half_way(notify: nk.Engine) -> None:
    """A transaction that raises after a write."""
    with notify.transaction() as unit:
        unit.trigger(hello, **said("one"))
        unit.subscribers.get("nobody")


async def fails_half_way_awaited(awaited: nk.AsyncEngine) -> None:
    """The same on the awaited notifier."""
    async with awaited.transaction() as unit:
        await unit.subscribers.upsert("bob")
        await unit.subscribers.get("nobody")


def test_a_transaction_commits_as_one_and_effects_follow(notify: nk.Engine, heard: list[Any]) -> None:
    with notify.transaction() as unit:
        unit.subscribers.upsert("ada", first_name="Ada")
        unit.trigger(hello, **said("one"))
        assert unit.subscribers.get("ada").first_name == "Ada"
        unit.trigger(hello, **said("two"))
        assert heard == []
    assert heard == ["one", "two"]


def test_a_transaction_that_raises_leaves_nothing(notify: nk.Engine, heard: list[Any]) -> None:
    with pytest.raises(nk.NotFoundError):
        fails_half_way(notify)
    assert heard == []
    assert notify.subscribers.find("ada") is None
    assert notify.trigger(hello, **said("one")).duplicate is False


def test_a_verb_that_raises_inside_is_not_told_of(notify: nk.Engine, heard: list[Any]) -> None:
    notify._runtime.chunk = 2

    def broken() -> Iterator[Wire]:
        yield from wires(3)
        raise LookupError

    with notify.transaction() as unit:
        unit.trigger(hello, **said("one"))
        with pytest.raises(LookupError):
            unit.trigger_bulk(broken())
    assert heard == ["one"]


def test_the_notifier_of_a_transaction_ends_with_it(notify: nk.Engine) -> None:
    with notify.transaction() as unit:
        scoped = unit.scoped(tenant="north")
    for notifier in (unit, scoped):
        with pytest.raises(nk.UnitError, match="has ended"):
            notifier.subscribers.find("ada")


def test_a_transaction_is_not_nested(notify: nk.Engine, database: sa.Engine) -> None:
    with notify.transaction() as unit, database.connect() as connection:
        with pytest.raises(nk.UnitError, match="stands in a transaction already"):
            unit.transaction()
        with pytest.raises(nk.UnitError, match="stands in a transaction already"):
            unit.within(connection)
        with pytest.raises(nk.UnitError, match="stands in a transaction already"):
            unit.trigger(hello, session=connection, **said("one"))
    with database.connect() as connection:
        notifier = notify.within(connection)
        notifier.trigger(hello, session=connection, **said("one"))
        with database.connect() as other, pytest.raises(nk.UnitError, match="stands in a transaction already"):
            notifier.trigger(hello, session=other, **said("two"))
        connection.rollback()


def test_a_scope_is_kept_and_not_left(notify: nk.Engine) -> None:
    notify.tenants.upsert("north")
    north = notify.scoped(tenant=" north ")
    with north.transaction() as unit:
        unit.trigger(hello, **said("one"))
    assert len(north.inbox("ada").list()) == 1
    assert north.inbox("ada").list().items[0].tenant == "north"
    with pytest.raises(nk.InputError, match="scoped to 'north'"):
        north.scoped(tenant="south")
    with pytest.raises(nk.InputError, match="identifier of a tenant"):
        notify.scoped(tenant=" ")
    assert north.scoped().scoped(tenant="north")


def test_other_threads_wait_for_their_turn(notify: nk.Engine) -> None:
    found: list[Any] = []
    with notify.transaction() as unit:
        unit.subscribers.upsert("ada")
        thread = threading.Thread(target=lambda: found.append(notify.subscribers.upsert("bob")))
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    thread.join()
    assert found[0].subscriber_id == "bob"


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.subscribers.upsert("bob"),
        lambda engine: engine.subscribers.find("bob"),
        lambda engine: engine.trigger(hello, to="bob"),
        lambda engine: engine.drain(),
        lambda engine: engine.migrate(),
        lambda engine: engine.close(),
        lambda engine: engine.transaction().__enter__(),
    ],
)
def test_the_engine_inside_its_own_transaction_is_refused(notify: nk.Engine, call: Any) -> None:
    with notify.transaction() as unit:
        with pytest.raises(nk.UnitError, match=r"`transaction\(\)` call the verbs of the notifier it gave"):
            call(notify)
        unit.subscribers.upsert("ada")
    assert notify.subscribers.get("ada")


def test_so_is_a_host_transaction_inside_it(notify: nk.Engine, database: sa.Engine) -> None:
    with notify.transaction(), database.connect() as connection, pytest.raises(nk.UnitError, match="open here already"):
        notify.trigger(hello, session=connection, **said("one"))


def test_the_callers_generator_and_callback_may_not_call_the_engine(notify: nk.Engine, database: sa.Engine) -> None:
    def calling() -> Iterator[Wire]:
        for each in wires(2):
            notify.subscribers.find("ada")
            yield each

    with pytest.raises(nk.UnitError, match="generator or callback"):
        notify.trigger_bulk(calling())
    with pytest.raises(nk.UnitError, match="generator or callback"):
        notify.trigger_bulk(wires(2), progress=lambda done: notify.drain() and None)
    with database.connect() as connection, pytest.raises(nk.UnitError, match="generator or callback"):
        notify.trigger_bulk(calling(), session=connection)
    assert notify.subscribers.find("user-0") is None


def test_progress_is_told_and_an_exception_in_it_rolls_back(notify: nk.Engine) -> None:
    notify._runtime.chunk = 2
    done: list[int] = []
    notify.trigger_bulk(wires(5), progress=done.append)
    assert done == [2, 4, 5]

    def stop(count: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        notify.trigger_bulk(
            ({"name": "hello", "to": "late", "payload": {"name": "x"}} for _ in range(3)), progress=stop
        )
    assert notify.subscribers.find("late") is None


def test_two_engines_may_be_used_inside_each_other(notify: nk.Engine) -> None:
    with nk.Engine() as other, notify.transaction() as unit:
        other.subscribers.upsert("ada")
        unit.subscribers.upsert("bob")
        assert other.subscribers.find("bob") is None


async def test_the_sync_notifier_on_a_loop_warns_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "notifykit"), nk.Engine(url, workflows=[hello]) as engine:
        engine.subscribers.upsert("ada")
        engine.subscribers.upsert("bob")
    assert [record.message for record in caplog.records if "AsyncEngine" in record.message] == [
        "the sync notifier was called on a running event loop, which it blocks: use AsyncEngine there"
    ]


async def test_an_async_source_is_read_chunk_by_chunk(awaited: nk.AsyncEngine) -> None:
    awaited._runtime.chunk = 2
    done: list[int] = []
    result = await awaited.trigger_bulk(async_wires(5), progress=done.append)
    assert (len(result), done) == (5, [2, 4, 5])
    assert [subscriber.subscriber_id async for subscriber in awaited.subscribers.each()] == [
        f"user-{n}" for n in reversed(range(5))
    ]
    assert len(await awaited.trigger_bulk(wires(3))) == 3


def test_an_async_source_on_the_sync_notifier_is_refused(notify: nk.Engine) -> None:
    source: Any = async_wires(1)
    with pytest.raises(nk.InputError, match="use AsyncEngine"):
        notify.trigger_bulk(source)


async def test_an_awaited_transaction(awaited: nk.AsyncEngine) -> None:
    heard: list[str] = []

    @awaited.on.trigger_processed
    async def hear(event: nk.TriggerProcessed) -> None:
        heard.append(event.transaction_id)

    async with awaited.transaction() as unit:
        await unit.trigger(hello, **said("one"))
        await asyncio.gather(*(unit.subscribers.upsert(f"user-{n}") for n in range(5)))
        assert heard == []
        with pytest.raises(nk.UnitError, match="open here already"):
            await awaited.subscribers.find("ada")
    assert heard == ["one"]
    with pytest.raises(nk.UnitError, match="has ended"):
        await unit.subscribers.find("ada")
    with pytest.raises(nk.NotFoundError):
        await fails_half_way_awaited(awaited)
    assert await awaited.subscribers.find("bob") is None


async def test_the_async_source_may_not_call_the_engine_but_the_notifier_it_stands_in(awaited: nk.AsyncEngine) -> None:
    async def calling(notifier: nk.AsyncNotifier) -> AsyncIterator[Wire]:
        for each in wires(2):
            await notifier.subscribers.find("ada")
            yield each

    with pytest.raises(nk.UnitError, match="generator or callback"):
        await awaited.trigger_bulk(calling(awaited))
    async with awaited.transaction() as unit:
        assert len(await unit.trigger_bulk(calling(unit))) == 2


async def test_other_tasks_wait_for_their_turn(awaited: nk.AsyncEngine) -> None:
    order: list[str] = []

    async def write(name: str) -> None:
        await awaited.subscribers.upsert(name)
        order.append(name)

    async with awaited.transaction() as unit:
        tasks = [asyncio.create_task(write(name)) for name in ("bob", "cleo")]
        await asyncio.sleep(0.02)
        await unit.subscribers.upsert("ada")
        order.append("ada")
    await asyncio.gather(*tasks)
    assert order == ["ada", "bob", "cleo"]


async def test_a_cancelled_bulk_rolls_back(awaited: nk.AsyncEngine) -> None:
    awaited._runtime.chunk = 2
    reached = asyncio.Event()

    async def slow() -> AsyncIterator[Wire]:
        for each in wires(4):
            yield each
        reached.set()
        await asyncio.sleep(10)

    task = asyncio.create_task(awaited.trigger_bulk(slow()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await awaited.subscribers.find("user-0") is None
