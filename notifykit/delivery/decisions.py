"""What becomes of a job: pure decisions, before the call and after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.retry import back_off
from notifykit.model.codes import MessageStatus
from notifykit.settings import ATTEMPTS, NO_PROVIDER, NO_PROVIDER_EXPIRY, NO_PROVIDER_RETRY, RESCUES


@dataclass(slots=True)
class Decision:
    """What becomes of a claimed job.

    Attributes:
        status: How its message (or custom step) ends; None where it does not end yet.
        reason: Why, in the words of `results.SkipReason` where one applies.
        due_at: When it is due again; None where the job goes.
        counts_as_attempt: False where no call was made.
    """

    status: MessageStatus | None = None
    reason: str | None = None
    due_at: datetime | None = None
    counts_as_attempt: bool = True


SENT = Decision(MessageStatus.SENT)
CANCELLED = Decision(MessageStatus.CANCELLED, "cancelled")
DROPPED = Decision()
"""The message has ended already: only the job goes."""


def failed(reason: str) -> Decision:
    """The message fails for good: nothing is tried again."""
    return Decision(MessageStatus.FAILED, reason)


def skipped(reason: str) -> Decision:
    """The message is not sent, on purpose."""
    return Decision(MessageStatus.SKIPPED, reason)


def attempts_exhausted(delivery: ClaimedDelivery) -> Decision | None:
    """Fail a job that was claimed too often, before one more call.

    Args:
        delivery: A claimed job; its attempt counts this claim.

    Returns:
        A failure, or None where it may be tried.
    """
    if delivery.job.rescues > RESCUES:
        return failed(f"given up: the process ended {delivery.job.rescues} times during the call")
    if delivery.job.attempt > ATTEMPTS:
        return failed(f"given up after {ATTEMPTS} attempts; the process ended during the last one")
    return None


def unserved(delivery: ClaimedDelivery, now: datetime) -> Decision:
    """A message that nobody here sends: it waits, and fails in the end."""
    assert delivery.message is not None
    if now - delivery.message.created_at >= NO_PROVIDER_EXPIRY:
        return failed(f"{NO_PROVIDER} for {NO_PROVIDER_EXPIRY.days} days")
    return Decision(reason=NO_PROVIDER, due_at=now + NO_PROVIDER_RETRY, counts_as_attempt=False)


def after_call(delivery: ClaimedDelivery, outcome: Outcome, now: datetime) -> Decision | None:
    """What an outcome means for its job.

    Args:
        delivery: The job.
        outcome: How its call ended.
        now: The instant of the unit that records it.

    Returns:
        A decision, or None for an abandoned call, which is left to its lease.
    """
    match outcome.kind:
        case "abandoned":
            return None
        case "sent":
            return SENT
        case "timed_out":
            return Decision(MessageStatus.UNKNOWN, outcome.error)
        case "not_started":
            return Decision(due_at=delivery.job.due_at, counts_as_attempt=False)
        case "transient" if delivery.job.attempt < ATTEMPTS:
            return Decision(due_at=now + back_off(delivery.job.id, delivery.job.attempt, outcome.retry_after))
    return failed(outcome.error)
