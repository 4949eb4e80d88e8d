"""Cancel, deletion and opt-out beside due work, stopped between their statements, on every database."""

from __future__ import annotations

import pytest

import notifykit as nk
from tests.queue.conftest import Explore
from tests.queue.scenes import Scene, advancing, asking, awaiting

pytestmark = pytest.mark.orphaned  # looked at after each schedule, more closely


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
        assert 0 <= len(stopped) - report.stopped <= report.in_flight, f"{report}, but {stopped}"
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


class CancelAskingAddress(CancelAsking):
    """Where nothing may be left of the address either."""

    is_address = True


@pytest.mark.parametrize(
    "scene",
    [
        Cancel,
        CancelRun,
        CancelWorkflow,
        CancelSubscriber,
        CancelQueued,
        CancelAwaited,
        CancelAsking,
        CancelAskingAddress,
    ],
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
