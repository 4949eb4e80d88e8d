from __future__ import annotations

from datetime import timedelta

import pytest

from notifykit.delivery.retry import back_off
from notifykit.settings import BACKOFF_CAP


def test_the_same_job_and_attempt_wait_the_same_time() -> None:
    assert back_off(7, 1) == back_off(7, 1)
    assert back_off(7, 1) != back_off(7, 2) != back_off(8, 2)


@pytest.mark.parametrize("attempt", [1, 2, 3, 7, 8, 10_000])
def test_full_jitter_between_a_second_and_the_bound(attempt: int) -> None:
    bound = min(BACKOFF_CAP, timedelta(seconds=30 * 2 ** min(attempt, 20)))
    waits = [back_off(job, attempt) for job in range(500)]
    assert all(timedelta(seconds=1) <= wait <= bound for wait in waits)
    middle = sum(waits, timedelta()) / len(waits)
    assert 0.4 * bound < middle < 0.6 * bound


def test_what_the_other_side_asks_for_is_the_floor() -> None:
    assert back_off(7, 1, 7200) == timedelta(hours=2)
    assert back_off(7, 1, 0.001) == back_off(7, 1)


@pytest.mark.parametrize("nonsense", [float("nan"), -5, 0, "soon"])
def test_nonsense_is_no_floor(nonsense: object) -> None:
    assert back_off(7, 1, nonsense) == back_off(7, 1)  # type: ignore[arg-type]


def test_nobody_waits_for_ever() -> None:
    assert back_off(7, 1, float("inf")) == timedelta(days=7)
