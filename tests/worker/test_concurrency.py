"""Calls beside each other: threads of the drain's own on the sync notifier, tasks on the awaited one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import notifykit as nk
from notifykit.delivery.rendering import Renderer
from notifykit.model import Job
from tests.behaviour.stories import people
from tests.harness.both import Both

NAMES = tuple(f"user-{n}" for n in range(20))
mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")])
awaited_mail = nk.Workflow(
    "awaited", steps=[nk.Email("mail", subject="s", body="b", stop_on_fail=True), nk.InApp("bell", body="b")]
)
pytestmark = pytest.mark.uneven


class Gate:
    """Holds calls until as many are under way as are waited for: without an overlap nobody gets through."""

    def __init__(self, notifier: str, wanted: int) -> None:
        self.notifier = notifier
        self.barrier = threading.Barrier(wanted, timeout=30)
        self.wanted = wanted
        self.most = self.now = 0
        self.threads: set[int] = set()
        self.event = asyncio.Event()

    def hook(self, message: Any) -> None:
        """A hook that blocks."""
        self.threads.add(threading.get_ident())
        self.barrier.wait()

    async def awaited(self, message: Any) -> None:
        """A hook that awaits."""
        self.threads.add(threading.get_ident())
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now == self.wanted:
            self.event.set()
        await asyncio.wait_for(self.event.wait(), 30)
        self.now -= 1


@pytest.fixture
def opened(house: Callable[..., Both]) -> Callable[..., Both]:
    def open_(hook: Any, **options: Any) -> Both:
        notify = house(hooks=False, workflows=[mail, awaited_mail], **options)
        people(notify, *NAMES)
        notify.engine.deliver("email")(hook)
        return notify

    return open_


def test_calls_overlap_where_it_is_asked_for(opened: Callable[..., Both], variant: tuple[Any, Any]) -> None:
    gate = Gate(variant[0], 4)
    notify = opened(gate.awaited if variant[0] == "async" else gate.hook)
    notify.trigger(mail(), to=NAMES)
    assert notify.drain(concurrency=4).sent == len(NAMES)
    here = threading.get_ident()
    assert here not in gate.threads or variant[0] == "async"
    assert notify.count(Job) == 0


def test_hooks_that_block_overlap_on_the_awaited_notifier_too(
    opened: Callable[..., Both], variant: tuple[Any, Any]
) -> None:
    gate = Gate(variant[0], 10)
    notify = opened(gate.hook)
    notify.trigger(mail(), to=NAMES)
    assert notify.drain(concurrency=10).sent == len(NAMES)


def test_one_call_at_a_time_in_the_calling_thread_is_the_default(
    opened: Callable[..., Both], variant: tuple[Any, Any]
) -> None:
    threads: set[int] = set()

    async def awaited(message: Any) -> None:
        threads.add(threading.get_ident())

    notify = opened(awaited if variant[0] == "async" else lambda message: threads.add(threading.get_ident()))
    notify.trigger(mail(), to=NAMES)
    notify.drain()
    assert threads == {threading.get_ident()}


def test_runs_that_wait_go_on_beside_calls(opened: Callable[..., Both], variant: tuple[Any, Any]) -> None:
    async def awaited(message: Any) -> None: ...

    notify = opened(awaited if variant[0] == "async" else lambda message: None)
    notify.trigger(awaited_mail(), to=NAMES)
    report = notify.drain(concurrency=3)
    assert (report.sent, report.advanced, report.next_due) == (20, 20, None)
    assert {run.status for run in notify.runs.list()} == {"completed"}


def test_a_call_that_hangs_is_unknown_and_left_behind(
    opened: Callable[..., Both], variant: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    async def awaited(message: nk.EmailMessage) -> None:
        if message.subscriber_id == "user-3":
            await asyncio.sleep(60)

    def hook(message: nk.EmailMessage) -> None:
        if message.subscriber_id == "user-3":
            release.wait(60)

    notify = opened(awaited if variant[0] == "async" else hook)
    result = notify.trigger(mail(), to=NAMES)
    try:
        report = notify.drain(concurrency=2, timeout=0.2)
        assert (report.sent, report.failed) == (19, 0)
        (hung,) = notify.messages.list(status="unknown")
        assert (hung.subscriber_id, hung.reason) == ("user-3", "no answer within 0.2 seconds")
        assert [each.outcome for each in notify.messages.get(hung.id).attempts] == ["unknown"]
        assert "0.2 seconds" in caplog.text
        assert notify.drain(result).next_due is None
        assert notify.messages.retry(hung) == 1
    finally:
        release.set()


def test_a_sync_hook_that_hangs_leaves_its_thread_behind(opened: Callable[..., Both]) -> None:
    release = threading.Event()

    def hook(message: nk.EmailMessage) -> None:
        if message.subscriber_id == "user-3":
            release.wait(60)

    notify = opened(hook)
    notify.trigger(mail(), to=NAMES)
    try:
        assert notify.drain(concurrency=4, timeout=0.2).sent == 19
        assert [message.status for message in notify.messages.list(status="unknown")] == ["unknown"]
    finally:
        release.set()


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_what_stops_the_process_is_raised_where_the_drain_is(
    opened: Callable[..., Both], variant: tuple[Any, Any], stop: type[BaseException]
) -> None:
    called: list[str] = []

    def act(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        if message.subscriber_id == "user-5":
            raise stop

    async def awaited(message: nk.EmailMessage) -> None:
        act(message)

    notify = opened(awaited if variant[0] == "async" else act)
    notify.trigger(mail(), to=NAMES)
    with pytest.raises(stop):
        notify.drain(concurrency=3)
    assert notify.drain(concurrency=3).sent + len(called) >= 20
    assert sorted(called) == sorted(NAMES)
    notify.clock.move(minutes=1)
    sent = {message.subscriber_id for message in notify.messages.list(status="sent", limit=100)}
    assert "user-5" not in sent


def test_two_drains_at_once_share_what_is_due(opened: Callable[..., Both], variant: tuple[Any, Any]) -> None:
    gate, met = Gate(variant[0], 2), list[str]()

    def hook(message: nk.EmailMessage) -> None:
        met.append(message.subscriber_id)
        if len(met) <= 2:  # the first call of each drain: neither has everything for itself
            gate.hook(message)

    async def awaited(message: nk.EmailMessage) -> None:
        met.append(message.subscriber_id)
        if len(met) <= 2:
            await gate.awaited(message)

    notify = opened(awaited if variant[0] == "async" else hook)
    notify.trigger(mail(), to=NAMES[:10])
    if variant[0] == "async":

        async def both() -> list[nk.DrainReport]:
            return await asyncio.gather(notify.engine.drain(), notify.engine.drain())

        reports = notify.wait(both())
    else:
        reports = []
        threads = [threading.Thread(target=lambda: reports.append(notify.drain())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(report.sent for report in reports)
    assert sum(report.sent for report in reports) == 10
    assert sorted(met) == sorted(NAMES[:10])


@pytest.mark.table
@pytest.mark.parametrize(
    "given", [{"concurrency": 0}, {"concurrency": 1.5}, {"concurrency": True}, {"concurrency": "8"}, {"timeout": 0}]
)
def test_what_is_no_number_of_calls(opened: Callable[..., Both], given: dict[str, Any]) -> None:
    notify = opened(lambda message: None)
    with pytest.raises(nk.InputError, match=next(iter(given))):
        notify.drain(**given)


def test_a_task_that_cancels_itself_is_unknown_and_ends_the_drain(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=[mail], notifier="async")
    people(notify, *NAMES)
    own: list[str] = []

    async def cancelling(message: nk.EmailMessage) -> None:
        task = asyncio.current_task()
        if message.subscriber_id == "user-3" and not own:
            own.append(message.subscriber_id)
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    notify.engine.deliver("email")(cancelling)
    notify.trigger(mail(), to=NAMES)
    assert notify.drain(concurrency=2).sent == len(NAMES) - 1
    notify.clock.move(minutes=1)
    assert notify.drain(concurrency=2).sent == 1


def test_a_template_that_takes_longer_than_a_claim_lasts_is_sent(
    opened: Callable[..., Both], variant: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Renderer.prepare

    def slow(self: Any, delivery: Any) -> Any:
        threading.Event().wait(0.07)
        return prepare(self, delivery)

    monkeypatch.setattr(Renderer, "prepare", slow)

    async def awaited(message: Any) -> None: ...

    notify = opened(awaited if variant[0] == "async" else lambda message: None)
    notify.trigger(mail(), to=NAMES[:3])
    assert notify.drain(concurrency=2).sent == 3


def test_a_custom_step_without_an_answer_has_failed(house: Callable[..., Both], variant: tuple[Any, Any]) -> None:
    release = threading.Event()

    def hang(context: Any) -> None:
        release.wait(5)  # an answer after all, to a drain that waits longer than it was told

    asks = nk.Workflow("asks", steps=[nk.Custom("ask", hang, stop_on_fail=True), nk.InApp("bell", body="b")])
    notify = house(hooks=False, workflows=[asks])
    people(notify, "ada")
    notify.trigger(asks(), to="ada")
    try:
        notify.drain(concurrency=2, timeout=0.1)
    finally:
        release.set()
    (run,) = notify.runs.list()
    assert (run.status, notify.inbox("ada").unread_count()) == ("failed", 0)
