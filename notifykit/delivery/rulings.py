"""What becomes of a job: pure decisions, before the call and after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.retry import back_off
from notifykit.delivery.task import Task
from notifykit.model.codes import MessageStatus
from notifykit.settings import ATTEMPTS, NO_PROVIDER_EXPIRY, NO_PROVIDER_RETRY, RESCUES

NO_PROVIDER = "no provider"


@dataclass(slots=True)
class Ruling:
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


SENT = Ruling(MessageStatus.SENT)
CANCELLED = Ruling(MessageStatus.CANCELLED, "cancelled")
DROPPED = Ruling()
"""The message has ended already: only the job goes."""


def failed(reason: str) -> Ruling:
    """The job is given up."""
    return Ruling(MessageStatus.FAILED, reason)


def skipped(reason: str) -> Ruling:
    """The message is not sent, on purpose."""
    return Ruling(MessageStatus.SKIPPED, reason)


def worn_out(task: Task) -> Ruling | None:
    """Give a job up that was claimed too often, before one more call.

    Args:
        task: A claimed job; its attempt counts this claim.

    Returns:
        A failure, or None where it may be tried.
    """
    if task.job.rescues > RESCUES:
        return failed(f"given up: the process ended {task.job.rescues} times during the call")
    if task.job.attempt > ATTEMPTS:
        return failed(f"given up after {ATTEMPTS} attempts; the process ended during the last one")
    return None


def without_sender(task: Task, now: datetime) -> Ruling:
    """A message whose channel nobody serves here: it waits, and fails in the end."""
    assert task.message is not None
    if now - task.message.created_at >= NO_PROVIDER_EXPIRY:
        return failed(f"{NO_PROVIDER} for {NO_PROVIDER_EXPIRY.days} days")
    return Ruling(reason=NO_PROVIDER, due_at=now + NO_PROVIDER_RETRY, burned=False)


def after_call(task: Task, outcome: Outcome, now: datetime) -> Ruling | None:
    """What an outcome means for its job.

    Args:
        task: The job.
        outcome: How its call ended.
        now: The instant of the unit that records it.

    Returns:
        A ruling, or None for an abandoned call, which is left to its lease.
    """
    match outcome.ending:
        case "abandoned":
            return None
        case "sent":
            return SENT
        case "overdue":
            return Ruling(MessageStatus.UNKNOWN, outcome.error)
        case "unsent":
            return Ruling(due_at=task.job.due_at, burned=False)
        case "transient" if task.job.attempt < ATTEMPTS:
            return Ruling(due_at=now + _wait(task, outcome))
    return failed(outcome.error)


def _wait(task: Task, outcome: Outcome) -> timedelta:
    return back_off(task.job.id, task.job.attempt, outcome.retry_after)
