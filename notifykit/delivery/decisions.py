"""What becomes of a job: pure decisions, before the call and after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.retry import back_off
from notifykit.model.codes import MessageStatus
from notifykit.settings import ATTEMPTS, NO_PROVIDER_EXPIRY, NO_PROVIDER_RETRY, RESCUES

NO_PROVIDER = "no provider"


@dataclass(slots=True)
class Decision:
    """What becomes of a claimed job.

    Attributes:
        status: How its message (or custom step) ends; None where it does not end yet.
        reason: Why, in the words of `results.SkipReason` where one applies.
        due_at: When it is due again; None where the job goes.
        burned: Its attempt counts; False where no call was made.
    """

    status: MessageStatus | None = None
    reason: str | None = None
    due_at: datetime | None = None
    burned: bool = True


SENT = Decision(MessageStatus.SENT)
CANCELLED = Decision(MessageStatus.CANCELLED, "cancelled")
DROPPED = Decision()
"""The message has ended already: only the job goes."""


def failed(reason: str) -> Decision:
    """The job is given up."""
    return Decision(MessageStatus.FAILED, reason)


def skipped(reason: str) -> Decision:
    """The message is not sent, on purpose."""
    return Decision(MessageStatus.SKIPPED, reason)


def attempts_exhausted(delivery: ClaimedDelivery) -> Decision | None:
    """Give a job up that was claimed too often, before one more call.

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


def without_sender(delivery: ClaimedDelivery, now: datetime) -> Decision:
    """A message whose channel nobody serves here: it waits, and fails in the end."""
    assert delivery.message is not None
    if now - delivery.message.created_at >= NO_PROVIDER_EXPIRY:
        return failed(f"{NO_PROVIDER} for {NO_PROVIDER_EXPIRY.days} days")
    return Decision(reason=NO_PROVIDER, due_at=now + NO_PROVIDER_RETRY, burned=False)


def after_call(delivery: ClaimedDelivery, outcome: Outcome, now: datetime) -> Decision | None:
    """What an outcome means for its job.

    Args:
        delivery: The job.
        outcome: How its call ended.
        now: The instant of the unit that records it.

    Returns:
        A decision, or None for an abandoned call, which is left to its lease.
    """
    match outcome.ending:
        case "abandoned":
            return None
        case "sent":
            return SENT
        case "overdue":
            return Decision(MessageStatus.UNKNOWN, outcome.error)
        case "unsent":
            return Decision(due_at=delivery.job.due_at, burned=False)
        case "transient" if delivery.job.attempt < ATTEMPTS:
            return Decision(due_at=now + _wait(delivery, outcome))
    return failed(outcome.error)


def _wait(delivery: ClaimedDelivery, outcome: Outcome) -> timedelta:
    return back_off(delivery.job.id, delivery.job.attempt, outcome.retry_after)
