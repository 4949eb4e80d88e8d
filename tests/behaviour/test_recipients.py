"""Every form that `to` takes, and what becomes of those who are not served."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.model import Event, Run, Subscriber
from tests.behaviour.stories import STORIES, User, bodies, greeting, hello, kinds, ordered, people, reached, shipped
from tests.harness.both import Both


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)


def test_an_unknown_bare_id_becomes_a_subscriber(notify: Both) -> None:
    assert notify.subscribers.find("ada") is None
    result = notify.trigger(hello, to="ada")
    assert (result.status, result.recipients, result.duplicate, result.error) == ("processed", 1, False, [])
    assert notify.subscribers.get("ada").subscriber_id == "ada"
    assert bodies(notify, "ada") == ["Hello"]


def test_ids_are_trimmed(notify: Both) -> None:
    notify.trigger(hello, to=["  ada ", "ada", "\tada\n"])
    assert [each.subscriber_id for each in notify.subscribers.each()] == ["ada"]
    assert bodies(notify, "ada") == ["Hello"]


def test_keys_differ_by_case_and_accent(notify: Both) -> None:
    ids = ["ada", "Ada", "ADA", "àda", "ada b"]
    assert notify.trigger(hello, to=ids).recipients == 5
    assert sorted(each.subscriber_id for each in notify.subscribers.each()) == sorted(ids)


def test_a_host_row_stands_for_its_subscriber(notify: Both) -> None:
    notify.trigger(hello, to=User(7, "user-7"))
    notify.trigger(hello, to=[User(8, "user-8"), "user-9"])
    assert reached(notify, "user-7", "user-8", "user-9") == ["user-7", "user-8", "user-9"]


def test_an_inline_recipient_is_upserted(notify: Both) -> None:
    notify.trigger(greeting, to=nk.Recipient("ada", email="ada@example.com", first_name="Ada", data={"plan": "pro"}))
    found = notify.subscribers.get("ada")
    assert (found.email, found.first_name, found.data) == ("ada@example.com", "Ada", {"plan": "pro"})
    assert bodies(notify, "ada") == ["Dear Ada"]
    notify.trigger(greeting, to=nk.Recipient("ada", last_name="Lovelace", data={"seat": 1}))
    found = notify.subscribers.get("ada")
    assert (found.email, found.first_name, found.last_name, found.data) == (
        "ada@example.com",
        "Ada",
        "Lovelace",
        {"seat": 1},
    )


def test_a_recipient_has_payload_of_its_own(notify: Both) -> None:
    result = notify.trigger(
        ordered(order=1),
        to=["ada", nk.Recipient("bob", payload={"order": 2}), nk.Recipient("cem", payload={"carrier": "dhl"})],
    )
    assert result.recipients == 3
    assert [bodies(notify, who) for who in ("ada", "bob", "cem")] == [["1 by ups"], ["2 by ups"], ["1 by dhl"]]
    assert notify.inbox("bob").list().items[0].payload == {"order": 2, "carrier": "ups"}


def test_a_recipients_own_payload_is_validated(notify: Both) -> None:
    result = notify.trigger(ordered(order=1), to=["ada", nk.Recipient("bob", payload={"order": "many"})])
    assert (result.status, result.recipients) == ("processed", 1)
    assert [problem.recipient for problem in result.problems] == ["bob"]
    assert "order" in str(result.problems[0])
    assert reached(notify, "ada", "bob") == ["ada"]


def test_a_date_that_a_delay_waits_for_is_there_in_every_recipients_payload(notify: Both) -> None:
    workflow = nk.Workflow("dated", steps=[nk.Delay("wait", until="payload.at"), nk.InApp("bell", body="Now")])
    notify.workflows.register(workflow)
    earlier = (notify.clock.now() + timedelta(minutes=1)).isoformat()
    to = ["ada", nk.Recipient("bob", payload={"at": "soon"}), nk.Recipient("cem", payload={"at": earlier})]
    result = notify.trigger("dated", to=to, payload={"at": (notify.clock.now() + timedelta(hours=1)).isoformat()})
    assert (result.recipients, [problem.field for problem in result.problems]) == (2, ["to.1.payload"])
    notify.travel(minutes=1)
    assert reached(notify, "ada", "bob", "cem") == ["cem"]


@pytest.mark.parametrize(
    "one",
    [
        {"subscriberId": "ada", "firstName": "Ada", "lastName": "L", "email": "ada@example.com"},
        {"subscriber_id": "ada", "first_name": "Ada", "last_name": "L", "email": "ada@example.com"},
    ],
    ids=["wire", "python"],
)
def test_inline_dicts(notify: Both, one: dict[str, Any]) -> None:
    notify.trigger(greeting, to=one)
    found = notify.subscribers.get("ada")
    assert (found.first_name, found.last_name, found.email) == ("Ada", "L", "ada@example.com")
    assert bodies(notify, "ada") == ["Dear Ada"]


def test_null_keeps_names_and_clears_the_address_in_wire_dicts(notify: Both) -> None:
    notify.subscribers.upsert("ada", email="a@b.c", first_name="Ada", phone="+1", locale="en")
    notify.trigger(hello, to={"subscriberId": "ada", "email": None, "firstName": None, "phone": None, "locale": None})
    found = notify.subscribers.get("ada")
    assert (found.email, found.first_name, found.phone, found.locale) == (None, "Ada", "+1", "en")


def test_a_topic_serves_its_members(notify: Both) -> None:
    people(notify, "ada", "bob", "cem", "dan")
    notify.topics.add("team", ["ada", "bob", "cem"])
    result = notify.trigger(greeting, to=nk.Topic("team", exclude=["bob"]))
    assert result.recipients == 2
    assert reached(notify, "ada", "bob", "cem", "dan") == ["ada", "cem"]
    assert notify.trigger(greeting, to={"type": "Topic", "topicKey": "team"}).recipients == 3


def test_an_exclude_belongs_to_its_own_topic(notify: Both) -> None:
    people(notify, "ada", "bob")
    notify.topics.add("red", ["ada", "bob"])
    notify.topics.add("blue", ["ada"])
    result = notify.trigger(hello, to=[nk.Topic("red", exclude=["ada"]), nk.Topic("blue")])
    assert result.recipients == 2
    assert reached(notify, "ada", "bob") == ["ada", "bob"]


def test_one_run_for_each_recipient(notify: Both) -> None:
    people(notify, "ada", "bob")
    notify.topics.add("red", ["ada", "bob"])
    notify.topics.add("blue", ["ada", "bob"])
    result = notify.trigger(
        hello, to=["ada", nk.Topic("red"), nk.Topic("blue"), {"subscriberId": "ada"}, User(1, "bob")]
    )
    assert result.recipients == 2
    assert (bodies(notify, "ada"), bodies(notify, "bob")) == (["Hello"], ["Hello"])


@pytest.mark.parametrize("key", ["nowhere", "empty"])
def test_a_topic_without_members_is_processed_and_traced(notify: Both, key: str) -> None:
    notify.topics.create("empty")
    result = notify.trigger(hello, to=nk.Topic(key))
    assert (result.status, result.recipients) == ("processed", 0)
    expected = "topic_unknown" if key == "nowhere" else "topic_empty"
    assert expected in [kind for step, kind, _ in kinds(notify, result) if step is None]


def test_the_actor_is_left_out_of_topics_only(notify: Both) -> None:
    people(notify, "ada", "bob")
    notify.topics.add("team", ["ada", "bob"])
    assert notify.trigger(hello, to=nk.Topic("team"), actor="ada").recipients == 1
    assert reached(notify, "ada", "bob") == ["bob"]
    assert notify.trigger(hello, to=["ada", nk.Topic("team")], actor="ada").recipients == 2
    assert reached(notify, "ada", "bob") == ["ada", "bob"]


def test_everyone(notify: Both) -> None:
    people(notify, "ada", "bob", "cem")
    assert notify.trigger(hello, to=nk.Everyone()).recipients == 3
    assert notify.broadcast(hello, actor="bob").recipients == 2
    assert [len(bodies(notify, who)) for who in ("ada", "bob", "cem")] == [2, 1, 2]


def test_a_select_names_recipients_and_their_payload(notify: Both) -> None:
    def row(who: Any, order: Any) -> Any:
        return sa.select(sa.literal(who).label("who"), sa.literal(order).label("order"))

    result = notify.trigger(ordered(order=0), to=row("ada", 1).union_all(row("bob", 2), row("ada", 3)))
    assert result.recipients == 2
    assert (bodies(notify, "ada"), bodies(notify, "bob")) == (["1 by ups"], ["2 by ups"])


def test_a_select_of_numbers_is_read_as_text(notify: Both) -> None:
    assert notify.trigger(hello, to=sa.select(sa.literal(7).label("id"))).recipients == 1
    assert bodies(notify, "7") == ["Hello"]


def test_a_select_with_null_is_refused(notify: Both) -> None:
    with pytest.raises(nk.InputError, match="NULL"):
        notify.trigger(hello, to=sa.select(sa.cast(sa.null(), sa.String).label("id")))
    assert notify.count(Event) == 0


BROKEN = {
    "no table": sa.select(sa.column("id")).select_from(sa.table("notifykit_nowhere")),
    "no column": sa.select(sa.column("nothing")).select_from(sa.table("notifykit_subscriber")),
    "no value": sa.select(sa.bindparam("who", type_=sa.String, required=True)),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_select_that_the_database_refuses_is_named(notify: Both, broken: str) -> None:
    with pytest.raises(nk.InputError, match=r"^to: the database refuses this select: .*(no|who)") as caught:
        notify.trigger(hello, to=BROKEN[broken])
    assert caught.value.field == "to"
    with pytest.raises(nk.InputError) as caught:
        notify.trigger_bulk([hello().to("new"), hello().to(["bob", BROKEN[broken]])])
    assert caught.value.field == "to.1"
    assert notify.subscribers.find("new") is None
    assert notify.runs.list().items == []


@pytest.mark.own
def test_a_select_on_a_database_in_trouble_is_a_storage_error(notify: Both) -> None:
    database = notify.engine._runtime.database
    engine = (database if notify.notifier == "sync" else database.database).engine
    error = type("Broken", (Exception,), {"sqlite_errorname": "SQLITE_CORRUPT", "sqlstate": "57P01"})
    broken = {"mariadb": error(2013, "gone"), "postgresql": error("gone")}.get(notify.place, error("corrupt"))

    @sa.event.listens_for(engine, "before_cursor_execute")
    def fail(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "'fay'" in statement:
            raise sa.exc.OperationalError(statement, None, broken)

    with pytest.raises(nk.StorageError, match=r"corrupt|lost"):
        notify.trigger(hello, to=sa.select(sa.literal_column("'fay'").label("id")))


def test_an_empty_select_is_processed(notify: Both) -> None:
    result = notify.trigger(hello, to=sa.select(sa.literal("ada").label("id")).where(sa.false()))
    assert (result.status, result.recipients) == ("processed", 0)


def test_a_mix_in_one_list(notify: Both) -> None:
    people(notify, "ada", "bob")
    notify.topics.add("team", ["bob"])
    mixed = [
        "ada", User(3, "cem"), nk.Recipient("dan"), nk.Topic("team"), {"subscriberId": "eve"},
        sa.select(sa.literal("fay").label("id")),
    ]  # fmt: skip
    assert notify.trigger(hello, to=mixed).recipients == 6
    assert len(reached(notify, "ada", "bob", "cem", "dan", "eve", "fay")) == 6


def test_any_iterable_of_recipients(notify: Both) -> None:
    assert notify.trigger(hello, to=(f"user-{n}" for n in range(3))).recipients == 3
    assert notify.trigger(hello, to={"user-7", "user-8"}).recipients == 2
    assert notify.trigger(hello, to=("ada", "bob")).recipients == 2


def test_no_recipients_at_all(notify: Both) -> None:
    result = notify.trigger(hello, to=[])
    assert (result.status, result.recipients, result.transaction_id) == ("subscriber_id_missing", 0, "")
    with pytest.raises(nk.InputError) as caught:
        notify.trigger(hello, to=None)
    assert caught.value.field == "to"
    assert notify.count(Event) == 0


def test_valid_recipients_are_served_and_the_others_named(notify: Both) -> None:
    result = notify.trigger(
        hello, to=["ada", "", nk.Recipient("bob", email="no address"), {"firstName": "Cem"}, "x" * 300, "dan"]
    )
    assert (result.status, result.recipients) == ("processed", 2)
    assert len(result.problems) == len(result.error) == 4
    assert [problem.field.split(".")[:2] for problem in result.problems] == [["to", n] for n in "1234"]
    assert reached(notify, "ada", "bob", "dan") == ["ada", "dan"]
    assert notify.subscribers.find("bob") is None
    refused = [kind for step, kind, _ in kinds(notify, result) if kind == "recipient_refused"]
    assert len(refused) == 4


def test_no_valid_recipient_left(notify: Both) -> None:
    with pytest.raises(nk.InputError):
        notify.trigger(hello, to=["", {"firstName": "Cem"}])
    assert notify.count(Event) + notify.count(Subscriber) == 0


def test_an_address_only(notify: Both) -> None:
    result = notify.trigger("mailed", to=nk.Recipient(email="new@example.com"), payload={"order": 1})
    assert result.recipients == 1
    assert list(notify.subscribers.each()) == []
    assert notify.trigger(hello, to=nk.Everyone()).recipients == 0
    notify.drain()
    (sent,) = notify.outside.sent
    assert (sent.to, sent.subscriber_id, sent.subject) == (("new@example.com",), "", "Order 1")
    assert notify.count(Subscriber) == 0
    assert notify.count(Run) == 1


def test_an_address_only_waits_for_its_delay(notify: Both) -> None:
    notify.trigger(shipped(order=1), to=nk.Recipient(email="new@example.com", first_name="New"))
    assert notify.count(Subscriber) == 1
    notify.travel(hours=1)
    assert [message.subject for message in notify.outside.sent] == ["Order 1"]
    assert notify.count(Subscriber) == 0


def test_an_address_only_has_no_inbox(notify: Both) -> None:
    result = notify.trigger(hello, to=nk.Recipient(email="new@example.com"))
    assert result.recipients == 1
    assert kinds(notify, result)[-1][1] == "run_completed"
    assert notify.count(Subscriber) == 0


LAST: dict[str, nk.Step] = {
    "nothing is sent": nk.InApp("bell", body="b"),
    "all is skipped": nk.Email("mail", subject="s", body="b", when="payload.wanted is defined"),
    "it fails": nk.InApp("bell", body="{{ payload.absent }}", stop_on_fail=True),
    "it waits again": nk.Delay("again", hours=1),
}


@pytest.mark.parametrize("last", LAST)
def test_an_address_only_goes_with_its_run_though_nothing_is_sent_after_its_delay(notify: Both, last: str) -> None:
    notify.workflows.register(nk.Workflow("waiting", steps=[nk.Delay("wait", hours=1), LAST[last]]))
    notify.trigger("waiting", to=nk.Recipient(email="new@example.com"))
    assert notify.count(Subscriber) == 1
    notify.travel(hours=1)
    assert notify.count(Subscriber) == (1 if last == "it waits again" else 0)
    notify.travel(hours=1)
    assert notify.outside.calls == []
    assert notify.count(Subscriber) == 0


CROWD = tuple(f"user-{n:02}" for n in range(20))
CHUNKS = [1, 3, 500]
"""Two for which members of large topics are read page by page, and one for which all are read at once."""


@pytest.mark.parametrize("chunk", CHUNKS)
def test_whoever_one_of_several_large_topics_does_not_exclude_is_served_once(notify: Both, chunk: int) -> None:
    notify.engine._runtime.chunk = chunk
    people(notify, *CROWD)
    members = {"all": CROWD, "second": CROWD[::2], "third": CROWD[::3], "late": CROWD[10:]}
    for key, who in members.items():
        notify.topics.add(key, who)
    without = {"all": CROWD, "second": CROWD[::4], "third": (), "late": CROWD[15:]}
    to = [nk.Topic(key, exclude=without[key]) for key in members]
    expected = sorted({who for key in members for who in members[key] if who not in without[key]})
    assert 0 < len(expected) < len(CROWD)
    assert notify.trigger(hello, to=to).recipients == len(expected)
    assert reached(notify, *CROWD) == expected


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_topic_that_was_read_in_part_or_not_at_all_is_served_whole(notify: Both, chunk: int) -> None:
    notify.engine._runtime.chunk = chunk
    people(notify, *CROWD)
    sizes = {"small": 6, "large": 20, "behind": 5}
    for key, size in sizes.items():
        notify.topics.add(key, CROWD[:size])
    found = notify.trigger_bulk([hello().to(nk.Topic(key)) for key in sizes])
    assert [result.recipients for result in found] == list(sizes.values())
    assert notify.trigger(hello, to=[nk.Topic("behind"), nk.Topic("large")]).recipients == 20
    assert not [kind for result in found for _, kind, _ in kinds(notify, result) if kind == "topic_empty"]


@pytest.mark.parametrize("beside", [(), ("other",)], ids=["alone", "beside another"])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_topic_named_twice_leaves_out_whom_both_leave_out(notify: Both, chunk: int, beside: tuple[str, ...]) -> None:
    notify.engine._runtime.chunk = chunk
    people(notify, *CROWD)
    notify.topics.add("crowd", CROWD)
    notify.topics.add("other", CROWD[:1])
    first, both, second = CROWD[3], CROWD[7], CROWD[11]
    twice = [nk.Topic("crowd", exclude=[first, both]), nk.Topic("crowd", exclude=[both, second])]
    assert notify.trigger(hello, to=[*twice, *map(nk.Topic, beside)]).recipients == len(CROWD) - 1
    assert reached(notify, *CROWD) == [who for who in CROWD if who != both]
