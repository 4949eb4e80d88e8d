from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.errors import InputError
from notifykit.workflow.span import UNITS, after, problem, utc_time

JANUARY = datetime(2026, 1, 31, 9, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_units_add_up():
    assert after(JANUARY, {"hours": 1, "minutes": 30}) == JANUARY + timedelta(minutes=90)
    assert after(JANUARY, {"weeks": 2}) == JANUARY + timedelta(days=14)


@pytest.mark.parametrize(
    ("months", "expected"),
    [(1, (2026, 2, 28)), (2, (2026, 3, 31)), (11, (2026, 12, 31)), (12, (2027, 1, 31)), (25, (2028, 2, 29))],
)
def test_months_are_those_of_the_calendar(months, expected):
    assert after(JANUARY, {"months": months}) == datetime(*expected, 9, tzinfo=UTC)


@given(MOMENTS, st.integers(1, 1200))
def test_a_month_more_is_later_and_at_most_31_days(start, months):
    one, two = after(start, {"months": months}), after(start, {"months": months + 1})
    assert timedelta(days=27) <= two - one <= timedelta(days=31)
    assert one.day <= start.day


@given(MOMENTS, st.sampled_from(UNITS[:-1]), st.floats(0.001, 1000))
def test_a_positive_span_lies_ahead(start, unit, amount):
    assert problem({unit: amount}) is None
    assert after(start, {unit: amount}) > start


@pytest.mark.parametrize(
    "span",
    [
        {"minutes": 0},
        {"minutes": -1},
        {"hours": math.nan},
        {"hours": math.inf},
        {"months": 1.5},
        {"days": True},
        {"days": "1"},
        {"fortnights": 1},
        {"days": 40_000},
        {"weeks": 10**400},
        {"months": 1201},
    ],
)
def test_spans_that_are_refused(span):
    assert problem(span)


def test_the_nearest_unit_is_proposed():
    assert "'minutes'" in problem({"minute": 1})


@given(MOMENTS)
def test_a_moment_reads_back(start):
    elsewhere = start.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert utc_time(start.isoformat(), "x") == utc_time(elsewhere.isoformat(), "x") == start


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "null"),
        (7, "int"),
        ("soon", "no ISO 8601 time"),
        ("2026-01-31T09:00:00", "time zone"),
        ("0001-01-01T00:00:00+14:00", "out of range"),
    ],
)
def test_what_is_no_moment(value, says):
    with pytest.raises(InputError, match=says) as caught:
        utc_time(value, "payload.send_at")
    assert caught.value.field == "payload.send_at"
