"""Each verb of the queue beside each other one, stopped between its statements, on every database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

import notifykit as nk
from notifykit.ids import number_of
from tests.harness.interleaving import Locks, Played, Work, explore, play
from tests.queue.conftest import MakeWorld
from tests.queue.world import World

pytestmark = pytest.mark.orphaned  # looked at after each schedule, more closely
MANY = 200
LIMITS = [pytest.param(1, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]

advancing = nk.Workflow(
    "advancing",
    steps=[
        nk.Email("first", subject="s", body="b"),
        nk.Delay("wait", hours=1),
        nk.Custom("score", lambda context: {"points": 1}, pure=True),
        nk.Email("second", subject="s", body="b"),
    ],
)
awaiting = nk.Workflow(
    "awaiting",
    steps=[nk.Email("mail", subject="s", body="b", stop_on_fail=True), nk.Sms("text", body="b")],
)
plain = nk.Workflow("plain", steps=[nk.Email("mail", subject="s", body="b")])
asking = nk.Workflow(
    "asking", steps=[nk.Custom("score", lambda context: {"points": 1}), nk.Email("mail", subject="s", body="b")]
)
Explore = Callable[[type["Scene"]], int]


class Scene:
    """A world in which something waits, and two verbs beside each other.

    Attributes:
        workflow: What is triggered.
        times: For how many subscribers.
        raises: Errors that verbs may end with.
        few: How many schedules are played in the default run.
    """

    workflow = advancing
    times = 1
    few = 16
    raises: tuple[type[Exception], ...] = ()

    def __init__(self, world: World) -> None:
        self.world = world
        world.set("a", "b")
        self.a, self.b = world.worker("a"), world.worker("b")
        self.setup = world.worker("setup")
        self.people = [world.unique(f"user{n}") for n in range(self.times)]
        for who in self.people:
            self.setup.subscribers.upsert(who, email="someone@example.com", phone="+100")
        world.dirty = True
        self.triggered = self.setup.trigger(self.workflow, to=self.people)
        self.prepare()
        self.works: Mapping[str, Work] = {
            "first": world.noted("first", self.first),
            "second": world.noted("second", self.second),
        }

    def prepare(self) -> None:
        """What has happened before."""

    def first(self) -> Any:
        """What the first actor does: due work, most often."""
        return self.a.drain()

    def second(self) -> Any:
        """What the second actor does beside it."""
        raise NotImplementedError

    def check(self, played: Played) -> None:
        """All is well at once, and once everything has been done."""
        for name in played.actors:
            try:
                played.result(name)
            except self.raises:
                self.world.returned.pop(name, None)
        self.world.check()
        self.world.settle()
        self.world.check(settled=True)
        self.verify()
        self.world.dirty = False

    def verify(self) -> None:
        """What these verbs answered is true; by default every message is called for once."""
        assert len(set(self.world.calls)) == len(self.world.calls), f"called twice: {self.world.calls}"

    def messages(self) -> dict[int, nk.Message]:
        """The messages of the trigger."""
        found = self.setup.messages.list(transaction_id=self.triggered.transaction_id, limit=1000)
        return {number_of("msg", message.id): message for message in found}

    def runs(self) -> list[nk.Run]:
        """The runs of the trigger."""
        return list(self.setup.runs.list(transaction_id=self.triggered.transaction_id))


@pytest.fixture(params=LIMITS)
def explored(request: pytest.FixtureRequest, make_world: MakeWorld, locks_of: Callable[[World], Locks]) -> Explore:
    """Plays a scene under many schedules."""

    def explored(scene: type[Scene]) -> int:
        world = make_world(scene.workflow)
        few = scene.few // 2 if world.name == "mariadb" else scene.few  # as PostgreSQL, but slower
        return explore(lambda: scene(world), locks_of(world), limit=max(few, request.param))

    return explored


# Cancel


class Cancel(Scene):
    """Cancel beside due work."""

    is_first_sent = True

    def prepare(self) -> None:
        if self.is_first_sent:
            self.setup.drain()
            self.world.forget()
        self.world.clock.move(hours=2)

    def second(self) -> nk.CancelReport:
        return self.b.cancel(self.triggered)

    def verify(self) -> None:
        super().verify()
        report: nk.CancelReport = self.world.returned["second"].answer
        after = self.world.called_after("second")
        assert not after, f"{report}, but calls began for {after}"
        later = self.world.calls[self.world.returned["second"].calls :]
        assert len(later) <= report.in_flight, f"{report}, but calls began for {later}"
        stopped = [run for run in self.runs() if run.status == "cancelled"]
        stopped += [message for message in self.messages().values() if message.status == "cancelled"]
        assert len(stopped) == report.stopped, f"{report}, but {stopped}"
        if not report.in_flight:
            assert {run.status for run in self.runs()} <= {"cancelled", "completed"}


class CancelRun(Cancel):
    """By a run's id."""

    few = 6

    def prepare(self) -> None:
        super().prepare()
        [self.run] = self.runs()

    def second(self) -> nk.CancelReport:
        return self.b.cancel(self.run.id)


class CancelWorkflow(Cancel):
    """By workflow, whose runs of earlier scenes are all over."""

    few = 6

    def second(self) -> nk.CancelReport:
        return self.b.cancel(workflow=self.workflow)


class CancelSubscriber(Cancel):
    """By subscriber."""

    few = 6

    def second(self) -> nk.CancelReport:
        return self.b.cancel(subscriber=self.people[0])


class CancelQueued(Cancel):
    """Where the first message has not been sent yet."""

    is_first_sent = False


class CancelAwaited(CancelQueued):
    """Where the run waits for the outcome of its message."""

    workflow = awaiting


class CancelAsking(CancelQueued):
    """Where the run waits for a function of the host."""

    workflow = asking


@pytest.mark.parametrize(
    "scene", [Cancel, CancelRun, CancelWorkflow, CancelSubscriber, CancelQueued, CancelAwaited, CancelAsking]
)
def test_cancel_beside_due_work(explored: Explore, scene: type[Cancel]) -> None:
    assert explored(scene) > 4


class CancelTwice(CancelQueued):
    """Two cancels of the same: each message is stopped by one of them."""

    def first(self) -> nk.CancelReport:
        return self.a.cancel(subscriber=self.people[0])

    def verify(self) -> None:
        one, other = (self.world.returned[name].answer for name in ("first", "second"))
        assert one.stopped + other.stopped == 2
        assert self.world.calls == []


def test_cancel_beside_cancel(explored: Explore) -> None:
    assert explored(CancelTwice) > 4


# Deleted subscribers


class Delete(Cancel):
    """A subscriber is deleted beside due work."""

    def second(self) -> None:
        self.b.subscribers.delete(self.people[0])

    def verify(self) -> None:
        Scene.verify(self)
        after = self.world.called_after("second")
        assert not after, f"calls began for {after} after the subscriber was deleted"


class DeleteQueued(Delete):
    """Where the first message has not been sent yet."""

    is_first_sent = False


class DeleteAwaited(DeleteQueued):
    """Where the run waits for the outcome of its message."""

    workflow = awaiting


class DeleteAsking(DeleteQueued):
    """Where the run waits for a function of the host."""

    workflow = asking


@pytest.mark.parametrize("scene", [Delete, DeleteQueued, DeleteAwaited, DeleteAsking])
def test_delete_beside_due_work(explored: Explore, scene: type[Delete]) -> None:
    assert explored(scene) > 4


class DeleteAndTrigger(Scene):
    """A subscriber is deleted beside a trigger for it: it is triggered before or made anew, and no run is left over."""

    workflow = advancing

    def first(self) -> nk.TriggerResult:
        return self.a.trigger(advancing, to=self.people[0])

    def second(self) -> None:
        self.b.subscribers.delete(self.people[0])

    def verify(self) -> None:
        assert self.world.returned["first"].answer.recipients == 1
        assert self.world.calls == []
        [run] = self.setup.runs.list(transaction_id=self.world.returned["first"].answer.transaction_id)
        assert (run.status, run.reason) in {("completed", "no_address"), ("cancelled", "subscriber deleted")}


class DeleteAndTriggerAwaited(DeleteAndTrigger):
    """With a run that waits for an outcome."""

    workflow = awaiting

    def first(self) -> nk.TriggerResult:
        return self.a.trigger(awaiting, to=self.people[0])


@pytest.mark.parametrize("scene", [DeleteAndTrigger, DeleteAndTriggerAwaited])
def test_delete_beside_trigger(explored: Explore, scene: type[Scene]) -> None:
    assert explored(scene) > 4


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


# Opt-outs


class OptOut(Scene):
    """An opt-out beside due work: nothing begins once it has returned, but for what was claimed."""

    workflow = awaiting

    def second(self) -> None:
        self.b.preferences.update(self.people[0], channels={"email": False, "sms": False})

    def verify(self) -> None:
        super().verify()
        after = self.world.called_after("second")
        assert not after, f"calls began for {after} after the opt-out returned"
        for row, message in self.messages().items():
            assert message.status == ("sent" if row in self.world.calls else "skipped")


class OptOutDelayed(OptOut):
    """With runs that go on after a delay."""

    workflow = advancing

    def prepare(self) -> None:
        self.world.clock.move(hours=2)


@pytest.mark.parametrize("scene", [OptOut, OptOutDelayed])
def test_opt_out_beside_due_work(explored: Explore, scene: type[OptOut]) -> None:
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
        assert len(stopped) == report.stopped, f"{report}, but {stopped}"


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
