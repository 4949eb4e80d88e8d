"""How one call to the outside ended."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from inspect import isawaitable
from types import GeneratorType
from typing import Any, Literal

from notifykit.delivery.retry import seconds_asked
from notifykit.errors import PermanentDeliveryError, TransientDeliveryError
from notifykit.outgoing import Receipt
from notifykit.texts import LONGEST, error_text, sanitize

Ending = Literal["sent", "transient", "permanent", "unrendered", "unsent", "abandoned", "overdue"]
"""`unrendered`: no call was made because the content could not be; `unsent`: no call was made, as it was too late or
not wanted any more; `abandoned`: nobody knows, the lease stays; `overdue`: nobody waits for its end any more."""

NOT_UNDERSTOOD = " (its retry_after was not understood: the usual back-off)"
NOTHING = Receipt()


class Abandoned(Exception):
    """Ends a call as if the process had died in it: the sandbox raises it, nothing is recorded."""


@dataclass(slots=True)
class Outcome:
    """How one call ended.

    Attributes:
        ending: What became of it.
        started_at: When the call began.
        finished_at: When it ended.
        receipt: What the outside answered to a sent message.
        result: What a custom step's function returned.
        error: Why it failed, in words that may be stored.
        retry_after: Seconds before which the next attempt makes no sense, or None.
        content: What was rendered for this message, so that a retry sends the same; None where nothing was.
    """

    ending: Ending
    started_at: datetime
    finished_at: datetime
    receipt: Receipt = NOTHING
    result: Mapping[str, Any] | None = None
    error: str = ""
    retry_after: float | None = None
    content: Mapping[str, Any] | None = None

    def bare(self, problem: str) -> Outcome:
        """The same ending without what came with it, which cannot be stored."""
        return Outcome(self.ending, self.started_at, self.finished_at, error=self.error and problem)


def classify(error: BaseException, now: datetime) -> tuple[Ending, str, float | None]:
    """What an exception of a hook, a provider or a custom function says about its call.

    Args:
        error: Anything raised: permanent only where it says so itself.
        now: When the call ended.

    Returns:
        The ending, the words to keep, and the floor of the next attempt.
    """
    kind = type(error)  # `isinstance` would believe the `__class__` of an exception that has one of its own
    if issubclass(kind, Abandoned):
        return "abandoned", "", None
    if issubclass(kind, PermanentDeliveryError):
        return "permanent", error_text(error), None
    if not issubclass(kind, TransientDeliveryError):
        return "transient", error_text(error), None
    try:
        after = seconds_asked(getattr(error, "retry_after", None), now)
    except Exception:  # what cannot even be read is not understood either
        return "transient", error_text(error, LONGEST - len(NOT_UNDERSTOOD)) + NOT_UNDERSTOOD, None
    return "transient", error_text(error), after


def is_awaitable(answer: object) -> bool:
    """Whether what a function answered is to be awaited: its type says so, which no proxy can lie about."""
    kind = type(answer)
    return issubclass(kind, Awaitable) or (kind is GeneratorType and isawaitable(answer))


def receipt_of(answer: object) -> Receipt:
    """The receipt behind what a hook returned: a `Receipt`, the provider's id as text, or nothing.

    The message has gone out: an answer that cannot be read is no reason to send it again.
    """
    try:
        given: Any = answer.provider_id if isinstance(answer, Receipt) else answer if isinstance(answer, str) else None
        return NOTHING if given is None else Receipt(sanitize(given if isinstance(given, str) else str(given)))
    except Exception:  # the host's own `__class__`, `__str__` and the like
        return NOTHING
