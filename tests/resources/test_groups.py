from __future__ import annotations

from typing import Any

import pytest

from notifykit import errors
from tests.resources.conftest import House


class User:
    subscriber_id = "ada"


def test_topics_from_create_to_delete(house: House) -> None:
    house.subscribers.bulk_upsert([{"subscriberId": name} for name in ("ada", "bob", "eve")])
    house.topics.create("t", name="News")
    assert house.topics.get("t").members == 0
    assert house.topics.add("t", [User(), "bob", "bob ", "nobody"]) == {"added": ["ada", "bob"], "failed": ["nobody"]}
    assert house.topics.add("t", "eve") == {"added": ["eve"], "failed": []}
    assert house.topics.add("t", ["eve"]) == {"added": ["eve"], "failed": []}
    found = house.topics.get(" t ")
    assert (found.key, found.name, found.members) == ("t", "News", 3)
    assert sorted(house.topics.members("t")) == ["ada", "bob", "eve"]
    assert house.topics.remove("t", ["ada", "nobody"]) == 1
    assert house.topics.remove("t", []) == 0
    assert [each.members for each in house.topics.list()] == [2]
    house.topics.delete("t")
    assert house.rows("SELECT * FROM notifykit_topic_member") == []
    assert house.topics.list().items == []


def test_an_unknown_topic_is_made_by_its_first_known_member(house: House) -> None:
    house.subscribers.upsert("ada")
    assert house.topics.add("t", ["nobody"]) == {"added": [], "failed": ["nobody"]}
    assert house.topics.add("t", []) == {"added": [], "failed": []}
    assert house.topics.list().items == []
    house.topics.add("t", ["nobody", "ada"])
    assert house.topics.get("t").members == 1


def test_misuse_of_topics_is_named(house: House) -> None:
    house.topics.create("t")
    with pytest.raises(errors.ConflictError, match="'t'"):
        house.topics.create(" t")
    for work in (
        lambda: house.topics.get("u"),
        lambda: house.topics.delete("u"),
        lambda: house.topics.remove("u", ["ada"]),
        lambda: list(house.topics.members("u")),
    ):
        with pytest.raises(errors.NotFoundError, match="'u'"):
            work()
    with pytest.raises(errors.InputError, match=r"subscribers\.1"):
        house.topics.add("t", ["ada", 3])  # type: ignore[list-item]


def test_members_come_page_by_page(house: House) -> None:
    names = [f"s{n:04}" for n in range(1203)]
    house.subscribers.bulk_upsert({"subscriberId": name} for name in names)
    with house.counted() as seen:
        house.topics.add("t", names)
    assert len(seen) < 12
    assert sorted(house.topics.members("t")) == names
    first = house.topics.member_page("t", limit=600)
    second = house.topics.member_page("t", limit=600, after=first.next)
    third = house.topics.member_page("t", limit=600, after=second.next)
    assert (second.previous, third.previous, third.next) == (None, first.next, None)
    assert third.has_more is False


def test_tenants(house: House) -> None:
    house.tenants.upsert("acme", name="ACME", data={"logo": "x"})
    assert house.tenants.get(" acme") == {"identifier": "acme", "name": "ACME", "data": {"logo": "x"}}
    house.tenants.upsert("acme", data={"logo": "y"})
    house.tenants.upsert("acme")
    assert house.tenants.get("acme") == {"identifier": "acme", "name": "ACME", "data": {"logo": "y"}}
    with pytest.raises(errors.NotFoundError):
        house.tenants.get("other")
    bad: Any
    for bad, field in (({"name": 3}, "name"), ({"data": "x"}, "data")):
        with pytest.raises(errors.InputError) as caught:
            house.tenants.upsert("other", **bad)
        assert caught.value.field == field


@pytest.mark.parametrize("after", ["", "x", "!!", "bWVzc2FnZTox", "dG9waWM6MTox" * 30, "dG9waWM6LTE6MQ", 7])
def test_a_bad_cursor_is_refused(light: House, after: Any) -> None:
    with pytest.raises(errors.InputError) as caught:
        light.topics.list(after=after)
    assert caught.value.field == "after"


@pytest.mark.parametrize("limit", [0, 1001, -1, True, "5", 2.0])
def test_a_bad_limit_is_refused(light: House, limit: Any) -> None:
    with pytest.raises(errors.InputError) as caught:
        light.topics.list(limit=limit)
    assert caught.value.field == "limit"
