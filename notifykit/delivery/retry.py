"""When a failed call is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from notifykit.settings import (
    ATTEMPTS,
    BACKOFF_BASE,
    BACKOFF_CAP,
    BACKOFF_FLOOR,
    RETRY_AFTER_CAP,
    RETRY_AFTER_CHARACTERS,
)
from notifykit.unit_of_work.retry_policy import jitter


def back_off(job: int, attempt: int, retry_after: float | None = None) -> timedelta:
    """How long to wait before the next attempt: exponential, with full jitter.

    The jitter comes from a hash of job and attempt, so that a test sees the same times again and a thousand jobs that
    failed together don't come back together.

    Args:
        job: The job's id.
        attempt: How many attempts were made, from 1.
        retry_after: Seconds that the other side asked for, as `seconds_asked` gives them: the floor.
    """
    doublings: int = 2 ** min(attempt, 16)
    bound = min(BACKOFF_CAP, BACKOFF_BASE * doublings)
    return max(bound * jitter(f"{job}:{attempt}"), BACKOFF_FLOOR, timedelta(seconds=retry_after or 0))


def retry_at(now: datetime, job: int, attempt: int) -> datetime | None:
    """When to try again what could not even begin; None where it has been tried often enough.

    Args:
        now: When it failed.
        job: The job's id.
        attempt: How many attempts were made, from 1.
    """
    return now + back_off(job, attempt) if attempt < ATTEMPTS else None


def seconds_asked(retry_after: Any, now: datetime) -> float | None:
    """How long the other side asks us to wait, in seconds: at most an hour.

    Args:
        retry_after: Seconds as a number or the text of one, a timedelta, an aware datetime, the text of an HTTP date,
            or None.
        now: When it was said; a time that is over asks for no wait.

    Returns:
        The seconds, or None where nothing was asked for.

    Raises:
        ValueError: It is negative, NaN, or none of these.
    """
    if retry_after is None:
        return None
    try:
        seconds = _seconds(retry_after, now)
        found = None if seconds is None else min(float(min(seconds, RETRY_AFTER_CAP)), RETRY_AFTER_CAP)
    except Exception as error:  # methods of the host's own numbers and texts, dates that the calendar does not have
        raise ValueError("retry_after is not understood") from error
    if found is None or not found >= 0:
        raise ValueError("retry_after is negative, or no number and no time")
    return found


def _seconds(value: Any, now: datetime) -> Any:
    """Seconds as a number of any size, NaN included; None where it is no wait."""
    if isinstance(value, str):
        value = _read(str.strip(value))
    if isinstance(value, datetime):
        return None if value.tzinfo is None else max(0.0, (value - now).total_seconds())
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal) and value.is_nan():  # which would not be compared
        return None
    return value if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None


def _read(text: str) -> Decimal | datetime:
    """A text as a number, else as an HTTP date, which is always in UTC."""
    from email.utils import parsedate_to_datetime  # takes longer to import than the rest of this room

    if len(text) > RETRY_AFTER_CHARACTERS:
        raise ValueError(text[:RETRY_AFTER_CHARACTERS])
    try:
        return Decimal(text)
    except ArithmeticError:
        found = parsedate_to_datetime(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
