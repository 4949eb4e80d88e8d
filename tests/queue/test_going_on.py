"""Retry beside due work, and several workers beside each other, stopped between their statements, on every database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import notifykit as nk
from tests.harness.interleaving import Locks, play
from tests.queue.conftest import Explore, MakeWorld
from tests.queue.scenes import Scene, asking, awaiting, plain
from tests.queue.world import World

pytestmark = pytest.mark.orphaned  # looked at after each schedule, more closely


# Retry


class Retry(Scene):
    """A message is queued again beside due work of its own run, which waits for the outcome; its first call fails."""

    workflow = awaiting

    def prepare(self) -> None:
        self.mail = next(row for row, message in self.messages().items() if message.channel == "email")
        self.world.answer = self.fail_once

    def fail_once(self, message: Any) -> str:
        if self.world.calls.count(self.mail) == 1 and self.world.calls[-1] == self.mail:
            raise nk.PermanentDeliveryError("no")
        return "receipt"

    def second(self) -> int:
        return self.b.messages.retry(f"msg_{self.mail:x}")

    def retried(self) -> int:
        return int(self.world.returned["second"].answer)

    def verify(self) -> None:
        calls = self.world.calls.count(self.mail)
        assert calls == 1 + self.retried(), f"retried {self.retried()} times and called {calls} times"
        message = self.setup.messages.get(f"msg_{self.mail:x}")
        assert message.status == ("sent" if self.retried() else "failed")
        assert [attempt.number for attempt in message.attempts] == list(range(1, calls + 1))
        [run] = self.runs()
        texts = [each for each in self.messages().values() if each.channel == "sms"]
        if run.status == "completed":
            assert [text.status for text in texts] == ["sent"]
        else:
            assert (run.status, texts) == ("failed", [])


class RetryFinal(Retry):
    """The same after the run has ended by the failure."""

    def prepare(self) -> None:
        super().prepare()
        self.setup.drain()


class RetryTwice(RetryFinal):
    """Two retries of the same message: one of them queues it."""

    def first(self) -> int:
        return self.a.messages.retry(f"msg_{self.mail:x}")

    def retried(self) -> int:
        return sum(returned.answer for returned in self.world.returned.values())


@pytest.mark.parametrize("scene", [Retry, RetryFinal])
def test_retry_beside_due_work(explored: Explore, scene: type[Retry]) -> None:
    assert explored(scene) > 4


def test_retry_beside_retry(explored: Explore) -> None:
    assert explored(RetryTwice) > 4


class RetryAndCancel(RetryFinal):
    """A retry beside a cancel: what was queued again is stopped, or the cancel came first and found nothing."""

    workflow = plain

    def first(self) -> nk.CancelReport:
        return self.a.cancel(self.triggered)

    def verify(self) -> None:
        report: nk.CancelReport = self.world.returned["first"].answer
        assert self.retried() == 1
        assert self.world.calls.count(self.mail) == 2 - report.stopped
        assert self.setup.messages.get(f"msg_{self.mail:x}").status == ("cancelled" if report.stopped else "sent")


def test_retry_beside_cancel(explored: Explore) -> None:
    assert explored(RetryAndCancel) > 4


# Due work beside due work


class Drains(Scene):
    """Two workers on the work of several subscribers."""

    times = 3

    def prepare(self) -> None:
        self.world.clock.move(hours=2)

    def second(self) -> nk.DrainReport:
        return self.b.drain()

    def verify(self) -> None:
        super().verify()
        assert {run.status for run in self.runs()} == {"completed"}
        assert {message.status for message in self.messages().values()} == {"sent"}
        assert len(self.world.calls) == 2 * self.times


class DrainsAwaited(Drains):
    """Where each run goes on by what the calls come to."""

    workflow = awaiting


class DrainsAsking(Drains):
    """Where each run goes on by a function of the host."""

    workflow = asking

    def verify(self) -> None:
        Scene.verify(self)
        assert {run.status for run in self.runs()} == {"completed"}
        assert len(self.world.calls) == self.times


@pytest.mark.parametrize("scene", [Drains, DrainsAwaited, DrainsAsking])
def test_two_workers(explored: Explore, scene: type[Drains]) -> None:
    assert explored(scene) > 4


# Three at once


class Three(Drains):
    """Two workers, and a verb of a third."""

    times = 2
    reaches = (48, 24)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.works = {**self.works, "third": world.noted("third", self.third)}

    def third(self) -> Any:
        """What the third actor does."""
        raise NotImplementedError


class ThreeCancel(Three):
    """A cancel."""

    def third(self) -> nk.CancelReport:
        return self.setup.cancel(self.triggered)

    def verify(self) -> None:
        Scene.verify(self)
        report: nk.CancelReport = self.world.returned["third"].answer
        assert not self.world.called_after("third")
        stopped = [run for run in self.runs() if run.status == "cancelled"]
        stopped += [message for message in self.messages().values() if message.status == "cancelled"]
        assert 0 <= len(stopped) - report.stopped <= report.in_flight, f"{report}, but {stopped}"


class ThreeRetry(Three, Retry):
    """A retry of a message whose run waits for it, while one worker has not yet let the run go on."""

    times = 1
    workflow = awaiting
    reaches = (60, 8)

    def prepare(self) -> None:
        Retry.prepare(self)

    def third(self) -> int:
        return self.setup.messages.retry(f"msg_{self.mail:x}")

    def retried(self) -> int:
        return int(self.world.returned["third"].answer)

    def verify(self) -> None:
        Retry.verify(self)


@pytest.mark.parametrize("spread", [pytest.param(8, id="few"), pytest.param(1, id="many", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [ThreeCancel, ThreeRetry])
def test_two_workers_and_a_verb(
    make_world: MakeWorld, locks_of: Callable[[World], Locks], kind: type[Three], spread: int
) -> None:
    world = make_world(kind.workflow)
    locks = locks_of(world)
    reach, then_reach = kind.reaches
    for at in range(0, reach, spread):
        for then in range(2, then_reach, spread):
            scene = kind(world)
            played = play(scene.works, [("first", at), ("second", then), ("third", None), ("second", None)], locks)
            try:
                scene.check(played)
            except Exception as error:
                raise AssertionError(f"first {at}, second {then}: {error!r}\n{played}") from error
