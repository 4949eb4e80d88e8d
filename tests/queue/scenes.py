"""What is played beside each other: a world in which something waits, and what must be true afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import notifykit as nk
from notifykit.ids import decode_id
from tests.harness.interleaving import Played, Work
from tests.queue.world import World

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


class Scene:
    """A world in which something waits, and two verbs beside each other.

    Attributes:
        workflow: What is triggered.
        times: For how many subscribers.
        is_address: For an address without a subscriber instead.
        raises: Errors that verbs may end with.
        few: How many schedules are played in the default run.
    """

    workflow = advancing
    times = 1
    is_address = False
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
        to: Any = nk.Recipient(email="new@example.com") if self.is_address else self.people
        self.triggered = self.setup.trigger(self.workflow, to=to)
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
        return {decode_id("msg", message.id): message for message in found}

    def runs(self) -> list[nk.Run]:
        """The runs of the trigger."""
        return list(self.setup.runs.list(transaction_id=self.triggered.transaction_id))
