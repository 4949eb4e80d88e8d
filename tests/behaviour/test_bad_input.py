"""Bad input gets a typed error that names the field, and writes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import notifykit as nk
from notifykit.model import Event, Message, Run, Subscriber, Tenant
from tests.behaviour.stories import STORIES, hello, ordered
from tests.harness.both import Both

TABLES = (Event, Message, Run, Subscriber, Tenant)


@pytest.fixture
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"x": value}
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {"x": [1]}
    value["x"].append(value)
    return value


class Strange:
    """Nothing that JSON knows."""


PAYLOADS: dict[str, Callable[[], Any]] = {
    "nan": lambda: {"x": math.nan},
    "infinity": lambda: {"x": [1.0, math.inf]},
    "nul": lambda: {"x": "a\x00b"},
    "nul in a key": lambda: {"a\x00b": 1},
    "lone surrogate": lambda: {"x": "\ud800"},
    "lone surrogate in a key": lambda: {"\udfff": 1},
    "integer over 64 bits": lambda: {"x": 2**63},
    "integer under 64 bits": lambda: {"x": [{"y": -(2**63) - 1}]},
    "huge integer": lambda: {"x": 10**5000},
    "5,000 deep": lambda: {"x": deep(5000)},
    "101 deep": lambda: {"x": deep(101)},
    "5,000 deep list": lambda: {"x": json.loads("[" * 900 + "]" * 900)},
    "cyclic": lambda: {"x": cyclic()},
    "over 512 KB": lambda: {"x": "a" * (512 * 1024)},
    "over 512 KB of small things": lambda: {"x": ["aaaaaaa"] * 70_000},
    "key that is no text": lambda: {"x": {1: "one"}},
    "key None": lambda: {None: 1},
    "bytes": lambda: {"x": b"raw \xff"},
    "object": lambda: {"x": Strange()},
    "set of objects": lambda: {"x": {Strange()}},
    "list": lambda: ["x"],
    "text": lambda: "x",
    "number": lambda: 7,
}


@pytest.mark.table
@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads(notify: Both, stories: None, name: str) -> None:
    with pytest.raises(nk.InputError) as caught:
        notify.trigger("hello", to="ada", payload=PAYLOADS[name]())
    assert caught.value.field.startswith("payload")
    assert len(str(caught.value)) < 1_000
    found = notify.trigger_bulk(
        [{"name": "hello", "to": "bob"}, {"name": "hello", "to": "ada", "payload": PAYLOADS[name]()}]
    )
    assert [result.status for result in found] == ["processed", "error"]
    assert found[1].problems[0].field.startswith("payload")
    assert notify.subscribers.find("ada") is None
    assert notify.count(Event) == 1


def test_what_is_still_allowed(notify: Both, stories: None) -> None:
    payload = {
        "x": 2**63 - 1,
        "y": -(2**63),
        "z": deep(90),
        "t": "\U0001f600 \x7f \u2028",
        "e": {},
        "f": 1e308,
        "": "empty key",
        "items": [1],
    }
    assert notify.trigger("hello", to="ada", payload=payload).recipients == 1
    assert notify.inbox("ada").list().items[0].payload == payload


@pytest.mark.table
@pytest.mark.parametrize("name", [key for key in PAYLOADS if key not in {"list", "text", "number"}])
def test_everything_that_is_kept_as_json(notify: Both, stories: None, name: str) -> None:
    bad = PAYLOADS[name]()
    calls: dict[str, Callable[[], Any]] = {
        "data": lambda: notify.subscribers.upsert("ada", data=bad),
        "to": lambda: notify.trigger(hello, to=nk.Recipient("ada", data=bad)),
        "tenant": lambda: notify.trigger(hello, to="ada", tenant={"identifier": "acme", "data": bad}),
        "overrides": lambda: notify.trigger(hello, to="ada", overrides={"provider": bad}),
    }
    notify.tenants.upsert("acme")
    for field, call in calls.items():
        with pytest.raises(nk.InputError) as caught:
            call()
        assert field in caught.value.field, field
    assert notify.count(Event) + notify.count(Subscriber) == 0


IDS: list[Any] = [
    "",
    " \t",
    "x" * 300,
    "a\x00b",
    "\ud800",
    None,
    7,
    b"ada",
    ["ada"],
    {"subscriberId": ""},
    {"subscriberId": None},
    {},
    1.5,
]


@pytest.mark.table
@pytest.mark.parametrize("bad", IDS, ids=repr)
def test_ids(notify: Both, stories: None, bad: Any) -> None:
    with pytest.raises(nk.InputError) as caught:
        notify.trigger(hello, to=[bad] if bad is not None else [None])
    assert caught.value.field.startswith("to")
    with pytest.raises(nk.InputError) as caught:
        notify.trigger(hello, to="ada", actor=bad if bad is not None else {"subscriberId": None})
    assert caught.value.field.startswith("actor")
    (result,) = notify.trigger_bulk([{"name": "hello", "to": [bad]}])
    assert result.status == "error"
    assert result.problems[0].field.startswith("to")
    assert sum(notify.count(table) for table in TABLES) == 0


FIELDS: dict[str, Any] = {
    "timezone": "Mars/Olympus",
    "locale": "nonsense!",
    "email": "nobody",
    "phone": 5,
    "firstName": {"a": 1},
    "lastName": 3.5,
    "avatar": [],
    "data": "text",
    "channels": {"provider": "x"},
}


@pytest.mark.table
@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_an_inline_subscriber(notify: Both, stories: None, field: str) -> None:
    with pytest.raises(nk.InputError) as caught:
        notify.trigger(hello, to={"subscriberId": "ada", field: FIELDS[field]})
    assert field.lower().replace("_", "") in caught.value.field.lower().replace("_", "")
    assert caught.value.field.startswith("to")
    assert sum(notify.count(table) for table in TABLES) == 0


def test_unknown_fields_are_named(notify: Both, stories: None) -> None:
    with pytest.raises(nk.InputError, match="emial"):
        notify.trigger(hello, to={"subscriberId": "ada", "emial": "a@b.c"})
    (result,) = notify.trigger_bulk([{"name": "hello", "to": "ada", "playload": {}}])
    assert (result.status, result.problems[0].field) == ("error", "playload")


def test_naive_times(notify: Both, stories: None) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    with pytest.raises(nk.InputError, match="timezone"):
        notify.messages.list(since=naive)
    with pytest.raises(nk.InputError) as caught:
        notify.trigger(hello, to="ada", payload={"when": naive})
    assert caught.value.field == "payload.when"
    assert notify.trigger(hello, to="ada", payload={"when": datetime(2026, 1, 1, tzinfo=UTC)}).recipients == 1


WORKFLOWS: list[Any] = ["", "x" * 300, "a\x00b", None, 7, b"hello", {"name": "hello"}]


@pytest.mark.table
@pytest.mark.parametrize("bad", WORKFLOWS, ids=repr)
def test_workflows(notify: Both, stories: None, bad: Any) -> None:
    with pytest.raises((nk.InputError, nk.NotFoundError)):
        notify.trigger(bad, to="ada")
    (result,) = notify.trigger_bulk([{"name": bad, "to": "ada"}])
    assert result.status == "error"
    assert sum(notify.count(table) for table in TABLES) == 0


def test_unexpected_options(notify: Both, stories: None) -> None:
    with pytest.raises(TypeError):
        notify.trigger(hello, to="ada", transactionId="x")
    assert notify.count(Event) == 0


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.sampled_from(["ada", "hello", "\x00", "\ud800", "x" * 300, 2**70]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ("name", "to", "payload", "overrides", "actor", "tenant", "transactionId", "workflowId", "nonsense")
INNER = st.sampled_from(
    [
        "subscriberId",
        "firstName",
        "email",
        "data",
        "channels",
        "type",
        "topicKey",
        "exclude",
        "identifier",
        "name",
        "email",
        "sms",
        "delay",
        "steps",
        "locale",
    ]
)
HALF = st.dictionaries(INNER, ANYTHING, max_size=3)
WIRE = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["hello", "ordered", "order-shipped"]),
        "to": st.one_of(st.just("ada"), ANYTHING, HALF, st.lists(HALF, max_size=2)),
    },
    optional={key: st.one_of(ANYTHING, HALF) for key in KEYS[2:]},
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(wires=st.lists(st.one_of(WIRE, WIRE, ANYTHING), min_size=1, max_size=4))
def test_fuzzed_wire_dicts(fuzzed: Both, wires: list[Any]) -> None:
    """Whatever comes in, an answer comes out: a result for each, never an exception of another kind."""
    found = fuzzed.trigger_bulk(wires)
    assert len(found) == len(wires)
    for result in found:
        assert (result.status == "processed") == (not result.problems) or result.status == "processed"
        if result.status == "error":
            assert result.problems[0].message
    for wire in wires:
        if isinstance(wire, dict) and isinstance(wire.get("name"), str):
            try:
                fuzzed.explain(wire["name"], to=wire.get("to"), payload=wire.get("payload"))
            except (nk.InputError, nk.NotFoundError):
                continue


@pytest.fixture(scope="module")
def fuzzed() -> Any:
    """One engine in memory for all examples."""
    both = Both("sync", None, workflows=STORIES)
    yield both
    both.finish()


def test_a_payload_of_the_wrong_type_names_its_path(notify: Both, stories: None) -> None:
    with pytest.raises(nk.PayloadError) as caught:
        notify.trigger("ordered", to="ada", payload={"order": "seven"})
    assert caught.value.field == "payload.order"
    with pytest.raises(nk.PayloadError):
        notify.trigger(ordered, to="ada", payload=None)


def test_registering_what_is_wrong_changes_nothing(notify: Both, stories: None) -> None:
    with pytest.raises(nk.DefinitionError):
        notify.workflows.register(nk.Workflow("broken", steps=[nk.InApp("bell", body="{{ paylod.x }}")]))
    with pytest.raises(nk.NotFoundError):
        notify.trigger("broken", to="ada")
