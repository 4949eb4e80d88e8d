from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from notifykit.errors import InputError
from notifykit.workflow.context import context_of, fields_returned
from notifykit.workflow.definition import Workflow


class Shipped(BaseModel):
    order: int
    at: datetime
    items: list[int] = []


SCOPE = {
    "payload": {"order": 7, "at": "2026-01-01T00:00:00Z", "items": [1]},
    "subscriber": {"first_name": "Ada"},
    "actor": None,
    "tenant": None,
    "steps": {"bell": {"read": True}},
}


def test_a_payload_with_a_model_is_read_both_ways():
    payload = context_of(Workflow("k", payload=Shipped, steps=[]).adapter, SCOPE, "key").payload
    assert payload["at"] == "2026-01-01T00:00:00Z"
    assert payload.at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (payload.items, payload.order, payload.get("order")) == ([1], 7, 7)
    with pytest.raises(AttributeError):
        _ = payload.nope


def test_what_a_function_does_to_its_context_stays_there():
    context = context_of(Workflow("k", steps=[]).adapter, SCOPE)
    context.payload["order"] = 8
    context.subscriber["first_name"] = "Eve"
    assert SCOPE["payload"]["order"] == 7
    assert SCOPE["subscriber"]["first_name"] == "Ada"
    assert (context.actor, context.steps["bell"]["read"], context.idempotency_key) == (None, True, "")


def test_what_a_custom_step_returns():
    assert fields_returned("work", None) == {}
    assert fields_returned("work", {"a": (1, 2)}) == {"a": [1, 2]}
    for bad, field in (([], "steps.work"), ({"status": "x"}, "steps.work.status"), ({"a": {1}}, "steps.work.a")):
        with pytest.raises(InputError) as caught:
            fields_returned("work", bad)
        assert caught.value.field == field
