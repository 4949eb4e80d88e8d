"""One call to make, and the gate that says whether it may still start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from notifykit.clock import Clock, monotonic
from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.routing import Sender
from notifykit.settings import STARTS_WITHIN
from notifykit.unit_of_work.stops import Stops


@dataclass(frozen=True, slots=True)
class CallInput:
    """What a function is called with, and what was rendered for it."""

    argument: Any
    content: Mapping[str, Any] | None = None


@dataclass(slots=True)
class StartGate:
    """When the calls of one claim may start; those that have not by then are given back.

    Attributes:
        clock: The engine's clock.
        lease_until: From then on the jobs may be somebody else's.
        stops: Whom this process stops.
        since: The last number of `stops` that the claim has seen.
        deadline: From then on (`clock.monotonic`) the budget of the drain is spent; the first call starts in any case.
        closes: From then on (`clock.monotonic`) what was looked at when it was claimed is too old.
        is_used: A call has started.
        lock: Held while it is decided whether a call starts.
    """

    clock: Clock
    lease_until: datetime
    stops: Stops = field(default_factory=Stops)
    since: int = 0
    deadline: float | None = None
    closes: float | None = None
    is_used: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """The claim is committed."""
        self.closes = monotonic() + STARTS_WITHIN

    @property
    def is_late(self) -> bool:
        """Whether what was looked at when it was claimed is too old."""
        return self.closes is not None and monotonic() >= self.closes

    def is_open(self) -> bool:
        """Whether one more call may start."""
        is_spent = self.is_used and self.deadline is not None and monotonic() >= self.deadline
        return not self.is_late and not is_spent and self.clock.now() < self.lease_until


@dataclass(slots=True, eq=False)
class Call:
    """One call to make.

    Attributes:
        delivery: The job that it is made for.
        sender: Whom to call.
        prepare: Makes what it is called with; renders.
        gate: Says whether it may start.
        parse: Makes a custom step's result of what was answered; raises `PermanentDeliveryError` where it is none.
        since: When it was its turn, by `clock.monotonic`.
        has_started: It was made, or is under way.
        is_revoked: It may not start any more.
        seconds: How long it took, with what is rendered for it.
    """

    delivery: ClaimedDelivery
    sender: Sender
    prepare: Callable[[], CallInput]
    gate: StartGate
    parse: Callable[[Any], Mapping[str, Any] | None] | None = None
    since: float = 0.0
    has_started: bool = False
    is_revoked: bool = False
    seconds: float = 0.0

    @property
    def age(self) -> float:
        """Seconds since it was its turn."""
        return monotonic() - self.since

    def start(self) -> bool:
        """Start, unless somebody in this process has stopped it since the claim; whether it does."""
        gate, facts = self.gate, self.delivery.facts
        with gate.lock:
            is_allowed = gate.stops.allows(facts.run, facts.subscriber_row, gate.since)
            self.has_started = is_allowed and not self.is_revoked
            gate.is_used = gate.is_used or self.has_started
        return self.has_started

    def revoke(self) -> bool:
        """Let it not start any more; whether it had not."""
        with self.gate.lock:
            self.is_revoked = not self.has_started
        return self.is_revoked

    def not_started(self) -> Outcome:
        """The outcome of a call that was not made."""
        now = self.gate.clock.now()
        return Outcome("not_started", now, now)

    def timed_out(self, seconds: float) -> Outcome:
        """The outcome of a call whose end nobody waits for any more.

        Args:
            seconds: How long it was waited for.
        """
        now = self.gate.clock.now()
        self.seconds = seconds
        error = f"no answer within {seconds:g} seconds"
        return Outcome("timed_out", now - timedelta(seconds=seconds), now, error=error)
