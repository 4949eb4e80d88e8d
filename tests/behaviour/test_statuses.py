"""What a trigger answers, and that a refusal writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Event, Run, Subscriber, Tenant
from tests.behaviour.stories import STORIES, asleep, bodies, empty, hello, idle, ordered
from tests.harness.both import Both


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)


def test_processed(notify: Both) -> None:
    result = notify.trigger(hello, to="ada")
    assert result.acknowledged
    assert result.raise_for_status() is result
    assert result.transaction_id.startswith("txn_")
    (run,) = notify.runs.list(transaction_id=result.transaction_id)
    assert (run.subscriber_id, run.workflow, run.status) == ("ada", "hello", "completed")


REFUSED: list[tuple[str, Any, dict[str, Any]]] = [
    ("trigger_not_active", asleep, {}),
    ("no_workflow_steps_defined", empty, {}),
    ("no_workflow_active_steps_defined", idle, {}),
    ("subscriber_id_missing", hello, {"to": []}),
    ("no_tenant_found", hello, {"tenant": "nobody"}),
]


@pytest.mark.parametrize(("status", "workflow", "options"), REFUSED, ids=[status for status, *_ in REFUSED])
def test_a_refusal_writes_nothing(notify: Both, status: str, workflow: Any, options: dict[str, Any]) -> None:
    result = notify.trigger(
        workflow, transaction_id="mine", **{"to": "ada", "actor": {"subscriberId": "act"}} | options
    )
    assert (result.status, result.acknowledged, result.recipients, result.duplicate) == (status, True, 0, False)
    assert result.problems
    assert result.error
    assert notify.count(Event) + notify.count(Run) + notify.count(Subscriber) + notify.count(Tenant) == 0
    with pytest.raises(nk.TriggerError, match=status):
        result.raise_for_status()
    assert not notify.trigger(hello, to="ada", transaction_id="mine").duplicate


ORDER: list[tuple[str, dict[str, Any]]] = [
    ("no_tenant_found", {"workflow": asleep, "tenant": "nobody", "to": []}),
    ("trigger_not_active", {"workflow": asleep, "to": []}),
    ("no_workflow_steps_defined", {"workflow": empty, "to": []}),
    ("no_workflow_active_steps_defined", {"workflow": idle, "to": []}),
]


@pytest.mark.table
@pytest.mark.parametrize(("status", "call"), ORDER, ids=[status for status, _ in ORDER])
def test_the_order_of_checks(notify: Both, status: str, call: dict[str, Any]) -> None:
    assert (
        notify.trigger(call["workflow"], **{key: value for key, value in call.items() if key != "workflow"}).status
        == status
    )


def test_a_bad_payload_stands_before_missing_recipients(notify: Both) -> None:
    with pytest.raises(nk.PayloadError):
        notify.trigger(ordered, to=[], payload={"order": "many"})


def test_an_unknown_workflow(notify: Both) -> None:
    with pytest.raises(nk.NotFoundError, match="'hello'"):
        notify.trigger("helo", to="ada")
    with pytest.raises(nk.NotFoundError):
        notify.broadcast("helo")
    (result,) = notify.trigger_bulk([{"name": "helo", "to": "ada"}])
    assert result.status == "error"
    assert "helo" in result.error[0]
    assert notify.count(Event) + notify.count(Subscriber) == 0


def test_a_duplicate_is_the_first_result(notify: Both) -> None:
    first = notify.trigger(hello, to=["ada", "bob"], transaction_id="once")
    again = notify.trigger(
        ordered, to=nk.Recipient("new"), payload={"order": 1}, transaction_id="once", actor={"subscriberId": "act"}
    )
    assert (first.duplicate, again.duplicate) == (False, True)
    assert (again.status, again.recipients, again.transaction_id) == ("processed", 2, "once")
    assert notify.subscribers.find("new") is None
    assert notify.subscribers.find("act") is None
    assert bodies(notify, "ada") == ["Hello"]


def test_a_duplicate_stays_used_after_a_cancel(notify: Both) -> None:
    notify.trigger(
        "order-shipped", to=nk.Recipient("ada", first_name="Ada"), payload={"order": 1}, transaction_id="once"
    )
    assert notify.cancel("once").stopped == 1
    assert notify.trigger("order-shipped", to="ada", payload={"order": 1}, transaction_id="once").duplicate
    assert notify.count(Run) == 1


def test_a_refused_duplicate_repeats_its_problems(notify: Both) -> None:
    first = notify.trigger(hello, to=["ada", ""], transaction_id="once")
    again = notify.trigger(hello, to="bob", transaction_id="once")
    assert again.duplicate
    assert (again.problems, again.error, again.recipients) == (first.problems, first.error, 1)


@pytest.mark.table
@pytest.mark.parametrize("given", ["", "  ", "x" * 300, "txn_1", "a\x00b", 7])
def test_a_bad_transaction_id(notify: Both, given: Any) -> None:
    with pytest.raises(nk.InputError) as caught:
        notify.trigger(hello, to="ada", transaction_id=given)
    assert caught.value.field == "transaction_id"
    assert notify.count(Event) + notify.count(Subscriber) == 0


def test_defaults_are_filled_in(notify: Both) -> None:
    notify.trigger("ordered", to="ada", payload={"order": 1})
    assert notify.inbox("ada").list().items[0].payload == {"order": 1, "carrier": "ups"}


def test_a_payload_names_every_bad_field(notify: Both) -> None:
    with pytest.raises(nk.PayloadError, match=r"(?s)order.*carrier|carrier.*order"):
        notify.trigger("ordered", to="ada", payload={"carrier": 7})
    assert notify.count(Event) == 0


def test_a_payload_object_of_another_model_is_refused(notify: Both) -> None:
    class Other(nk.Recipient):
        """No payload at all."""

    with pytest.raises(nk.PayloadError):
        notify.trigger(ordered, to="ada", payload=Other("x"))


def test_the_typed_payload_of_the_inbox(notify: Both) -> None:
    notify.trigger(ordered(order=7), to="ada")
    (message,) = notify.inbox("ada").list(workflow=ordered)
    assert message.payload.order == 7
