"""What the engine gives and takes may be hashed, pickled and copied: caches, queues and other processes do."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

import notifykit as nk


class Shipped(BaseModel):
    order: int
    lines: list[str] = []


@dataclass
class Paid:
    order: int


def urgent(context: nk.Context[Any]) -> bool:
    return True


shipped = nk.Workflow(
    "shipped",
    steps=[
        nk.InApp("bell", body="{{ payload.order }}", data={"order": ["{{ payload.order }}"]}),
        nk.Email("mail", subject="s", body="b", when=urgent),
    ],
    payload=Shipped,
    tags=["orders"],
    preferences={"email": True},
)
paid = nk.Workflow("paid", steps=[nk.InApp("bell", body="x")], payload=Paid)
plain = nk.Workflow("plain", steps=[nk.InApp("bell", body="x")])
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.fixture
def values() -> dict[str, Any]:
    """What verbs answer."""
    with nk.Engine(workflows=[shipped, paid, plain]) as notify:
        notify.subscribers.upsert("ada", email="ada@x.org", data={"tags": ["a", {"b": 1}]})
        notify.deliver("email")(lambda message: None)
        result = notify.trigger(shipped(order=1, lines=["x"]), to=["ada", "", "bob"])
        return {
            "result": result,
            "refused": notify.trigger_bulk([{"name": "shipped", "to": "ada", "payload": {"order": "x"}}]).errors[0],
            "subscriber": notify.subscribers.get("ada"),
            "subscribers": notify.subscribers.list(),
            "bulk upsert": notify.subscribers.bulk_upsert([{"subscriber_id": "x"}, {"subscriber_id": ""}]),
            "drain": notify.drain(),
            "typed": notify.inbox("ada").list(workflow=shipped).items[0],
            "inbox": notify.inbox("ada").list(),
            "details": notify.messages.get(notify.messages.list(channel="email").items[0].id),
            "runs": notify.runs.list(),
            "trace": notify.executions.list(transaction_id=result.transaction_id),
            "plan": notify.explain(paid(order=1), to="ada"),
            "cancel": notify.cancel(result),
            "recipient": nk.Recipient("ada", data={"a": [1]}, payload={"b": {}}),
            "topic": nk.Topic("all", exclude=["ada"]),
        }


@pytest.mark.parametrize("how", COPIES)
def test_results_are_equal_to_their_copies(values: dict[str, Any], how: str) -> None:
    for name, value in values.items():
        twin = COPIES[how](value)
        if not isinstance(value, list):
            assert (twin, hash(twin), {twin: name}[value]) == (value, hash(value), name)
        assert repr(twin) == repr(value)


@pytest.mark.parametrize("how", COPIES)
def test_a_bulk_result_says_the_same(how: str) -> None:
    with nk.Engine(workflows=[plain]) as notify:
        bulk = notify.trigger_bulk([nk.Trigger(plain, to="ada", transaction_id="one"), {"name": "plain", "to": ""}])
    twin = COPIES[how](bulk)
    assert (list(twin), twin.counts, hash(bulk)) == (list(bulk), bulk.counts, hash(bulk))


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("workflow", [shipped, paid], ids=lambda each: each.key)
def test_workflows_and_notices_do_what_their_copies_do(workflow: Any, how: str, used: bool) -> None:
    if used:
        with nk.Engine(workflows=[workflow]) as notify:
            notify.trigger(workflow(order=1), to="ada").raise_for_status()
    twin = COPIES[how](workflow)
    assert (twin.hash, hash(workflow)) == (workflow.hash, hash(workflow))
    with nk.Engine(workflows=[twin]) as notify:
        for each in (twin(order=1), COPIES[how](workflow(order=2))):
            notify.trigger(each, to="ada").raise_for_status()
        notify.trigger_bulk([COPIES[how](workflow(order=3).to("ada"))]).raise_for_status()
        assert notify.inbox("ada").unread_count() == 3
