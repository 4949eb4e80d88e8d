from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field, field_serializer
from sqlmodel import Field as Column
from sqlmodel import SQLModel

from notifykit.errors import InputError, PayloadError
from notifykit.flow.steps import InApp
from notifykit.workflow.definition import BoundWorkflow, Trigger, Workflow


class Shipped(BaseModel):
    order: int
    carrier: str = "ups"
    at: datetime | None = None


@dataclass
class Line:
    sku: str
    count: int = 1


@dataclass
class Cart:
    owner: str
    lines: list[Line] = field(default_factory=list)


class Aliased(BaseModel):
    order_id: int = Field(alias="orderId")


class Rich(BaseModel):
    model_config = ConfigDict(extra="forbid")
    price: float

    @computed_field
    @property
    def label(self) -> str:
        return f"{self.price} EUR"

    @field_serializer("price")
    def cents(self, value: float) -> float:
        return round(value, 2)


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Free(BaseModel):
    anything: Any


class Row(SQLModel, table=True):
    id: int | None = Column(default=None, primary_key=True)
    name: str


def of(payload, key="k"):
    return Workflow(key, payload=payload, steps=[InApp("bell", body="b")])


def test_mappings_and_instances_have_the_same_json_form():
    shipped = of(Shipped)
    expected = {"order": 7, "carrier": "ups", "at": "2026-01-01T00:00:00Z"}
    given = {"order": "7", "at": "2026-01-01T00:00:00Z"}
    assert shipped.serialize(given) == shipped.serialize(Shipped(**given)) == shipped.serialize(expected) == expected
    assert shipped.serialize_many([given])[0][1] == '{"order":7,"carrier":"ups","at":"2026-01-01T00:00:00Z"}'


def test_every_bad_field_is_named_and_the_others_go_on():
    good, bad, missing, strange = of(Shipped).serialize_many([{"order": 1}, {"order": "x", "carrier": 3}, None, [1]])
    assert good[0] == {"order": 1, "carrier": "ups", "at": None}
    assert [path for path, _ in bad.problems] == ["payload.order", "payload.carrier"]
    assert missing.field == "payload.order"
    assert strange.field == "payload"


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x" * 600_000])
def test_what_cannot_be_stored_is_refused_behind_a_model_too(value):
    good, bad = of(Shipped).serialize_many([{"order": 1}, {"order": 1, "carrier": value}])
    assert isinstance(good, tuple)
    assert isinstance(bad, PayloadError)
    assert bad.field in {"payload", "payload.carrier"}


@pytest.mark.parametrize("value", [2**70, float("nan"), object(), {1, 2.5, object()}])
def test_fields_of_any_type_are_looked_into(value):
    good, bad = of(Free).serialize_many([{"anything": 1}, {"anything": value}])
    assert good[0] == {"anything": 1}
    assert isinstance(bad, PayloadError)


def test_depth_behind_a_model():
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(PayloadError):
        of(Free).serialize({"anything": value})


def test_an_instance_that_was_changed_afterwards_is_refused():
    changed = Shipped(order=1)
    changed.order = "many"  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        good, bad = of(Shipped).serialize_many([Shipped(order=1), changed])
    assert isinstance(good, tuple)
    assert isinstance(bad, PayloadError)


def test_dataclasses_are_validated():
    cart = of(Cart)
    assert cart.serialize(Cart("ada", [Line("a")])) == {"owner": "ada", "lines": [{"sku": "a", "count": 1}]}
    assert cart.serialize({"owner": "ada"}) == {"owner": "ada", "lines": []}
    with pytest.raises(PayloadError) as caught:
        cart.serialize(Cart("ada", [Line(3)]))  # type: ignore[arg-type]
    assert caught.value.field == "payload.lines.0.sku"
    assert cart.deserialize({"owner": "ada", "lines": [{"sku": "a"}]}) == Cart("ada", [Line("a")])


def test_aliases_come_in_and_names_are_kept():
    aliased = of(Aliased)
    assert aliased.serialize({"orderId": 1}) == aliased.serialize({"order_id": 1}) == {"order_id": 1}
    assert aliased.deserialize({"order_id": 1}) == Aliased(orderId=1)


def test_serializers_and_computed_fields():
    rich = of(Rich)
    plain = rich.serialize({"price": 1.005})
    assert plain == {"price": 1.0, "label": "1.005 EUR"}
    assert rich.serialize(plain)["price"] == 1.0
    assert rich.deserialize(plain).price == 1.0


def test_extras_of_a_model_that_allows_them():
    assert of(Loose).serialize({"x": 1, "y": [2]}) == {"x": 1, "y": [2]}


def test_tables_are_validated_too():
    row = of(Row)
    assert row.serialize({"name": "a"}) == row.serialize(Row(name="a")) == {"id": None, "name": "a"}
    with pytest.raises(PayloadError):
        row.serialize(Row(name=3))


def test_a_subclass_is_seen_as_what_was_declared():
    class Express(Shipped):
        hours: int = 1

    assert of(Shipped).serialize(Express(order=1)) == {"order": 1, "carrier": "ups", "at": None}


def test_without_a_model_any_mapping_will_do():
    free = Workflow("k", steps=[])
    assert free.serialize({"a": (1, 2)}) == {"a": [1, 2]}
    assert free.serialize(None) == {}
    assert free.serialize(Shipped(order=1))["order"] == 1
    assert free(a=1).payload == {"a": 1}
    with pytest.raises(PayloadError) as caught:
        free.serialize({"a": b""})
    assert caught.value.problems == (("payload.a", "a bytes has no JSON form; give text, numbers, lists or mappings"),)


def test_the_call_form_names_every_bad_field():
    with pytest.raises(PayloadError) as caught:
        of(Shipped)(order="x", carrier=None)
    assert [path for path, _ in caught.value.problems] == ["payload.order", "payload.carrier"]


def test_notices_and_triggers():
    shipped = of(Shipped, "order-shipped")
    trigger = shipped(order=1).to("ada", transaction_id="t-1")
    assert isinstance(trigger.workflow, BoundWorkflow)
    assert trigger.options == {"transaction_id": "t-1"}
    assert "order-shipped" in repr(trigger)
    assert Trigger("order-shipped", to="ada", payload={"order": 1}).payload == {"order": 1}
    with pytest.raises(InputError, match="has one already"):
        Trigger(shipped(order=1), to="ada", payload={"order": 2})
    with pytest.raises(TypeError, match="transation_id"):
        shipped(order=1).to("ada", transation_id="t")  # type: ignore[call-arg]
