"""How one call to the outside ended."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from inspect import isawaitable
from types import GeneratorType
from typing import Any, Literal, NamedTuple

from notifykit.delivery.retry import seconds_asked
from notifykit.errors import PermanentDeliveryError, TransientDeliveryError
from notifykit.outgoing import Receipt
from notifykit.texts import LONGEST, error_text, sanitize

OutcomeKind = Literal["sent", "transient", "permanent", "render_failed", "not_started", "abandoned", "timed_out"]
"""`render_failed`: no call was made because the content could not be rendered; `not_started`: no call was made, as it
was too late or not wanted any more; `abandoned`: nobody knows, the lease stays; `timed_out`: nobody waits for its end
any more."""

NOT_UNDERSTOOD = " (its retry_after was not understood: the usual back-off)"
NO_RECEIPT = Receipt()
STATUS_CODES = range(1, 1000)
"""What can be a status code: HTTP's, SMTP's."""


class Abandoned(Exception):
    """Ends a call as if the process had died in it: the sandbox raises it, nothing is recorded."""


@dataclass(slots=True)
class Outcome:
    """How one call ended.

    Attributes:
        kind: What became of it.
        started_at: When the call began.
        finished_at: When it ended.
        receipt: What the outside answered to a sent message.
        result: What a custom step's function returned.
        error: Why it failed, in words that may be stored.
        retry_after: Seconds before which the next attempt makes no sense, or None.
        status_code: The code that the outside answered with, or None.
        content: What was rendered for this message, so that a retry sends the same; None where nothing was.
    """

    kind: OutcomeKind
    started_at: datetime
    finished_at: datetime
    receipt: Receipt = NO_RECEIPT
    result: Mapping[str, Any] | None = None
    error: str = ""
    retry_after: float | None = None
    status_code: int | None = None
    content: Mapping[str, Any] | None = None

    def without_answer(self, problem: str) -> Outcome:
        """The same without what came with it, which cannot be stored.

        Args:
            problem: Why; told instead of the error where there is one.
        """
        return Outcome(
            self.kind,
            self.started_at,
            self.finished_at,
            error=self.error and problem,
            status_code=self.status_code,
        )


class Failure(NamedTuple):
    """What an exception says about its call.

    Attributes:
        kind: What became of it.
        error: The words to keep.
        retry_after: The floor of the next attempt, in seconds.
        status_code: The code that the outside answered with.
    """

    kind: OutcomeKind
    error: str = ""
    retry_after: float | None = None
    status_code: int | None = None


def classify(error: BaseException, now: datetime) -> Failure:
    """What an exception of a hook, a provider or a custom function says about its call.

    Args:
        error: Anything raised: permanent only where it says so itself.
        now: When the call ended.
    """
    kind = type(error)  # `isinstance` would believe the `__class__` of an exception that has one of its own
    if issubclass(kind, Abandoned):
        return Failure("abandoned")
    if issubclass(kind, PermanentDeliveryError):
        return Failure("permanent", error_text(error), None, status_code_of(error))
    if not issubclass(kind, TransientDeliveryError):
        return Failure("transient", error_text(error))
    try:
        after = seconds_asked(getattr(error, "retry_after", None), now)
    except Exception:  # what cannot even be read is not understood either
        text = error_text(error, LONGEST - len(NOT_UNDERSTOOD)) + NOT_UNDERSTOOD
        return Failure("transient", text, None, status_code_of(error))
    return Failure("transient", error_text(error), after, status_code_of(error))


def status_code_of(said: object) -> int | None:
    """The status code that a receipt or an error carries; None where it is none that can be kept."""
    try:
        code = getattr(said, "status_code", None)
    except Exception:  # the host's own attributes
        return None
    return code if type(code) is int and code in STATUS_CODES else None


def is_awaitable(answer: object) -> bool:
    """Whether what a function answered is to be awaited: its type says so, which no proxy can lie about."""
    kind = type(answer)
    return issubclass(kind, Awaitable) or (kind is GeneratorType and isawaitable(answer))


def receipt_of(answer: object) -> Receipt:
    """The receipt behind what a hook returned: a `Receipt`, the provider's id as text, or nothing.

    The message has gone out: an answer that cannot be read is no reason to send it again.
    """
    try:
        is_receipt = isinstance(answer, Receipt)
        given: Any = answer.provider_id if is_receipt else answer if isinstance(answer, str) else None  # type: ignore[attr-defined]
        provider_id = None if given is None else sanitize(given if isinstance(given, str) else str(given))
        code = status_code_of(answer) if is_receipt else None
        return NO_RECEIPT if provider_id is None and code is None else Receipt(provider_id, code)
    except Exception:  # the host's own `__class__`, `__str__` and the like
        return NO_RECEIPT
