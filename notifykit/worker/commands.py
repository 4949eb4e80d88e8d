"""What a drain asks its worker to do, and how it was asked to work itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from notifykit.clock import monotonic
from notifykit.delivery.calls import Call
from notifykit.delivery.outcomes import Outcome
from notifykit.errors import InputError
from notifykit.settings import CALL_TIMEOUT
from notifykit.unit_of_work.unit import Unit

T = TypeVar("T")

EndedCalls = list[tuple[Call, Outcome]]
"""Calls that have ended, and how."""


@dataclass(frozen=True, slots=True)
class RunInUnit(Generic[T]):
    """Something to do in a unit of its own; what it returns is sent back in.

    Attributes:
        work: Gets the unit.
        write: It may change rows.
        deadline: Until when others are waited for, by `clock.monotonic`; None: as long as usual.
        is_last: Also after `close`: it records what was done before.
    """

    work: Callable[[Unit], T]
    write: bool = True
    deadline: float | None = None
    is_last: bool = False

    @property
    def wait(self) -> float | None:
        """Seconds to wait for others, from now on."""
        return None if self.deadline is None else max(0.0, self.deadline - monotonic())


@dataclass(frozen=True, slots=True)
class SendCalls:
    """Calls to make outside any transaction, beside those that are under way; goes on when one has ended.

    Attributes:
        calls: The calls to start.
        unrecorded: Calls that have ended, whose leases are to be kept meanwhile.
        stops: Start no more calls instead, and wait a moment for those under way.
        ended: The executor appends how each ended, so that it is known even where it is stopped in between.
    """

    calls: Sequence[Call] = ()
    unrecorded: Sequence[Call] = ()
    stops: bool = False
    ended: EndedCalls = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DrainOptions:
    """How a drain works.

    Attributes:
        seconds: Its budget, or None.
        concurrency: Calls that are made at once.
        timeout: Seconds that a call may take where several are made at once.
    """

    seconds: float | None = None
    concurrency: int = 1
    timeout: float = CALL_TIMEOUT

    def __post_init__(self) -> None:
        """Refuse what is no budget and no number.

        Raises:
            InputError: Names the argument.
        """
        if self.seconds is not None and not (_is_number(self.seconds) and self.seconds >= 0):
            raise _refused("seconds", "a number that is not negative", self.seconds)
        if not (_is_number(self.concurrency) and self.concurrency >= 1 and self.concurrency == int(self.concurrency)):
            raise _refused("concurrency", "a whole number of at least 1", self.concurrency)
        if not (_is_number(self.timeout) and self.timeout > 0):
            raise _refused("timeout", "a number of seconds above 0", self.timeout)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refused(field: str, wanted: str, value: object) -> InputError:
    return InputError(f"{field}: {wanted} is expected, not {value!r}", field=field)
