"""What was sent is recorded sooner or later, whatever stands in the way; and what came too late is not called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

import notifykit as nk
from notifykit.model import Job
from notifykit.store import engines
from tests.behaviour.stories import people
from tests.harness.both import Both

NAMES = tuple(f"user-{n}" for n in range(10))
mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")])
pytestmark = pytest.mark.uneven


@pytest.fixture
def notify(house: Callable[..., Both], variant: tuple[Any, Any]) -> Both:
    notify = house(hooks=False, workflows=[mail])
    people(notify, *NAMES)
    return notify


def serve(notify: Both, act: Callable[[str], Any]) -> list[str]:
    """Serve e-mail by a hook of the engine's own notifier; whom it was called for, in order."""
    called: list[str] = []

    def hook(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        act(message.subscriber_id)

    async def awaited(message: nk.EmailMessage) -> None:
        hook(message)

    notify.engine.deliver("email")(awaited if notify.notifier == "async" else hook)
    return called


@contextmanager
def cancelling(notify: Both, who: str) -> Iterator[Callable[[], None]]:
    """What lets a host's transaction cancel a subscriber's runs, and leave that open until the end of the block."""
    database = sa.create_engine(engines.parsed(notify.url))
    with Session(database) as session, nk.Engine(bind=database, workflows=[mail]) as host:

        def cancel() -> None:
            host.within(session).cancel(subscriber=who)

        yield cancel
        session.commit()
    database.dispose()


def once_for_each(called: list[str]) -> bool:
    """Whether everybody was called for once."""
    return sorted(called) == sorted(NAMES)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_run_that_a_host_has_locked_costs_only_itself(
    notify: Both, variant: tuple[Any, Any], concurrency: int
) -> None:
    if variant[1] in {"memory", "file"}:
        pytest.skip("one writer at a time")
    with cancelling(notify, "user-4") as cancel:
        called = serve(notify, lambda who: cancel() if who == "user-4" else None)
        notify.trigger(mail(), to=NAMES)
        report = notify.drain(seconds=10, concurrency=concurrency)
        assert report.sent == len(NAMES) - 1
    assert notify.drain().sent == 1  # it had been sent before it could be stopped
    assert once_for_each(called)
    assert notify.count(Job) == 0
    assert {len(notify.messages.get(each.id).attempts) for each in notify.messages.list()} == {1}


def test_an_engine_that_closes_records_what_its_drains_could_not(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=[mail])
    if notify.url is None:
        pytest.skip("a private memory ends with its engine")
    if str(notify.url).startswith("sqlite"):
        pytest.skip("one writer at a time")
    other = house(hooks=False, workflows=[mail], clock=notify.clock, notifier="sync")
    people(notify, *NAMES)
    with cancelling(notify, "user-4") as cancel:
        called = serve(notify, lambda who: cancel() if who == "user-4" else None)
        notify.trigger(mail(), to=NAMES)
        assert notify.drain(seconds=10).sent == len(NAMES) - 1
    notify.close()
    assert once_for_each(called)
    assert {each.status for each in other.messages.list()} == {"sent"}
    assert {len(other.messages.get(each.id).attempts) for each in other.messages.list()} == {1}


def test_an_engine_closes_though_a_run_stays_locked(
    house: Callable[..., Both], caplog: pytest.LogCaptureFixture
) -> None:
    notify = house(hooks=False, workflows=[mail])
    if notify.url is None or str(notify.url).startswith("sqlite"):
        pytest.skip("one writer at a time")
    people(notify, *NAMES)
    with cancelling(notify, "user-4") as cancel:
        serve(notify, lambda who: cancel() if who == "user-4" else None)
        notify.trigger(mail(), to=NAMES)
        notify.drain(seconds=10)
        notify.close()
    assert caplog.text.count("could not be recorded before its engine closed") == 1


def test_a_database_out_of_reach_is_told_later(notify: Both) -> None:
    called = serve(notify, lambda who: broken.append(True) if who == "user-3" else None)
    broken: list[bool] = []
    database = notify.engine._runtime.database
    engine = (database if notify.notifier == "sync" else database.database).engine

    def fail(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if broken and "delivery_attempt" in statement and statement.startswith("INSERT"):
            raise sa.exc.OperationalError("lost", None, Exception("gone"), connection_invalidated=True)

    sa.event.listen(engine, "before_cursor_execute", fail)
    notify.trigger(mail(), to=NAMES)
    with pytest.raises(nk.StorageError):
        notify.drain()
    sa.event.remove(engine, "before_cursor_execute", fail)
    assert notify.count(Job) > 0
    notify.drain()
    assert once_for_each(called)
    assert {message.status for message in notify.messages.list()} == {"sent"}


def test_an_engine_that_is_closed_in_a_hook_records_what_was_sent(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=[mail])
    if notify.url is None:
        pytest.skip("a private memory ends with its engine")
    other = house(hooks=False, workflows=[mail], clock=notify.clock)
    people(notify, *NAMES)
    called: list[str] = []

    async def awaited(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        if message.subscriber_id == "user-3":
            await notify.engine.close()

    def hook(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        if message.subscriber_id == "user-3":
            notify.engine.close()

    notify.engine.deliver("email")(awaited if notify.notifier == "async" else hook)
    notify.trigger(mail(), to=NAMES)
    with pytest.raises(nk.UnitError, match="closed"):
        notify.drain()
    assert {each.subscriber_id for each in other.messages.list(status="sent")} == set(called)
    other.clock.move(hours=1)
    rest = serve(other, lambda who: None)
    other.drain()
    assert once_for_each(called + rest)


def test_an_observer_that_takes_long_makes_the_claim_too_old(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=[mail])
    if notify.url is None:
        pytest.skip("nobody else can see a private memory")
    other = house(hooks=False, workflows=[mail], notifier="sync", clock=notify.clock)
    people(notify, *NAMES)
    called = serve(notify, lambda who: None)
    late = threading.Event()

    @notify.engine.on.message_skipped
    def slow(event: Any) -> None:
        if not late.is_set():
            other.preferences.update("user-1", channels={"email": False})
            late.wait(0.1)
            late.set()

    notify.trigger(mail(), to=NAMES[2:])
    notify.drain()  # what is quick is claimed together from now on
    called.clear()
    notify.trigger(mail(), to=["user-0", "user-1"])
    notify.preferences.update("user-0", channels={"email": False})
    notify.drain()
    assert called == []


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_what_ends_beside_a_call_that_stops_the_process_is_recorded(notify: Both, stop: type[BaseException]) -> None:
    barrier = threading.Barrier(5, timeout=30)
    begun = asyncio.Event()
    called: list[str] = []

    def hook(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        barrier.wait()
        if message.subscriber_id == "user-2":
            raise stop

    async def awaited(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        if len(called) == 5:
            begun.set()
        await begun.wait()
        if message.subscriber_id == "user-2":
            raise stop
        await asyncio.sleep(0)

    notify.engine.deliver("email")(awaited if notify.notifier == "async" else hook)
    notify.trigger(mail(), to=NAMES[:5])
    with pytest.raises(stop):
        notify.drain(concurrency=5)
    sent = {message.subscriber_id for message in notify.messages.list(status="sent")}
    assert sent == set(NAMES[:5]) - {"user-2"}


def test_nobody_is_claimed_behind_calls_that_take_every_thread(notify: Both) -> None:
    serve(notify, lambda who: None)
    for _ in range(3):
        notify.trigger(mail(), to=NAMES)
        notify.drain(concurrency=2)
    seen: list[int] = []
    barrier, together = threading.Barrier(2, timeout=30), asyncio.Event()
    signals = notify.engine._runtime.signals
    signals._hook_signals["email"].disconnect(signals.hooks["email"])

    def hook(message: nk.EmailMessage) -> None:
        if message.subscriber_id in {"user-0", "user-1"}:
            barrier.wait()
            threading.Event().wait(0.15)  # longer than a claim lasts

    async def awaited(message: nk.EmailMessage) -> None:
        if message.subscriber_id in {"user-0", "user-1"}:
            seen.append(1)
            if len(seen) == 2:
                together.set()
            await together.wait()
            await asyncio.sleep(0.15)

    notify.engine.deliver("email")(awaited if notify.notifier == "async" else hook)
    result = notify.trigger(mail(), to=NAMES)
    assert notify.drain(concurrency=2).sent == len(NAMES)
    messages = notify.messages.list(transaction_id=result.transaction_id)
    assert {len(notify.messages.get(each.id).attempts) for each in messages} == {1}


def test_a_task_that_swallows_its_cancellation_is_left_behind(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=[mail], notifier="async")
    people(notify, *NAMES)
    release = asyncio.Event()

    async def stubborn(message: nk.EmailMessage) -> None:
        while message.subscriber_id == "user-3" and not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    notify.engine.deliver("email")(stubborn)
    notify.trigger(mail(), to=NAMES)
    assert notify.drain(concurrency=2, timeout=0.1).sent == len(NAMES) - 1
    assert [each.subscriber_id for each in notify.messages.list(status="unknown")] == ["user-3"]

    async def let_go() -> None:
        release.set()
        await asyncio.sleep(0)

    notify.wait(let_go())
