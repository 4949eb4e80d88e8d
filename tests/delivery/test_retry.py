from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.delivery.outcomes import classify
from notifykit.delivery.retry import back_off, seconds_asked
from notifykit.errors import TransientDeliveryError
from notifykit.settings import BACKOFF_CAP, RETRY_AFTER_CAP
from notifykit.texts import LONGEST as CHARACTERS
from tests.harness.evil import BrokenText, broken

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


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
    assert back_off(7, 1, 1800) == timedelta(minutes=30)
    assert back_off(7, 1, 0.001) == back_off(7, 1, 0) == back_off(7, 1)


UNDERSTOOD: dict[str, tuple[Any, float | None]] = {
    "nothing": (None, None),
    "int": (120, 120),
    "float": (0.5, 0.5),
    "zero": (0, 0),
    "Decimal": (Decimal("1.5"), 1.5),
    "text": (" 120 ", 120),
    "text of a float": ("1.5", 1.5),
    "text with an exponent": ("1e2", 100),
    "timedelta": (timedelta(minutes=2), 120),
    "aware datetime": (NOW + timedelta(minutes=2), 120),
    "datetime elsewhere": ((NOW + timedelta(minutes=2)).astimezone(timezone(timedelta(hours=5))), 120),
    "HTTP date": ("Sun, 01 Mar 2026 12:02:00 GMT", 120),
    "older HTTP date": ("Sunday, 01-Mar-26 12:02:00 GMT", 120),
    "oldest HTTP date": ("Sun Mar  1 12:02:00 2026", 120),
    "HTTP date that is over": ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    "datetime that is over": (NOW - timedelta(days=1), 0),
    "an hour": (3600, 3600),
    "more than an hour": (3601, 3600),
    "infinity": (float("inf"), 3600),
    "text of infinity": ("inf", 3600),
    "Decimal infinity": (Decimal("Infinity"), 3600),
    "huge Decimal": (Decimal("1e999999"), 3600),
    "huge int": (int("9" * 400), 3600),
    "huger int": (10**5000, 3600),
    "text of a huge int": ("9" * 400, 3600),
    "huge timedelta": (timedelta.max, 3600),
    "last datetime": (datetime.max.replace(tzinfo=UTC), 3600),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_every_form_is_understood(name: str) -> None:
    given, seconds = UNDERSTOOD[name]
    assert seconds_asked(given, NOW) == seconds
    assert classify(TransientDeliveryError("busy", retry_after=given), NOW) == ("transient", "busy", seconds, None)


class BrokenNumber(int):
    """A number that cannot be compared."""

    __lt__ = __gt__ = __ge__ = __le__ = __float__ = broken


class LyingNumber(int):
    """A number that turns into something else."""

    def __float__(self) -> float:
        return -1e300


NONSENSE: dict[str, Any] = {
    "negative": -5,
    "negative float": -0.001,
    "negative infinity": float("-inf"),
    "negative timedelta": timedelta(seconds=-1),
    "text of a negative": "-5",
    "nan": float("nan"),
    "text of nan": "NaN",
    "Decimal nan": Decimal("NaN"),
    "signalling nan": Decimal("sNaN"),
    "word": "soon",
    "empty": "",
    "half": "\udfff",
    "nul": "\0",
    "half a date": "Sun, 01 Mar",
    "a date that is none": "Sun, 31 Feb 2026 12:02:00 GMT",
    "ISO text": "2026-03-01T12:02:00Z",
    "long text": "9" * 1001,
    "huge exponent": "1e999999999999999999999",
    "naive datetime": datetime(2026, 3, 1, 13),  # noqa: DTZ001
    "bool": True,
    "bytes": b"120",
    "list": [120],
    "object": object(),
    "complex": 1j,
    "broken number": BrokenNumber(5),
    "lying number": LyingNumber(5),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_means_the_usual_back_off_and_the_error_says_so(name: str) -> None:
    with pytest.raises(ValueError, match="retry_after"):
        seconds_asked(NONSENSE[name], NOW)
    failure = classify(TransientDeliveryError("busy", retry_after=NONSENSE[name]), NOW)
    assert (failure.kind, failure.retry_after) == ("transient", None)
    assert failure.error == "busy (its retry_after was not understood: the usual back-off)"


def test_a_long_error_leaves_room_for_it() -> None:
    text = classify(TransientDeliveryError("x" * 5000, retry_after="soon"), NOW).error
    assert len(text) == CHARACTERS
    assert text.endswith("the usual back-off)")


def test_a_broken_text_of_a_number_is_a_number() -> None:
    assert seconds_asked(BrokenText("120"), NOW) == 120


def test_an_attribute_that_cannot_be_had_is_not_understood() -> None:
    class Odd(TransientDeliveryError):
        retry_after = property(broken)  # type: ignore[assignment]

        def __init__(self) -> None: ...

    assert classify(Odd(), NOW).error == "Odd (its retry_after was not understood: the usual back-off)"


ANYTHING = st.one_of(
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.timedeltas(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.datetimes(timezones=st.just(UTC)).map(format_datetime),
    st.integers().map(str),
    st.binary(),
    st.none(),
)


@given(ANYTHING)
def test_whatever_is_asked_for_is_a_wait_of_at_most_an_hour_or_refused(asked: Any) -> None:
    try:
        seconds = seconds_asked(asked, NOW)
    except ValueError:
        return
    assert seconds is None or (type(seconds) is float and 0 <= seconds <= RETRY_AFTER_CAP)
    assert back_off(7, 1, seconds) <= BACKOFF_CAP


@given(st.integers(0, 3600))
def test_a_date_asks_for_the_time_until_then(seconds: int) -> None:
    later = NOW + timedelta(seconds=seconds)
    assert seconds_asked(later, NOW) == seconds_asked(format_datetime(later, usegmt=True), NOW) == seconds
