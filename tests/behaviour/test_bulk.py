"""Bulk triggers: one transaction, results in input order, one bad event keeps nobody else away."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.model import Event, Message, Run, Subscriber, metadata
from tests.behaviour.stories import CHANNELS, STORIES, asleep, bodies, everywhere, hello, idle, ordered
from tests.harness.both import Both


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)


def test_results_stand_in_input_order(notify: Both) -> None:
    found = notify.trigger_bulk(
        [
            hello().to("ada"),
            {"name": "nowhere", "to": "ada"},
            nk.Trigger(ordered, to="bob", payload={"order": 2}, transaction_id="two"),
            asleep().to("ada"),
            {"name": "ordered", "to": "ada", "payload": {"order": "many"}},
            idle().to("ada"),
            hello().to([]),
            hello().to("ada", tenant="nobody"),
            {"name": "hello", "to": None},
            {"name": "ordered", "to": "bob", "payload": {"order": 3}, "transactionId": "two"},
            hello().to(["cem", ""]),
        ]
    )
    assert [result.status for result in found] == [
        "processed",
        "error",
        "processed",
        "trigger_not_active",
        "error",
        "no_workflow_active_steps_defined",
        "subscriber_id_missing",
        "no_tenant_found",
        "error",
        "processed",
        "processed",
    ]
    assert [result.recipients for result in found] == [1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    assert [result.duplicate for result in found].index(True) == 9
    assert found[2].transaction_id == found[9].transaction_id == "two"
    assert dict(found.counts) == {
        "processed": 4,
        "error": 3,
        "trigger_not_active": 1,
        "no_workflow_active_steps_defined": 1,
        "subscriber_id_missing": 1,
        "no_tenant_found": 1,
    }
    assert list(found.errors) == [1, 3, 4, 5, 6, 7, 8]
    assert all(each.problems and each.error for each in found.errors.values())
    assert found[-1].problems[0].field.startswith("to.1")
    with pytest.raises(nk.TriggerError):
        found.raise_for_status()
    assert bodies(notify, "bob") == ["2 by ups"]


def test_an_error_keeps_the_given_id(notify: Both) -> None:
    (result,) = notify.trigger_bulk([{"name": "nowhere", "to": "ada", "transactionId": "mine"}])
    assert result.transaction_id == "mine"
    (result,) = notify.trigger_bulk([{"name": "nowhere", "to": "ada"}])
    assert result.transaction_id == ""


def test_nothing_to_do(notify: Both) -> None:
    found = notify.trigger_bulk([])
    assert (len(found), dict(found.counts), dict(found.errors)) == (0, {}, {})


def test_wire_dicts_of_the_reference_api(notify: Both) -> None:
    notify.tenants.upsert("acme", name="Acme")
    notify.subscribers.upsert("fay", first_name="Fay")
    notify.topics.add("team", ["fay"])
    wire: dict[str, Any] = {
        "name": "greeting",
        "to": [
            "ada",
            {
                "subscriberId": "bob",
                "firstName": "Bob",
                "lastName": "B",
                "email": "bob@example.com",
                "phone": "+1",
                "avatar": "https://x.y/z.png",
                "locale": "en",
                "timezone": "Europe/Paris",
                "data": {"plan": "pro"},
                "channels": [
                    {
                        "providerId": "slack",
                        "integrationIdentifier": "s1",
                        "credentials": {"webhookUrl": "https://hooks.example.com/x"},
                    }
                ],
            },
            {"type": "Topic", "topicKey": "team", "exclude": ["ada"]},
            {"type": "Subscriber", "subscriberId": "dan", "firstName": "Dan"},
        ],
        "payload": {"any": ["thing", 1, None, {"x": 1.5}]},
        "overrides": {"email": {"subject": "Hi"}},
        "transactionId": "wire-1",
        "actor": {"subscriberId": "act", "firstName": "Act"},
        "tenant": {"identifier": "acme", "name": "Acme Inc", "data": {"tier": 1}},
    }
    notify.subscribers.upsert("ada", first_name="Ada")
    found = notify.trigger_bulk([wire, {"workflowId": "hello", "to": "ada"}, {"workflow": "hello", "to": "ada"}])
    assert [result.status for result in found] == ["processed"] * 3, [result.error for result in found]
    assert found[0].recipients == 4
    assert bodies(notify, "bob") == ["Dear Bob"]
    bob = notify.subscribers.get("bob")
    assert (bob.timezone, bob.locale, bob.data, bob.phone) == ("Europe/Paris", "en", {"plan": "pro"}, "+1")
    (channel,) = bob.channels
    assert (channel.provider, channel.integration) == ("slack", "s1")
    message = notify.inbox("bob").list().items[0]
    assert (message.tenant, message.actor["subscriber_id"], message.transaction_id) == ("acme", "act", "wire-1")
    assert message.payload == {"any": ["thing", 1, None, {"x": 1.5}]}
    assert notify.tenants.get("acme")["name"] == "Acme Inc"


def test_the_first_of_two_equal_ids_wins(notify: Both) -> None:
    notify.trigger(ordered(order=0), to="ada", transaction_id="old")
    notify.engine._runtime.chunk = 2
    triggers = [ordered(order=n).to(f"user-{n}", transaction_id=f"t{n % 3}") for n in range(1, 9)]
    found = notify.trigger_bulk([ordered(order=9).to("late", transaction_id="old"), *triggers])
    assert [result.duplicate for result in found] == [True, False, False, False, True, True, True, True, True]
    assert notify.count(Event) == 4
    assert notify.count(Subscriber) == 4
    assert notify.subscribers.find("late") is None


def test_progress_tells_events_done(notify: Both) -> None:
    notify.engine._runtime.chunk = 10
    seen: list[int] = []
    notify.trigger_bulk((hello().to(f"user-{n}") for n in range(35)), progress=seen.append)
    assert seen == sorted(set(seen))
    assert (seen[-1], len(seen) >= 3) == (35, True)


def test_raising_in_progress_rolls_everything_back(notify: Both) -> None:
    notify.engine._runtime.chunk = 10

    def stop(done: int) -> None:
        if done >= 20:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        notify.trigger_bulk((hello().to(f"user-{n}") for n in range(50)), progress=stop)
    assert notify.count(Event) + notify.count(Subscriber) + notify.count(Run) + notify.count(Message) == 0
    assert notify.trigger(hello, to="ada").recipients == 1


def test_a_generator_that_raises_in_the_middle(notify: Both) -> None:
    notify.engine._runtime.chunk = 10

    def broken() -> Iterator[nk.Trigger]:
        yield from (hello().to(f"user-{n}") for n in range(25))
        raise ZeroDivisionError("the host's own")

    with pytest.raises(ZeroDivisionError, match="the host's own"):
        notify.trigger_bulk(broken())
    assert notify.count(Event) + notify.count(Subscriber) + notify.count(Run) == 0
    assert notify.trigger(hello, to="ada").recipients == 1


def test_atomic_refuses_all(notify: Both) -> None:
    notify.engine._runtime.chunk = 2
    triggers = [hello().to(f"user-{n}") for n in range(5)]
    assert notify.trigger_bulk(triggers, atomic=True).counts == {"processed": 5}
    with pytest.raises(nk.TriggerError, match="nowhere"):
        notify.trigger_bulk([*triggers, {"name": "nowhere", "to": "ada"}, *triggers], atomic=True)
    assert notify.count(Event) == 5


def test_an_asynchronous_iterable(notify: Both) -> None:
    if notify.notifier == "sync":
        pytest.skip("of the awaited notifier only")

    async def events() -> AsyncIterator[nk.Trigger]:
        for n in range(20):
            yield hello().to(f"user-{n}")

    assert notify.wait(notify.engine.trigger_bulk(events())).counts == {"processed": 20}


@pytest.mark.table
@pytest.mark.parametrize("bad", ["hello", 7, None, {"name": "hello"}, [("name", "hello")], {}, {"to": "ada"}, b"hello"])
def test_a_thing_that_is_no_trigger(notify: Both, bad: Any) -> None:
    found = notify.trigger_bulk([hello().to("ada"), bad, hello().to("bob")])
    assert [result.status for result in found] == ["processed", "error", "processed"]
    assert found[1].problems[0].message


@pytest.mark.table
@pytest.mark.parametrize("bad", [None, 7, "hello", {"name": "hello", "to": "ada"}])
def test_a_thing_that_is_no_list_of_triggers(notify: Both, bad: Any) -> None:
    with pytest.raises(nk.InputError) as caught:
        notify.trigger_bulk(bad)
    assert caught.value.field == "triggers"
    assert notify.count(Event) == 0


def test_slices_of_a_result(notify: Both) -> None:
    found = notify.trigger_bulk([hello().to(f"user-{n}") for n in range(5)])
    assert len(found[1:3]) == 2
    assert found[-1] == found[4]
    with pytest.raises(IndexError):
        found[5]
    assert len({result.transaction_id for result in found}) == 5


@pytest.mark.table
def test_a_result_is_compact(notify: Both) -> None:
    found = notify.trigger_bulk(hello().to("ada") for _ in range(2_000))
    assert sum(map(sys.getsizeof, vars(found).values())) <= 40 * len(found)


def test_inline_facts_run_in_input_order(notify: Both, house: Callable[..., Both]) -> None:
    """Each run sees its subscriber as of its event, also within one chunk."""
    named = [
        {"name": "greeting", "to": {"subscriberId": "ada", "firstName": name}} for name in ("Ada", "Augusta", "A.")
    ]
    assert notify.trigger_bulk([*named, {"name": "greeting", "to": "ada"}]).counts == {"processed": 4}
    assert sorted(bodies(notify, "ada")) == sorted(["Dear Ada", "Dear Augusta", "Dear A.", "Dear A."])


@pytest.mark.own
def test_everyone_sees_those_who_came_before(notify: Both) -> None:
    found = notify.trigger_bulk(
        [hello().to("ada"), hello().to(nk.Everyone()), hello().to("bob"), hello().to(nk.Everyone())]
    )
    assert [result.recipients for result in found] == [1, 1, 1, 2]


@pytest.mark.own
@pytest.mark.parametrize("form", ["alone", "in a list"])
def test_a_select_sees_those_who_came_before(notify: Both, form: str) -> None:
    subscriber: Any = metadata.tables["notifykit_subscriber"]
    known: Any = sa.select(subscriber.c.subscriber_id)
    to = known if form == "alone" else [known]
    found = notify.trigger_bulk([hello().to(to), hello().to("ada"), hello().to(to), hello().to("bob"), hello().to(to)])
    assert [result.recipients for result in found] == [0, 1, 1, 1, 2]


def test_recipients_that_are_read_once_see_those_who_came_before(notify: Both) -> None:
    subscriber: Any = metadata.tables["notifykit_subscriber"]
    known: Any = sa.select(subscriber.c.subscriber_id).where(subscriber.c.subscriber_id != "cem")
    everyone: Any = {nk.Everyone()}
    found = notify.trigger_bulk(
        [hello().to(["ada", "cem"]), hello().to(iter([known])), hello().to(everyone), hello().to("bob")]
    )
    assert [result.recipients for result in found] == [2, 1, 2, 1]


def test_equal_ids_in_several_chunks_and_in_the_table_are_one_rule(notify: Both) -> None:
    """A repetition writes nothing: no subscriber, no actor, no tenant's name."""
    notify.engine._runtime.chunk = 4
    notify.tenants.upsert("acme", name="Acme")
    notify.trigger(hello, to="ada", transaction_id="before")
    wires = [
        {
            "name": "hello",
            "to": f"user-{n}",
            "actor": {"subscriberId": f"actor-{n}"},
            "tenant": {"identifier": "acme", "name": f"Name {n}"},
            "transactionId": ("before", "one", "two")[n % 3],
        }
        for n in range(11)
    ]
    found = notify.trigger_bulk(wires)
    assert [result.duplicate for result in found] == [n not in {1, 2} for n in range(11)]
    assert found.counts == {"processed": 11}
    assert len({result.transaction_id for result in found}) == notify.count(Event) == 3
    known = {each.subscriber_id for each in notify.subscribers.list().items}
    assert known == {"ada", "user-1", "user-2", "actor-1", "actor-2"}
    assert notify.tenants.get("acme")["name"] == "Name 2"


@pytest.mark.own
@pytest.mark.parametrize("to", ["ada", nk.Topic("team")], ids=["ada", "topic"])
def test_a_device_given_later_serves_later_triggers_only(notify: Both, to: Any) -> None:
    notify.subscribers.upsert("ada")
    notify.topics.add("team", ["ada"])
    with_device = nk.Recipient("ada", channels=CHANNELS)
    found = notify.trigger_bulk([everywhere().to(to), everywhere().to(with_device), everywhere().to(to)])
    pushed = [notify.messages.list(transaction_id=each.transaction_id, channel="push").items for each in found]
    assert [len(each) for each in pushed] == [0, 1, 1]
