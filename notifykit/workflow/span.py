"""Time spans and points in time: what `Delay` waits for."""

from __future__ import annotations

import calendar
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from notifykit.errors import InputError, nearest

UNITS = ("seconds", "minutes", "hours", "days", "weeks", "months")
LONGEST = timedelta(days=36_525)
"""A hundred years: whatever is longer is a slip of the keyboard."""
MONTHS_LIMIT = 1200


def problem(span: Mapping[str, Any]) -> str | None:
    """What is wrong with a span, as the end of a sentence, or None.

    Args:
        span: Units and amounts, such as `{"hours": 1, "minutes": 30}`.
    """
    for unit, amount in span.items():
        if unit not in UNITS:
            return f"{unit!r} is no unit of time.{nearest(unit, UNITS)}"
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            return f"{unit} must be a number, not {amount!r}"
        if not -math.inf < amount < math.inf or amount <= 0:
            return f"{unit} must be a positive, finite number, not {amount!r}"
        if unit == "months" and amount != int(amount):
            return f"months must be a whole number, not {amount!r}"
    return None if _fits(span) else "it is longer than a hundred years"


def _fits(span: Mapping[str, float]) -> bool:
    try:
        return span.get("months", 0) <= MONTHS_LIMIT and _fixed(span) <= LONGEST
    except OverflowError:
        return False


def _fixed(span: Mapping[str, float]) -> timedelta:
    return timedelta(**{unit: amount for unit, amount in span.items() if unit != "months"})


def after(start: datetime, span: Mapping[str, Any]) -> datetime:
    """The moment that lies a span after another.

    Months are those of the calendar, counted first and clipped to the end of the month: a month after 31 January is
    the last day of February.

    Args:
        start: An aware time.
        span: Units and amounts, such as `{"months": 1, "hours": 2}`.

    Example:
        >>> after(datetime(2026, 1, 31, tzinfo=UTC), {"months": 1}).date().isoformat()
        '2026-02-28'
    """
    months = int(span.get("months", 0))
    if months:
        year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        start = start.replace(year=year, month=month + 1, day=min(start.day, last))
    return start + _fixed(span)


def utc_time(value: Any, field: str) -> datetime:
    """A time given as ISO 8601 text with a time zone, in UTC.

    Args:
        value: Such as `2026-01-31T09:00:00Z` or `2026-01-31T09:00:00+01:00`.
        field: The path of the value, for the error.

    Raises:
        InputError: It is no text, no time, or has no time zone.
    """
    if not isinstance(value, str):
        raise InputError(f"{field}: an ISO 8601 time is expected, not {_kind(value)}", field=field)
    try:
        found = datetime.fromisoformat(value.strip())
    except ValueError:
        raise InputError(f"{field}: {value[:40]!r} is no ISO 8601 time", field=field) from None
    if found.tzinfo is None:
        raise InputError(
            f"{field}: {value[:40]!r} has no time zone; write for example {f'{found:%Y-%m-%dT%H:%M:%SZ}'!r}",
            field=field,
        )
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise InputError(f"{field}: {value[:40]!r} is out of range", field=field) from None


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
