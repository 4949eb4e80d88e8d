from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

import notifykit as nk
from notifykit.testing import FakeClock


def test_it_stands_still() -> None:
    clock = FakeClock()
    assert clock.now() == clock.now() == datetime(2026, 1, 1, tzinfo=UTC)


def test_it_moves_by_spans() -> None:
    clock = FakeClock(datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == datetime(2026, 1, 31, 10, tzinfo=UTC)
    clock.move(months=1)
    assert clock.now() == datetime(2026, 2, 28, 10, tzinfo=UTC)
    clock.move(hours=1, minutes=0.5)
    assert clock.now() == datetime(2026, 2, 28, 11, 0, 30, tzinfo=UTC)
    clock.move(seconds=0)
    assert clock.now() == datetime(2026, 2, 28, 11, 0, 30, tzinfo=UTC)


def test_it_never_goes_back() -> None:
    clock = FakeClock()
    with pytest.raises(nk.InputError, match="positive"):
        clock.move(hours=-1)
    with pytest.raises(nk.InputError, match="back"):
        clock.move_to(datetime(2025, 1, 1, tzinfo=UTC))
    with pytest.raises(nk.InputError, match="no unit"):
        clock.move(fortnights=1)  # type: ignore[call-arg]
    with pytest.raises(nk.InputError, match="aware"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
