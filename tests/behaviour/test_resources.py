"""Subscribers, topics and tenants through the notifier."""

from __future__ import annotations

from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Subscriber, TopicMember
from tests.behaviour.stories import CHANNELS, STORIES, User, bodies, hello, people, reached
from tests.harness.both import Both

FACTS: dict[str, Any] = {
    "email": "ada@example.com",
    "phone": "+100",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "avatar": "https://x.y/a.png",
    "locale": "en_GB",
    "timezone": "Europe/London",
    "data": {"plan": "pro", "n": [1, {"x": None}]},
}


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)


def test_every_field(notify: Both) -> None:
    made = notify.subscribers.upsert("ada", **FACTS, channels=CHANNELS)
    assert made == notify.subscribers.get("ada")
    assert {name: getattr(made, name) for name in FACTS} == FACTS
    assert [(each.provider, each.integration) for each in made.channels] == [("fcm", None), ("slack", None)]
    assert "token-1" not in repr(made)
    assert (made.created_at, made.updated_at) == (notify.clock.now(), notify.clock.now())


def test_left_out_keeps_and_none_clears(notify: Both) -> None:
    notify.subscribers.upsert("ada", **FACTS)
    notify.clock.move(minutes=1)
    changed = notify.subscribers.upsert("ada", email=None, first_name="Augusta", data={})
    assert (changed.email, changed.first_name, changed.last_name, changed.data) == (None, "Augusta", "Lovelace", {})
    assert changed.updated_at > changed.created_at


@pytest.mark.table
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"),
        ("email", "a@b@c"),
        ("email", "a b@c.d"),
        ("email", "a@b.c,d@e.f"),
        ("email", "x" * 260 + "@y.z"),
        ("email", "a@b.c\n"),
        ("email", 7),
        ("phone", 7),
        ("first_name", ["x"]),
        ("locale", "not a locale"),
        ("timezone", "Mars/Olympus"),
        ("data", ["x"]),
        ("data", {"x": float("nan")}),
        ("data", {1: "x"}),
        ("first_name", "a\x00b"),
        ("first_name", "\ud800"),
        ("channels", [7]),
        ("avatar", 3),
    ],
)
def test_a_bad_field_is_named(notify: Both, field: str, value: Any) -> None:
    with pytest.raises(nk.InputError) as caught:
        notify.subscribers.upsert("ada", **{field: value})
    assert field in caught.value.field
    assert notify.count(Subscriber) == 0


@pytest.mark.table
@pytest.mark.parametrize("bad", ["", "   ", "x" * 300, "a\x00b", "\ud800", 7, None])
def test_a_bad_id(notify: Both, bad: Any) -> None:
    for call in (notify.subscribers.upsert, notify.subscribers.get):
        with pytest.raises((nk.InputError, nk.NotFoundError)):
            call(bad)
    assert notify.count(Subscriber) == 0


def test_bulk_upsert(notify: Both) -> None:
    notify.subscribers.upsert("ada")
    rows = [
        {"subscriberId": "ada", "firstName": "Ada"},
        {"subscriber_id": "bob", "email": "nobody"},
        {"firstName": "Cem"},
        {"subscriber_id": "dan"},
        {"subscriber_id": "dan", "last_name": "D"},
        "eve",
    ]
    found = notify.subscribers.bulk_upsert(rows)
    assert (found.created, found.updated, sorted(found.failed)) == (1, 2, [1, 2, 5])
    assert "email" in found.failed[1].field
    assert notify.subscribers.get("dan").last_name == "D"
    assert notify.subscribers.find("bob") is None


def test_pages_neither_skip_nor_repeat(notify: Both) -> None:
    for n in range(25):
        notify.subscribers.upsert(f"user-{n:02}")
        if n % 3 == 0:
            notify.clock.move(seconds=1)
    seen: list[str] = []
    after = None
    while True:
        page = notify.subscribers.list(limit=4, after=after, total=True)
        seen += [each.subscriber_id for each in page]
        notify.subscribers.upsert(f"late-{len(seen)}")
        if (after := page.next) is None:
            break
    assert seen == [f"user-{n:02}" for n in range(24, -1, -1)]
    assert page.total is not None
    assert page.total >= 25
    assert [each.subscriber_id for each in notify.subscribers.each()][-25:] == seen


def test_unknown_things(notify: Both) -> None:
    for call in (
        lambda: notify.subscribers.get("nobody"),
        lambda: notify.subscribers.delete("nobody"),
        lambda: notify.topics.get("nowhere"),
        lambda: notify.topics.delete("nowhere"),
        lambda: notify.tenants.get("nobody"),
    ):
        with pytest.raises(nk.NotFoundError):
            call()
    assert notify.subscribers.find("nobody") is None


def test_topics(notify: Both) -> None:
    people(notify, "ada", "bob")
    notify.topics.create("team", name="The team")
    with pytest.raises(nk.ConflictError):
        notify.topics.create("team")
    found = notify.topics.add("team", ["ada", User(2, "bob"), "nobody", "ada"])
    assert (list(found["added"]), list(found["failed"])) == (["ada", "bob"], ["nobody"])
    details = notify.topics.get("team")
    assert (details.key, details.name, details.members) == ("team", "The team", 2)
    assert sorted(notify.topics.members("team")) == ["ada", "bob"]
    assert notify.topics.remove("team", ["ada", "nobody"]) == 1
    assert list(notify.topics.members("team")) == ["bob"]
    notify.topics.add("other", ["bob"])
    assert {each.key for each in notify.topics.list()} == {"team", "other"}
    notify.topics.delete("team")
    assert list(notify.topics.members("other")) == ["bob"]
    assert notify.count(TopicMember) == 1


def test_adding_to_an_unknown_topic(notify: Both) -> None:
    found = notify.topics.add("team", ["nobody"])
    assert list(found["failed"]) == ["nobody"]
    with pytest.raises(nk.NotFoundError):
        notify.topics.get("team")
    assert notify.topics.add("team", [])["added"] == []
    people(notify, "ada")
    notify.topics.add("team", ["ada"])
    assert notify.topics.get("team").members == 1
    assert notify.topics.remove("team", []) == 0


def test_tenants(notify: Both) -> None:
    notify.tenants.upsert("acme", name="Acme", data={"tier": 1})
    notify.tenants.upsert("acme", name="Acme Inc")
    found = notify.tenants.get("acme")
    assert (found["identifier"], found["name"]) == ("acme", "Acme Inc")
    notify.trigger(hello, to="ada", tenant={"identifier": "acme", "name": "Acme Ltd", "data": {"tier": 2}})
    found = notify.tenants.get("acme")
    assert (found["name"], found["data"]) == ("Acme Ltd", {"tier": 2})


def test_a_deleted_subscriber_leaves_topics_and_comes_back_new(notify: Both) -> None:
    people(notify, "ada", "bob")
    notify.topics.add("team", ["ada", "bob"])
    notify.preferences.update("ada", enabled=False)
    notify.trigger(hello, to=nk.Topic("team"))
    notify.subscribers.delete("ada")
    assert list(notify.topics.members("team")) == ["bob"]
    assert bodies(notify, "ada") == []
    notify.trigger(hello, to=[nk.Topic("team"), "ada"])
    assert reached(notify, "ada", "bob") == ["ada", "bob"]
    assert len(bodies(notify, "ada")) == 1
    assert notify.subscribers.get("ada").email is None


def test_the_actor_is_upserted(notify: Both) -> None:
    notify.trigger(hello, to="ada", actor={"subscriberId": "act", "firstName": "Act"})
    assert notify.subscribers.get("act").first_name == "Act"
    (message,) = notify.inbox("ada").list()
    assert message.actor["name"] == "Act"
    notify.trigger(hello, to="ada", actor=User(1, "act"))
    assert notify.subscribers.get("act").first_name == "Act"
    with pytest.raises(nk.InputError) as caught:
        notify.trigger(hello, to="ada", actor={"firstName": "nobody"})
    assert caught.value.field.startswith("actor")
