"""When a failed call is tried again."""

from __future__ import annotations

import math
from datetime import timedelta
from hashlib import blake2b

from notifykit.settings import BACKOFF_BASE, BACKOFF_CAP

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=7)
"""What a provider may ask us to wait: beyond that it is a mistake of theirs."""


def back_off(job: int, attempt: int, retry_after: float | None = None) -> timedelta:
    """How long to wait before the next attempt: exponential, with full jitter.

    The jitter comes from a hash of job and attempt, so that a test sees the same times again and a thousand jobs that
    failed together don't come back together.

    Args:
        job: The job's id.
        attempt: How many attempts were made, from 1.
        retry_after: Seconds that the other side asked for: the floor.
    """
    doublings: int = 2 ** min(attempt, 16)
    bound = min(BACKOFF_CAP, BACKOFF_BASE * doublings)
    return max(bound * _fraction(job, attempt), SHORTEST, _asked(retry_after))


def _fraction(job: int, attempt: int) -> float:
    digest = blake2b(f"{job}:{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _asked(seconds: float | None) -> timedelta:
    if not isinstance(seconds, int | float) or math.isnan(seconds) or seconds <= 0:
        return timedelta()
    return timedelta(seconds=min(float(seconds), LONGEST.total_seconds()))
