"""Calls that take long keep their lease; drains that are cancelled give back what has not begun."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Job
from notifykit.worker import async_executors, executors
from tests.behaviour.stories import people
from tests.harness.both import Both

mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")])
pytestmark = pytest.mark.uneven


@pytest.fixture(autouse=True)
def quick_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew after a moment instead of a third of the lease."""
    for module in (executors, async_executors):
        monkeypatch.setattr(module, "RENEWAL", 0.01)


def until(renewed: Callable[[], bool]) -> None:
    """Wait until something has happened in another thread."""
    end = time.monotonic() + 30
    while not renewed():
        assert time.monotonic() < end, "the lease was not renewed"
        time.sleep(0.001)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_long_call_is_not_made_again_beside_itself(
    house: Callable[..., Both], variant: tuple[Any, Any], concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variant == ("sync", "memory") or variant == ("async", "memory"):
        pytest.skip("nobody else can see a private memory")
    notify = house(hooks=False, workflows=[mail])
    other = house(hooks=False, workflows=[mail], notifier="sync", clock=notify.clock)
    people(notify, "ada")
    calls: list[str] = []
    other.engine.deliver("email")(lambda message: calls.append("other"))
    leases: list[Any] = []
    real = calling_renew(monkeypatch, leases)

    def minutes(n: int) -> None:
        notify.clock.move(seconds=50)
        seen = len(leases)
        until(lambda: len(leases) > seen + 1)  # the one after the next has begun after the clock was moved
        assert other.drain().sent == 0

    def hook(message: Any) -> None:
        calls.append("mine")
        for n in range(4):
            minutes(n)

    async def awaited(message: Any) -> None:
        await asyncio.to_thread(hook, message)

    notify.engine.deliver("email")(awaited if notify.notifier == "async" else hook)
    notify.trigger(mail(), to="ada")
    assert notify.drain(concurrency=concurrency, timeout=100).sent == 1
    assert calls == ["mine"]
    (message,) = notify.messages.list()
    assert [each.outcome for each in notify.messages.get(message.id).attempts] == ["sent"]
    assert real


def calling_renew(monkeypatch: pytest.MonkeyPatch, leases: list[Any]) -> Any:
    """Hear of every renewal that was committed."""
    from notifykit.lifecycle import jobs as claiming

    renew = claiming.renew

    def heard(unit: Any, jobs: Any, lease_until: Any) -> None:
        renew(unit, jobs, lease_until)
        unit.effects.on_commit.append(lambda: leases.append(lease_until))

    monkeypatch.setattr(claiming, "renew", heard)
    return renew


def test_a_quick_drain_leaves_no_thread(house: Callable[..., Both]) -> None:
    notify = house(hooks=True, workflows=[mail])
    people(notify, "ada")
    before = set(threading.enumerate())
    notify.trigger(mail(), to="ada")
    notify.drain()
    if notify.notifier == "sync":
        assert set(threading.enumerate()) == before


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_cancelled_drain_counts_only_attempts_that_had_started(house: Callable[..., Both], concurrency: int) -> None:
    notify = house(hooks=False, workflows=[mail], notifier="async")
    names = [f"user-{n}" for n in range(12)]
    people(notify, *names)
    called: list[str] = []
    slow: list[bool] = []

    async def hook(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        if slow:
            await asyncio.sleep(60)

    notify.engine.deliver("email")(hook)
    notify.trigger(mail(), to=names)
    assert notify.drain().sent == 12  # quick: from now on several are claimed at once
    del called[:]
    slow.append(True)
    notify.trigger(mail(), to=names)

    async def bounded() -> None:
        await asyncio.wait_for(notify.engine.drain(concurrency=concurrency), 0.2)

    for _ in range(4):
        with pytest.raises(TimeoutError):
            notify.wait(bounded())
    assert len(called) == 4 * concurrency
    slow.clear()
    notify.drain()
    notify.clock.move(minutes=1)
    notify.drain()
    assert notify.count(Job) == 0
    outcomes = {}
    for message in notify.messages.list(limit=100):
        outcomes.setdefault(message.subscriber_id, []).append(
            [each.outcome for each in notify.messages.get(message.id).attempts]
        )
    begun = set(called[: 4 * concurrency])
    for name, (second, first) in outcomes.items():
        assert first == ["sent"]
        assert second == (["unknown", "sent"] if name in begun else ["sent"])


def test_the_lease_of_a_call_that_has_ended_is_kept_behind_a_long_one(
    house: Callable[..., Both], variant: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if variant[1] == "memory":
        pytest.skip("nobody else can see a private memory")
    notify = house(hooks=False, workflows=[mail])
    other = house(hooks=False, workflows=[mail], notifier="sync", clock=notify.clock)
    names = [f"user-{n}" for n in range(4)]
    people(notify, *names)
    calls: list[str] = []
    other.engine.deliver("email")(lambda message: calls.append("other"))
    leases: list[Any] = []
    calling_renew(monkeypatch, leases)

    def hook(message: nk.EmailMessage) -> None:
        calls.append(message.subscriber_id)
        if calls.count(names[3]) == 2:
            for _ in range(3):
                notify.clock.move(seconds=50)
                seen = len(leases)
                until(lambda seen=seen: len(leases) > seen + 1)  # type: ignore[misc]
                assert other.drain().sent == 0

    async def awaited(message: nk.EmailMessage) -> None:
        await asyncio.to_thread(hook, message)

    notify.engine.deliver("email")(awaited if notify.notifier == "async" else hook)
    notify.trigger(mail(), to=names)
    assert notify.drain().sent == 4  # quick: from now on several are claimed at once
    notify.trigger(mail(), to=names)
    assert notify.drain().sent == 4
    assert calls == names * 2
