from __future__ import annotations

from typing import Any

import pytest

from notifykit import errors
from notifykit.model.values import UNSET
from notifykit.queries.subscriber_fields import GivenSubscriber, merge, parse_many, view
from notifykit.queries.subscriber_rows import State, load_many, save_many, state_of
from notifykit.results import Problem
from tests.resources.conftest import House, news

FULL: dict[str, Any] = {
    "email": "ada@example.com",
    "phone": "+44 20",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "avatar": "https://example.com/ada.png",
    "locale": "en_GB",
    "timezone": "Europe/London",
    "data": {"plan": "pro", "seats": 3},
}


def test_every_field_comes_back(house: House) -> None:
    made = house.subscribers.upsert("  ada ", **FULL)
    assert {name: getattr(made, name) for name in FULL} == FULL
    assert made.subscriber_id == "ada"
    assert made.created_at == made.updated_at == house.clock.now()
    assert house.subscribers.get("ada") == made == house.subscribers.find(" ada")


def test_left_out_keeps_and_none_clears(house: House) -> None:
    house.subscribers.upsert("ada", **FULL)
    house.clock.move(minutes=1)
    changed = house.subscribers.upsert("ada", email=None, data={"plan": "free"}, phone=UNSET)
    assert (changed.email, changed.phone, changed.data) == (None, "+44 20", {"plan": "free"})
    assert changed.updated_at - changed.created_at == house.clock.now() - changed.created_at
    cleared = house.subscribers.upsert("ada", **dict.fromkeys(FULL))
    assert [getattr(cleared, name) for name in FULL] == [None] * 7 + [{}]


def test_what_does_not_differ_is_not_written(house: House) -> None:
    made = house.subscribers.upsert(
        "ada", **FULL, channels=[{"provider": "fcm", "credentials": {"deviceTokens": ["t"]}}]
    )
    house.clock.move(minutes=1)
    again = house.subscribers.upsert(
        "ada", **FULL, channels=[{"provider": "fcm", "credentials": {"deviceTokens": ["t"]}}]
    )
    assert again == made


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"email": "ada"}, "email"),
        ({"email": "a@b, c@d"}, "email"),
        ({"email": "a@b@c"}, "email"),
        ({"email": "a@b\n"}, "email"),
        ({"email": "x" * 250 + "@b.com"}, "email"),
        ({"email": 3}, "email"),
        ({"phone": "1\x002"}, "phone"),
        ({"first_name": "\ud800"}, "first_name"),
        ({"last_name": "x" * 1001}, "last_name"),
        ({"locale": "english please"}, "locale"),
        ({"timezone": "Europe/Londn"}, "timezone"),
        ({"data": [1]}, "data"),
        ({"data": {"x": float("nan")}}, "data.x"),
        ({"channels": {"provider": "fcm"}}, "channels"),
        ({"channels": [{"credentials": {}}]}, "channels.0.provider"),
        ({"channels": [{"provider": "fcm", "credential": {}}]}, "channels.0.credential"),
        (
            {"channels": [{"provider": "fcm", "credentials": {"deviceTokens": "t"}}]},
            "channels.0.credentials.device_tokens",
        ),
        (
            {"channels": [{"provider": "fcm", "credentials": {"deviceTokens": [""]}}]},
            "channels.0.credentials.device_tokens.0",
        ),
    ],
)
def test_a_bad_value_is_named_and_nothing_written(light: House, facts: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        light.subscribers.upsert("ada", **facts)
    assert caught.value.field == field
    assert str(caught.value).startswith(field)
    assert light.subscribers.find("ada") is None


@pytest.mark.parametrize("key", ["", "  ", "x" * 256, "a\x00b", "\ud800", 7, None])
def test_a_bad_id_is_refused(light: House, key: Any) -> None:
    for verb in (light.subscribers.upsert, light.subscribers.get, light.subscribers.find, light.subscribers.delete):
        with pytest.raises(errors.InputError, match="subscriber_id"):
            verb(key)


def test_the_nearest_timezone_is_proposed(light: House) -> None:
    with pytest.raises(errors.InputError, match="Did you mean 'Europe/London'"):
        light.subscribers.upsert("ada", timezone="Europe/Londn")


def test_ids_are_told_apart_byte_by_byte(house: House) -> None:
    names = ["Ada", "ada", "Àda", "ada.", "e\u0301", "\u00e9"]
    for name in names:
        house.subscribers.upsert(name)
    assert len(house.subscribers.list(total=True)) == len(names)
    assert house.subscribers.get("Àda").subscriber_id == "Àda"


def test_tokens_are_united_and_credentials_merged(house: House) -> None:
    def channels(*given: Any) -> Any:
        return house.subscribers.upsert("ada", channels=given).channels

    channels({"providerId": "fcm", "credentials": {"deviceTokens": ["a", "b", "a"]}})
    channels({"provider": "fcm", "credentials": {"device_tokens": ["c"]}})
    channels(
        {
            "provider": "slack",
            "integrationIdentifier": "team",
            "credentials": {"webhookUrl": "https://w", "channel": "x"},
        }
    )
    fcm, slack = channels({"provider": "slack", "integration": "team", "credentials": {"channel": "y"}})
    assert (fcm.provider, fcm.integration, fcm.credentials) == ("fcm", None, {"device_tokens": ["a", "b", "c"]})
    assert slack.integration == "team"
    assert slack.credentials == {"webhook_url": "https://w", "channel": "y"}
    assert "https://w" not in repr(slack)
    assert len(house.rows("SELECT id FROM notifykit_subscriber_channel")) == 4
    fcm, _ = channels({"provider": "fcm", "credentials": {"deviceTokens": []}})
    assert fcm.credentials == {}
    fcm, _ = channels(
        {"provider": "fcm", "credentials": {"deviceTokens": ["d"]}},
        {"provider": "fcm", "credentials": {"deviceTokens": []}},
        {"provider": "fcm", "credentials": {"deviceTokens": ["e"]}},
    )
    assert fcm.credentials == {"device_tokens": ["e"]}


def test_a_changed_channel_touches_its_subscriber(house: House) -> None:
    made = house.subscribers.upsert("ada")
    house.clock.move(minutes=1)
    changed = house.subscribers.upsert("ada", channels=[{"provider": "fcm", "credentials": {"deviceTokens": ["t"]}}])
    assert changed.updated_at > made.updated_at


def test_bulk_creates_updates_and_names_what_failed(house: House) -> None:
    house.subscribers.upsert("bob", first_name="Bob", locale="de")
    wires: list[Any] = [
        {"subscriberId": "ada", "firstName": "Ada", "email": "ada@example.com"},
        {"subscriberId": "bob", "first_name": None, "email": "", "locale": None},
        {"subscriber_id": "ada", "lastName": "Lovelace", "email": None},
        {"subscriberId": "eve", "email": "nobody"},
        {"firstName": "?"},
        "dan",
        {"subscriberId": 42, "data": {"n": 1}},
        {"subscriberId": "ada", "lastName": "Byron", "lastNam": "Byron"},
    ]
    found = house.subscribers.bulk_upsert(iter(wires))
    assert (found.created, found.updated) == (2, 2)
    fields = {at: problem.field for at, problem in found.failed.items()}
    assert fields == {3: "email", 4: "subscriberId", 5: "", 7: "lastNam"}
    ada, bob = house.subscribers.get("ada"), house.subscribers.get("bob")
    assert (ada.first_name, ada.last_name, ada.email) == ("Ada", "Lovelace", None)
    assert (bob.first_name, bob.locale) == ("Bob", "de")
    assert house.subscribers.get("42").data == {"n": 1}
    assert house.subscribers.find("eve") is None


def test_bulk_takes_the_same_statements_for_one_and_for_many(house: House) -> None:
    def wires(count: int, **facts: Any) -> list[Any]:
        channels = [{"provider": "fcm", "credentials": {"deviceTokens": ["t"], "channel": "c"}}]
        return [{"subscriberId": f"s{n}", "email": f"{n}@b", "channels": channels} | facts for n in range(count)]

    house.write(lambda unit: unit.ids(1))
    with house.counted() as one:
        house.subscribers.bulk_upsert(wires(1))
        house.subscribers.bulk_upsert(wires(1, firstName="x"))
    house.subscribers.delete("s0")
    with house.counted() as many:
        house.subscribers.bulk_upsert(wires(300))
        house.subscribers.bulk_upsert(wires(300, firstName="x"))
    assert len(many) <= len(one)
    assert house.subscribers.list(total=True).total == 300


def test_another_process_that_was_first_is_merged_into(house: House) -> None:
    def work(unit: Any) -> State:
        given = GivenSubscriber("ada", {"last_name": "Lovelace"})
        state = state_of("ada", load_many(unit, ["ada"]).get("ada"))
        state.take(given)
        first = state_of("ada", None)
        first.take(GivenSubscriber("ada", {"first_name": "Ada"}))
        save_many(unit, [first])
        save_many(unit, [state])
        return state

    if not house.database.dialect.locking:
        pytest.skip("one writer at a time")
    state = house.write(work)
    ada = house.subscribers.get("ada")
    assert not state.created
    assert (ada.first_name, ada.last_name) == ("Ada", "Lovelace")


def test_pages_neither_skip_nor_repeat(house: House) -> None:
    for n in range(7):
        house.subscribers.upsert(f"s{n}")
        if n % 2:
            house.clock.move(seconds=1)
    seen, after = [], None
    while True:
        page = house.subscribers.list(limit=2, after=after)
        seen += [each.subscriber_id for each in page]
        house.subscribers.upsert(f"later-{len(seen)}")
        if (after := page.next) is None:
            break
    assert seen == [f"s{n}" for n in reversed(range(7))]
    assert len(list(house.subscribers.each())) == 11


def test_deleting_takes_everything_but_history(house: House) -> None:
    house.subscribers.upsert("ada", channels=[{"provider": "fcm", "credentials": {"deviceTokens": ["t"]}}])
    house.topics.add("t", ["ada"])
    house.preferences.update("ada", enabled=False)
    house.told("ada")
    house.subscribers.delete("ada")
    for table in ("subscriber", "subscriber_channel", "topic_member", "preference"):
        assert house.rows(f"SELECT * FROM notifykit_{table}") == []
    house.subscribers.upsert("ada")
    assert list(house.inbox("ada").list()) == []
    (message,) = house.messages.list()
    assert message.subscriber_id == ""
    for verb in (house.subscribers.get, house.subscribers.delete):
        with pytest.raises(errors.NotFoundError):
            verb("bob")
    assert house.subscribers.find("bob") is None


def test_unlisted_addresses_are_never_found(house: House) -> None:
    def work(unit: Any) -> None:
        save_many(unit, [state_of("\x1fsomething", None)])

    house.write(work)
    assert house.subscribers.list(total=True).total == 0
    with pytest.raises(errors.InputError):
        house.subscribers.get("\x1f\x00")


def test_the_wire_and_the_view() -> None:
    given, bad = parse_many(
        [{"subscriberId": "ada", "firstName": "Ada", "phone": None}, {"subscriberId": "", "email": "x"}]
    )
    assert isinstance(given, GivenSubscriber)
    assert dict(given.fields) == {"first_name": "Ada"}
    assert isinstance(bad, list)
    assert [problem.field for problem in bad] == ["subscriberId", "email"]
    assert all(isinstance(problem, Problem) and not problem.message.startswith(problem.field) for problem in bad)
    seen = view(merge(None, given))
    assert seen["subscriber_id"] == "ada"
    assert seen["first_name"] == "Ada"
    assert seen["data"] == {}
    assert view(merge(None, GivenSubscriber("\x1fq")))["subscriber_id"] == ""


def test_a_definition_is_at_hand() -> None:
    assert news.step("mail") is not None
