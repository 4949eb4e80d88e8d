from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from notifykit.errors import InputError
from notifykit.workflow.payload import encode, plain

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


class Colour(StrEnum):
    RED = "red"


class Point(BaseModel):
    x: int


@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_plain_json_is_kept_and_copied(value):
    copy, text = plain(value, "payload")
    assert copy == json.loads(text) == value
    assert copy is not value


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ((1, 2), [1, 2]),
        (Colour.RED, "red"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        (date(2026, 1, 1), "2026-01-01"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        (Point(x=1), {"x": 1}),
        ("1" * 25, "1" * 25),
        ("NaN", "NaN"),
        ("\\u0000", "\\u0000"),
    ],
)
def test_what_has_one_obvious_json_form(value, kept):
    copy, text = plain({"a": value}, "payload")
    assert copy == {"a": kept}
    assert json.loads(text) == copy


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def cyclic():
    value = {"a": {}}
    value["a"]["b"] = value
    return value


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"a": [{"b": math.nan}]}, "payload.a.0.b"),
        ({"a": math.inf}, "payload.a"),
        ({"a": Decimal("NaN")}, "payload.a"),
        ({"a": "x\0y"}, "payload.a"),
        ({"a": "\ud800"}, "payload.a"),
        ({"a": 2**63}, "payload.a"),
        ({"a": -(2**63) - 1}, "payload.a"),
        ({"a": b"x"}, "payload.a"),
        ({"a": {1, 2}}, "payload.a"),
        ({"a": object()}, "payload.a"),
        ({"a": datetime(2026, 1, 1)}, "payload.a"),  # noqa: DTZ001
        ({"a": SecretStr("x")}, "payload.a"),
        ({"a": {1: 2}}, "payload.a"),
        ({"x\0": 2}, "payload"),
        ({"\ud800": 2}, "payload"),
        (cyclic(), "payload.a.b"),
        ({"a": "x" * 600_000}, "payload"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ",
)
def test_what_cannot_be_stored_is_refused_with_its_path(value, field):
    with pytest.raises(InputError) as caught:
        encode(value, "payload")
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize("levels", [100, 300, 5000])
def test_depth_has_an_end(levels):
    encode(deep(99), "payload")
    with pytest.raises(InputError, match="100 levels"):
        encode(deep(levels), "payload")


def test_every_bad_field_is_named():
    with pytest.raises(InputError) as caught:
        encode({"a": math.nan, "b": {"c": b""}, "d": 1}, "payload")
    assert "payload.a: " in str(caught.value)
    assert "payload.b.c: " in str(caught.value)


def test_the_same_value_twice_is_no_cycle():
    shared = {"x": 1}
    assert plain({"a": shared, "b": (shared, shared)}, "payload")[0] == {"a": shared, "b": [shared, shared]}


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_a_payload_is_a_mapping(value):
    with pytest.raises(InputError, match="a mapping is expected"):
        plain(value, "payload")
