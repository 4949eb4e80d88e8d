"""Many at once: threads, tasks and engines on one database lose nothing, double nothing and do not block each other."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Event, Message, Run, Subscriber
from tests.behaviour.stories import STORIES, bodies, hello, ordered, people, shipped
from tests.harness.both import Both

pytestmark = [pytest.mark.own, pytest.mark.uneven]
WORKERS = 4
EACH = 12
PEOPLE = [f"user-{n}" for n in range(20)]


def at_once(notify: Both, work: Callable[[Any, int], Any]) -> None:
    """Do a piece of work in several threads, or in several tasks of the engine's loop; any error is raised here."""
    if notify.notifier == "async":

        async def together() -> None:
            await asyncio.gather(*(work(notify.engine, number) for number in range(WORKERS)))

        notify.wait(together())
        return
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(notify.engine, number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)


def shuffled(number: int) -> list[dict[str, Any]]:
    """Everybody with a name, in an order of each worker's own."""
    order = random.Random(number).sample(PEOPLE, len(PEOPLE))
    return [{"subscriberId": who, "firstName": f"{who} of {number}"} for who in order]


def test_triggers_that_make_the_same_subscribers(notify: Both) -> None:
    def work(engine: Any, number: int) -> Any:
        if notify.notifier == "async":

            async def told() -> None:
                for _ in range(EACH):
                    await engine.trigger(hello, to=shuffled(number))

            return told()
        return [engine.trigger(hello, to=shuffled(number)) for _ in range(EACH)]

    at_once(notify, work)
    assert notify.count(Subscriber) == len(PEOPLE)
    assert notify.count(Event) == WORKERS * EACH
    assert notify.count(Message) == notify.count(Run) == WORKERS * EACH * len(PEOPLE)
    assert len(bodies(notify, "user-7")) == WORKERS * EACH


def test_one_transaction_id_is_used_once(notify: Both) -> None:
    found: list[nk.TriggerResult] = []

    def work(engine: Any, number: int) -> Any:
        if notify.notifier == "async":

            async def told() -> None:
                for n in range(EACH):
                    found.append(await engine.trigger(ordered(order=number), to="ada", transaction_id=f"t{n}"))

            return told()
        return found.extend(
            engine.trigger(ordered(order=number), to="ada", transaction_id=f"t{n}") for n in range(EACH)
        )

    at_once(notify, work)
    assert (notify.count(Event), notify.count(Run), notify.count(Message)) == (EACH, EACH, EACH)
    assert len([result for result in found if not result.duplicate]) == EACH
    assert {result.recipients for result in found} == {1}


def test_bulks_with_the_same_transaction_ids(notify: Both) -> None:
    def triggers(number: int) -> list[nk.Trigger]:
        order = random.Random(number).sample(range(40), 40)
        return [ordered(order=n).to(f"user-{n % 7}", transaction_id=f"t{n}") for n in order]

    def work(engine: Any, number: int) -> Any:
        return engine.trigger_bulk(triggers(number))

    notify.engine._runtime.chunk = 9
    if notify.place in {"postgresql", "mariadb"}:
        pytest.skip("whole bulks that lock the same ids in different orders may be chosen as a deadlock's victim")
    at_once(notify, work)
    assert (notify.count(Event), notify.count(Message)) == (40, 40)


def test_choices_and_triggers(notify: Both) -> None:
    people(notify, *PEOPLE)

    def work(engine: Any, number: int) -> Any:
        who = random.Random(number).sample(PEOPLE, len(PEOPLE))
        if notify.notifier == "async":

            async def chosen() -> None:
                for each in who:
                    await engine.preferences.update(each, channels={"in_app": bool(number % 2), "email": False})
                    await engine.trigger(hello, to=each)

            return chosen()
        for each in who:
            engine.preferences.update(each, channels={"in_app": bool(number % 2), "email": False})
            engine.trigger(hello, to=each)
        return None

    at_once(notify, work)
    for each in PEOPLE:
        assert notify.preferences.get(each)["email"] is False
    assert notify.count(Run) == WORKERS * len(PEOPLE)


def test_drains_share_the_work(notify: Both) -> None:
    people(notify, *PEOPLE)
    notify.trigger_bulk(shipped(order=n).to(who) for n, who in enumerate(PEOPLE * 5))
    notify.clock.move(hours=2)
    at_once(notify, lambda engine, number: engine.drain())
    notify.drain()
    assert len(notify.outside.sent) == len({message.id for message in notify.outside.sent}) == len(PEOPLE) * 5
    assert notify.count(Message) == len(PEOPLE) * 10
    assert {run.status for run in notify.runs.list(limit=100)} == {"completed"}


def test_a_cancelled_task_leaves_nothing(notify: Both) -> None:
    if notify.notifier == "sync":
        pytest.skip("threads are not cancelled")
    notify.engine._runtime.chunk = 5
    chances = random.Random(5)

    async def events(reached: asyncio.Event) -> AsyncIterator[nk.Trigger]:
        for n in range(1_000):
            if n == 50:
                reached.set()
            yield hello().to(f"user-{n}")

    async def cancelled() -> None:
        reached = asyncio.Event()
        task = asyncio.create_task(notify.engine.trigger_bulk(events(reached)))
        await reached.wait()
        for _ in range(chances.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(notify.engine.trigger(hello, to="ada"), timeout=10)

    for _ in range(8):
        notify.wait(cancelled())
    assert (notify.count(Event), notify.count(Subscriber), notify.count(Run)) == (8, 1, 8)


def test_readers_while_a_bulk_is_on_its_way(notify: Both) -> None:
    """A long bulk is seen as a whole or not at all."""
    people(notify, "ada")
    notify.engine._runtime.chunk = 20
    seen: list[int] = []
    if notify.place == "memory":
        pytest.skip("one connection is one thing at a time")

    if notify.notifier == "async":

        async def both() -> None:
            bulk = asyncio.create_task(notify.engine.trigger_bulk(ordered(order=n).to("ada") for n in range(400)))
            while not bulk.done():
                seen.append(await notify.engine.inbox("ada").unread_count())
            await bulk

        notify.wait(both())
    else:
        bulk = threading.Thread(target=lambda: notify.trigger_bulk(ordered(order=n).to("ada") for n in range(400)))
        bulk.start()
        while bulk.is_alive():
            seen.append(notify.inbox("ada").unread_count())
        bulk.join()
    assert set(seen) <= {0, 400}
    assert notify.inbox("ada").unread_count() == 400
