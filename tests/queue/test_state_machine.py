"""The queue against its model: any verbs, in any order, on several workers that may be interrupted at any statement."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import notifykit as nk
from notifykit.ids import decode_id, encode_id
from notifykit.model import metadata
from notifykit.model.codes import ChannelCode, MessageStatus
from tests.harness.interleaving import Locks, play
from tests.harness.invariants import wrong_counts
from tests.harness.points import interrupted, point, standing
from tests.queue.conftest import MakeWorld
from tests.queue.model import Model
from tests.queue.world import World

message, attempt = (metadata.tables[f"notifykit_{name}"] for name in ("message", "delivery_attempt"))


def score(context: nk.Context[Any]) -> dict[str, int]:
    """A function of the host."""
    point("asks")
    return {"points": 1}


WORKFLOWS = (
    nk.Workflow("plain", steps=[nk.Email("mail", subject="s", body="b")]),
    nk.Workflow(
        "awaiting", steps=[nk.Email("mail", subject="s", body="b", stop_on_fail=True), nk.InApp("bell", body="b")]
    ),
    nk.Workflow("delayed", steps=[nk.Delay("wait", hours=1), nk.Email("mail", subject="s", body="b")]),
    nk.Workflow("asking", steps=[nk.Custom("score", score), nk.Email("mail", subject="s", body="b")]),
)
WORKERS = ("a", "b")
PEOPLE = ("ada", "bob", "cy")
ERRORS = {"permanent": nk.PermanentDeliveryError("no"), "transient": nk.TransientDeliveryError("busy")}

workers, people, indexes = st.sampled_from(WORKERS), st.sampled_from(PEOPLE), st.integers(0, 3)
points = st.one_of(st.integers(0, 15), st.integers(0, 60))
minutes = st.sampled_from([70, 2, 0])
places = st.one_of(st.tuples(st.just(""), st.integers(0, 40)), st.tuples(st.just("calls"), st.integers(0, 3)))
"""Where a drain is interrupted: at a statement, or in a call."""
plans = st.lists(st.sampled_from(["sent", "permanent", "transient"]), max_size=4)
verbs = st.tuples(st.sampled_from(["cancel", "delete", "refuse", "accept", "retry", "drain"]), people, indexes)
Verb = tuple[str, str, int]
Triggered = tuple[nk.Workflow[Any, ...], set[str]]
groups = st.sets(people, min_size=1)
triggers = st.tuples(st.sampled_from(WORKFLOWS), groups)


class Queue(RuleBasedStateMachine):
    """Any verbs in any order."""

    world: World
    locks: Locks

    def __init__(self) -> None:
        super().__init__()
        self.world.set(*WORKERS)
        self.world.dirty = True
        self.world.begins, self.world.answer = self.begins, self.answer
        self.model = Model(self.world.clock.now)
        self.plan: deque[str] = deque()
        self.inside: Callable[[], None] | None = None
        self.events: list[str] = []
        self.setup = self.world.worker("setup")
        self.started = 0

    # The outside

    def begins(self, row: int) -> None:
        """A hook is entered."""
        self.outcome = self.plan.popleft() if self.plan else "sent"
        with standing(None):
            self.model.begins(row, self.outcome)

    def answer(self, _: Any) -> str:
        """A hook ends."""
        outcome, verb = self.outcome, self.inside
        if verb is not None:
            self.inside = None
            verb()
        if outcome in ERRORS:
            raise ERRORS[outcome]
        return "receipt"

    # Looking

    def rows(self) -> dict[int, MessageStatus]:
        """The messages to the outside and how they are."""
        ask = sa.select(message.c.id, message.c.status).where(message.c.channel != ChannelCode.IN_APP.value)
        with standing(None), self.world.looking() as connection:
            return {
                row: MessageStatus(status) for row, status in connection.execute(ask) if row >> 6 in self.model.runs
            }

    def who(self, name: str) -> str:
        """A subscriber of this example."""
        return self.world.unique(name)

    # Verbs

    def do(self, verb: Verb, worker: str, beside: nk.Engine | None = None) -> None:
        """A verb, and what the model says to it.

        Args:
            verb: Which, to whom.
            worker: Whose engine does it.
            beside: The engine of a drain that is under way: what it has claimed may begin yet.
        """
        name, person, index = verb
        engine, who = self.world.worker(worker), self.who(person)
        if name == "cancel":
            event = self.events[index % len(self.events)]
            report = engine.cancel(event)
            claimed = self.claimed(beside)
            rows = [row for row in claimed if self.model.runs[row >> 6].event == event]
            if len(rows) > report.in_flight:
                self.model.wrong.append(f"{report}, but {len(rows)} calls were about to begin")
            self.model.stopped(lambda run: run.event == event, self.rows(), claimed)
        elif name == "delete" and engine.subscribers.find(who):
            engine.subscribers.delete(who)
            self.model.stopped(lambda run: run.who == who, self.rows(), self.claimed(beside))
            self.model.refusing.discard(who)
        elif name in {"refuse", "accept"} and engine.subscribers.find(who):
            engine.preferences.update(who, channels={"email": name == "accept"})
            if name == "refuse":
                self.model.refused(who, self.rows(), self.claimed(beside))
            else:
                self.model.refusing.discard(who)
        elif name == "retry":
            final = (MessageStatus.FAILED, MessageStatus.UNKNOWN)
            rows = [row for row, status in sorted(self.rows().items()) if status in final]
            if rows and engine.messages.retry(encode_id("msg", rows[index % len(rows)])):
                self.model.retried(rows[index % len(rows)])
        elif name == "drain":
            engine.drain()

    def claimed(self, beside: nk.Engine | None) -> set[int]:
        """What another worker has claimed and not begun."""
        if beside is None:
            return set()
        with standing(None):
            return (self.world.claimed(beside) - set(self.world.entered[self.started :])) & self.rows().keys()

    @initialize(first=triggers, others=st.lists(triggers, max_size=2))
    def begin(self, first: Triggered, others: list[Triggered]) -> None:
        """Something has been triggered."""
        for workflow, names in (first, *others):
            self.trigger(workflow, names, "a")

    @rule(workflow=st.sampled_from(WORKFLOWS), names=groups, worker=workers)
    def trigger(self, workflow: nk.Workflow[Any, ...], names: set[str], worker: str) -> None:
        for name in names:
            self.setup.subscribers.upsert(self.who(name), email=f"{name}@example.com")
        result = self.world.worker(worker).trigger(workflow, to=[self.who(name) for name in sorted(names)])
        runs = self.setup.runs.list(transaction_id=result.transaction_id)
        self.events.append(result.transaction_id)
        self.model.triggered(result.transaction_id, [(decode_id("run", run.id), run.subscriber_id) for run in runs])

    @rule(verb=verbs, worker=workers)
    def verb(self, verb: Verb, worker: str) -> None:
        self.do(verb, worker)

    @rule(worker=workers, plan=plans)
    def drain(self, worker: str, plan: list[str]) -> None:
        self.plan.extend(plan)
        self.world.worker(worker).drain()
        self.plan.clear()

    @rule(worker=workers, plan=plans, place=places, deadly=st.booleans())
    def interrupted_drain(self, worker: str, plan: list[str], place: tuple[str, int], deadly: bool) -> None:
        among, at = place
        self.plan.extend(plan)
        start, engine = len(self.world.entered), self.world.worker(worker)
        if interrupted(engine.drain, at, among=among, deadly=deadly):
            begun = self.world.entered[start:]
            if len(self.world.entered) > len(self.world.calls):
                self.model.mail(begun[-1]).calls[-1] = "dark"
                self.world.calls.append(begun[-1])
            queued = {row for row, status in self.rows().items() if status is MessageStatus.QUEUED}
            claimed = self.world.claimed(engine) & self.rows().keys()
            self.model.interrupted(begun, queued, deadly=deadly, claimed=claimed)
        if deadly:
            self.world.bury(worker)
        self.plan.clear()

    @rule(fresh=triggers, plan=plans, at=points, verb=verbs, minutes=minutes)
    def drain_beside(self, fresh: Triggered, plan: list[str], at: int, verb: Verb, minutes: int) -> None:
        """A verb of another worker, between two statements of a drain; about what was triggered last, or earlier."""
        self.trigger(*fresh, "b")
        verb = (verb[0], min(fresh[1]), -1) if verb[2] else verb
        self.world.clock.move(minutes=minutes)
        self.plan.extend(plan)
        self.started, engine = len(self.world.entered), self.world.worker("a")
        works = {"drain": engine.drain, "verb": lambda: self.do(verb, "b", beside=engine)}
        played = play(works, [("drain", at), ("verb", None)], self.locks)
        played.result("drain")
        played.result("verb")
        self.plan.clear()

    @rule(plan=plans, verb=verbs.filter(lambda verb: verb[0] != "drain"), worker=workers)
    def drain_around(self, plan: list[str], verb: Verb, worker: str) -> None:
        """A verb of the same engine, inside the first call of a drain: it holds at once."""
        self.plan.extend(plan)
        self.inside = lambda: self.do(verb, worker)
        self.world.worker(worker).drain()
        self.inside = None
        self.plan.clear()

    @rule(minutes=minutes)
    def time(self, minutes: int) -> None:
        self.world.clock.move(minutes=minutes)

    # What is true

    @invariant()
    def holds(self) -> None:
        self.world.check()
        assert not self.model.wrong, self.model.wrong

    def teardown(self) -> None:
        """With the clock far ahead everything ends, as the model says."""
        if not self.world.dirty or self.model.wrong:
            return
        self.world.settle()
        self.world.check(settled=True)
        assert not self.model.wrong, self.model.wrong
        ask = sa.select(attempt.c.message, sa.func.count()).group_by(attempt.c.message)
        with self.world.looking() as connection:
            attempts: dict[int, int] = {row: count for row, count in connection.execute(ask)}  # noqa: C416
        for row, status in self.rows().items():
            told = f"{row:x} is {status.word} after {self.model.mail(row)} of {self.model.runs[row >> 6]}"
            assert status.word in self.model.endings(row), told
            assert attempts.get(row, 0) in self.model.attempts(row), f"{told}, with {attempts.get(row, 0)} attempts"
        assert wrong_counts(self.setup, [self.who(name) for name in PEOPLE]) == {}
        self.world.dirty = False


SIZES = [pytest.param((30, 8, 15), id="few"), pytest.param((2_000, 500, 40), id="many", marks=pytest.mark.slow)]


def machine(world: World, locks: Locks) -> type[Queue]:
    """The state machine in a world."""
    return type("Here", (Queue,), {"world": world, "locks": locks})


@pytest.mark.orphaned
@pytest.mark.parametrize("size", SIZES)
def test_it_is_as_its_model_says(
    make_world: MakeWorld, locks_of: Callable[[World], Locks], size: tuple[int, int, int]
) -> None:
    world = make_world(*WORKFLOWS)
    on_file, on_server, steps = size
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine(world, locks_of(world)),
        settings=settings(
            max_examples=on_file if world.name == "file" else on_server,
            stateful_step_count=steps,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )


@pytest.mark.orphaned
@pytest.mark.parametrize("spread", [pytest.param(5, id="few"), pytest.param(1, id="many", marks=pytest.mark.slow)])
@pytest.mark.parametrize("deadly", [False, True], ids=["interrupted", "killed"])
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.key)
def test_a_worker_ends_at_any_point(
    make_world: MakeWorld,
    locks_of: Callable[[World], Locks],
    workflow: nk.Workflow[Any, ...],
    deadly: bool,
    spread: int,
) -> None:
    world = make_world(*WORKFLOWS)
    kind = machine(world, locks_of(world))
    step = 1 if world.name == "file" else spread
    wrong = {}
    for at in [("", at) for at in range(0, 50, step)] + [("calls", 0), ("calls", 1)]:
        queue = kind()
        queue.begin((workflow, {"ada", "bob"}), [])
        queue.time(70)
        queue.interrupted_drain("a", ["sent", "permanent"], at, deadly)
        try:
            queue.holds()
            queue.teardown()
        except Exception as error:
            wrong[at] = error
    assert not wrong, f"interrupted at {list(wrong)}: {next(iter(wrong.values()))!r}"
