"""One drain under way: what it was asked for, what it has done, and which of its calls have not been recorded yet."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from notifykit.clock import monotonic
from notifykit.delivery.calls import Call
from notifykit.delivery.record import Counts
from notifykit.delivery.routing import Router
from notifykit.errors import StorageError
from notifykit.lifecycle.jobs import WorkFilter
from notifykit.settings import RECORD_GRACE
from notifykit.store.error_mapping import is_crowded, is_of_the_work
from notifykit.unit_of_work.runtime import Runtime
from notifykit.unit_of_work.unit import Unit
from notifykit.worker.claim_sizer import ClaimSizer
from notifykit.worker.commands import EndedCalls, RunInUnit, SendCalls

T = TypeVar("T")
Steps = Generator[RunInUnit[Any] | SendCalls, Any, T]
"""Commands for the worker, and what they come to."""

logger = logging.getLogger("notifykit.worker")


@dataclass(slots=True)
class DrainState:
    """One drain.

    Attributes:
        runtime: The engine's.
        sizer: How many calls one claim takes.
        only: Only this work.
        deadline: When its budget is spent, by `clock.monotonic`; None: it has no budget.
        concurrency: How many calls at once.
        advanced: Runs that went on.
        counts: Messages that ended.
        done: Jobs that were dealt with, and calls that were made.
        deferred: Messages that wait for a provider.
        waiting_for: What jobs wait for.
        claims: How many claims there were.
        open_claim: The owner of a claim of which it is not known yet what it took; `''` for none.
        under_way: Calls that were claimed and have not ended.
        sending: The command whose calls are being made.
        unrecorded: Calls that have ended, and how.
        router: Who sends what here.
    """

    runtime: Runtime[Any]
    sizer: ClaimSizer
    only: WorkFilter
    deadline: float | None = None
    concurrency: int = 1
    advanced: int = 0
    counts: Counts = field(default_factory=Counts)
    done: int = 0
    deferred: set[int] = field(default_factory=set)
    waiting_for: Counter[str] = field(default_factory=Counter)
    claims: int = 0
    open_claim: str = ""
    under_way: set[Call] = field(default_factory=set)
    sending: SendCalls = field(default_factory=SendCalls)
    unrecorded: EndedCalls = field(default_factory=list)
    router: Router = field(init=False)

    def __post_init__(self) -> None:
        """Send by what the engine has now, whatever it is swapped for meanwhile."""
        self.router = Router(self.runtime.hooks, self.runtime.integrations, self.runtime.outbox)

    @property
    def has_time(self) -> bool:
        """Whether the budget lasts; something is done in any case."""
        return self.deadline is None or not self.done or monotonic() < self.deadline

    @property
    def record_until(self) -> float | None:
        """Until when others are waited for to record what was sent."""
        return None if self.deadline is None else max(self.deadline, monotonic() + RECORD_GRACE)

    def keep_ended(self) -> None:
        """Keep how calls ended until it is recorded."""
        ended, self.sending = self.sending.ended, SendCalls()
        self.unrecorded = [*self.unrecorded, *ended]
        self.under_way.difference_update(call for call, _ in ended)


def within_budget(state: DrainState, work: Callable[[Unit], T], *, write: bool = True) -> Steps[T | None]:
    """Work that waits for others no longer than the budget lasts.

    Args:
        state: The drain.
        work: Gets the unit.
        write: It may change rows.

    Returns:
        What it returns; None where others were in the way until then.

    Raises:
        StorageError: It failed for another reason, or there is no budget.
    """
    try:
        done: T = yield RunInUnit(work, write, state.deadline)
    except StorageError as error:
        if state.deadline is None or not is_crowded(error):
            raise
        logger.info("a drain ends with its budget: %s", error)
        return None
    return done


def check(error: Exception) -> None:
    """Let an error pass that lies in the work: other work need not fail with it.

    Raises:
        Exception: The error, where it lies elsewhere.
    """
    if not is_of_the_work(error):
        raise error


def needs(unit: Unit) -> list[str]:
    """The host functions that this process has: what needs another one is left alone."""
    return sorted(unit.registry.functions())
