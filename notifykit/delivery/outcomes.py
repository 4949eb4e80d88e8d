"""How one call to the outside ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from notifykit.errors import NotifyKitError, PermanentDeliveryError, TransientDeliveryError
from notifykit.outgoing import Receipt

Ending = Literal["sent", "transient", "permanent", "unrendered", "unsent", "abandoned", "overdue"]
"""`unrendered`: no call was made because the content could not be; `unsent`: no call was made, as it was too late or
not wanted any more; `abandoned`: nobody knows, the lease stays; `overdue`: nobody waits for its end any more."""

ERROR_CHARACTERS = 4000


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


def classify(error: BaseException) -> tuple[Ending, str, float | None]:
    """What an exception of a hook, a provider or a custom function says about its call.

    Args:
        error: Anything raised: permanent only where it says so itself.

    Returns:
        The ending, the words to keep, and the floor of the next attempt.
    """
    if isinstance(error, Abandoned):
        return "abandoned", "", None
    if isinstance(error, PermanentDeliveryError):
        return "permanent", words(error), None
    after = error.retry_after if isinstance(error, TransientDeliveryError) else None
    return "transient", words(error), after


def receipt_of(answer: object) -> Receipt:
    """The receipt behind what a hook returned: a `Receipt`, the provider's id as text, or nothing."""
    if isinstance(answer, Receipt):
        return Receipt(None if answer.provider_id is None else storable(str(answer.provider_id)))
    return Receipt(storable(answer) if isinstance(answer, str) else None)


def words(error: BaseException) -> str:
    """An exception as one text to keep: our own errors speak for themselves, others name their class."""
    text = storable(str(error))
    if isinstance(error, NotifyKitError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def storable(text: str) -> str:
    """A text from outside that every database takes: no NUL, no lone surrogates, not endless."""
    return text[:ERROR_CHARACTERS].replace("\x00", "").encode("utf-8", "replace").decode()
