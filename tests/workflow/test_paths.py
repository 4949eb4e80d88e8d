from __future__ import annotations

from datetime import UTC, datetime

import pytest

from notifykit.errors import DefinitionError, InputError
from notifykit.workflow.paths import Path

SCOPE = {"payload": {"orders": [{"at": "2026-01-01T01:00:00+01:00"}], "days": 3, "none": None}, "steps": {}}


def test_a_path_finds_a_value():
    path = Path.read("payload.orders.0.at")
    assert str(path) == "payload.orders.0.at"
    assert path.find_time(SCOPE) == datetime(2026, 1, 1, tzinfo=UTC)
    assert Path.read("payload.orders.1.at").find(SCOPE) is None
    assert Path.read("actor.x").find(SCOPE) is None


@pytest.mark.parametrize(
    ("text", "says"), [("payload.nope", "missing"), ("payload.none", "missing"), ("payload.days", "not int")]
)
def test_what_is_no_time_is_named(text, says):
    with pytest.raises(InputError, match=says) as caught:
        Path.read(text).find_time(SCOPE)
    assert caught.value.field == text


@pytest.mark.parametrize("text", ["", "payload", "payload.", "payload..x", "paylod.x", "payload. x", None, 3])
def test_what_is_no_path(text):
    with pytest.raises(DefinitionError):
        Path.read(text)
