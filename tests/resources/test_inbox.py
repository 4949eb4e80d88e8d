from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from notifykit import errors
from notifykit.events import MessageRead, MessageSeen
from notifykit.flow.steps import InApp
from notifykit.model.codes import MessageStatus
from notifykit.workflow.definition import Workflow
from tests.resources.conftest import House, news


class Shipped(BaseModel):
    order: int
    carrier: str = "ups"


shipped = Workflow("shipped", payload=Shipped, steps=[InApp("bell", body="b")])
CTA = {
    "redirect": {"url": "/orders", "target": "_blank"},
    "primary": {"label": "Track", "url": "https://t"},
    "secondary": {"label": "Later", "url": "/later"},
}


@pytest.fixture
def told(house: House) -> House:
    house.registry.add(shipped)
    house.subscribers.bulk_upsert([{"subscriberId": name, "firstName": name.title()} for name in ("ada", "bob")])
    for n in range(4):
        house.told("ada", "bob", given=f"t{n}", payload={"n": n})
        house.clock.move(seconds=1)
    house.told("ada", step=1, status=MessageStatus.QUEUED)
    return house


def ids(house: House, **filters: Any) -> list[str]:
    return [each.transaction_id for each in house.inbox("ada").list(**filters)]


def test_everything_that_a_message_says(told: House) -> None:
    told.tenants.upsert("acme")
    ((acme,),) = told.rows("SELECT id FROM notifykit_tenant")
    actor = told.pk("bob")
    told.told("ada", given="all", actor=actor, tenant=acme, cta=CTA, data={"icon": "box"}, payload={"x": [1]})
    found = told.inbox("ada").list(limit=1).items[0]
    assert (found.subject, found.body, found.payload, found.data) == ("subject", "body", {"x": [1]}, {"icon": "box"})
    assert (found.workflow, found.step, found.tags, found.tenant) == ("news", "bell", ("a", "b"), "acme")
    assert found.actor == {"subscriber_id": "bob", "name": "Bob", "avatar": None}
    assert (found.redirect, found.redirect_target) == ("/orders", "_blank")
    assert (found.primary, found.secondary) == (CTA["primary"], CTA["secondary"])
    assert (found.seen_at, found.read_at, found.archived_at) == (None, None, None)
    assert found.created_at == told.clock.now()
    told.told("ada", given="plain", shared=True)
    plain = told.inbox("ada").list(limit=1).items[0]
    assert (plain.subject, plain.body) == ("shared subject", "shared body")
    assert (plain.actor, plain.tenant, plain.redirect, plain.primary, plain.data) == (None, None, None, None, {})


def test_typed_payloads(told: House) -> None:
    told.told("ada", workflow=shipped, payload={"order": 7, "carrier": "dhl"})
    (message,) = told.inbox("ada").list(workflow=shipped)
    assert message.payload == Shipped(order=7, carrier="dhl")
    (plain,) = told.inbox("ada").list(workflow="shipped")
    assert plain.payload == {"order": 7, "carrier": "dhl"}
    assert len(told.inbox("ada").list(workflow=news)) == 4
    assert told.inbox("ada").list(workflow="unknown").items == []
    told.told("ada", workflow=shipped, payload={"order": "many"})
    with pytest.raises(errors.PayloadError):
        told.inbox("ada").list(workflow=shipped)


def test_an_unknown_subscriber_has_an_empty_inbox(told: House) -> None:
    inbox = told.inbox("nobody")
    assert inbox.list().items == []
    assert inbox.unread_count() == inbox.unseen_count() == inbox.mark_all("read") == inbox.mark("read", ["msg_1"]) == 0
    with pytest.raises(errors.InputError):
        told.inbox("")


def test_pages_are_stable_under_inserts(told: House) -> None:
    pages, after = [], None
    while True:
        page = told.inbox("ada").list(limit=1, after=after)
        pages.append(page)
        told.told("ada", given=f"late{len(pages)}")
        if (after := page.next) is None:
            break
    assert [page.items[0].transaction_id for page in pages] == ["t3", "t2", "t1", "t0"]
    assert [page.has_more for page in pages] == [True, True, True, False]


def test_previous_leads_back(told: House) -> None:
    first = told.inbox("ada").list(limit=1)
    second = told.inbox("ada").list(limit=1, after=first.next)
    third = told.inbox("ada").list(limit=1, after=second.next)
    assert (first.previous, second.previous) == (None, None)
    again = told.inbox("ada").list(limit=1, after=third.previous)
    assert [each.id for each in again] == [each.id for each in second]


def test_counts(told: House) -> None:
    inbox = told.inbox("ada")
    assert (inbox.unread_count(), inbox.unseen_count(), inbox.unread_count(cap=3), inbox.unread_count(cap=9)) == (
        4,
        4,
        3,
        4,
    )
    first, second, *_ = [each.id for each in inbox.list()]
    inbox.mark("seen", first)
    inbox.mark("archived", second)
    assert (inbox.unread_count(), inbox.unseen_count(), inbox.unseen_count(cap=1)) == (3, 2, 1)
    for cap in (0, -1, True, "9", 1.5):
        with pytest.raises(errors.InputError):
            inbox.unread_count(cap=cap)  # type: ignore[arg-type]


def state(house: House, message: str) -> tuple[bool, bool, bool]:
    pages = (house.inbox("ada").list(), house.inbox("ada").list(archived=True))
    (found,) = [each for page in pages for each in page if each.id == message]
    return (found.seen_at is not None, found.read_at is not None, found.archived_at is not None)


def test_marks(told: House) -> None:
    inbox = told.inbox("ada")
    message = inbox.list().items[0].id
    steps: list[tuple[Any, tuple[bool, bool, bool]]] = [
        ("seen", (True, False, False)),
        ("unseen", (False, False, False)),
        ("read", (True, True, False)),
        ("unseen", (False, True, False)),
        ("unread", (False, False, False)),
        ("archived", (True, True, True)),
        ("unarchived", (True, True, False)),
        ("archived", (True, True, True)),
        ("unread", (True, False, False)),
    ]
    for how, expected in steps:
        assert inbox.mark(how, message) == 1
        assert inbox.mark(how, [message, message]) == 0
        assert state(told, message) == expected
    with pytest.raises(errors.InputError, match="Did you mean 'read'"):
        inbox.mark("reed", message)  # type: ignore[arg-type]


def test_a_mark_keeps_the_first_time(told: House) -> None:
    inbox = told.inbox("ada")
    message = inbox.list().items[0].id
    inbox.mark("seen", message)
    told.clock.move(hours=1)
    inbox.mark("read", message)
    found = inbox.list().items[0]
    assert found.read_at == told.clock.now()
    assert found.seen_at is not None
    assert found.seen_at < found.read_at


def test_foreign_ids_are_ignored(told: House) -> None:
    theirs = told.inbox("bob").list().items[0].id
    (mail,) = told.messages.list(channel="email")
    assert told.inbox("ada").mark("read", [theirs, mail.id, "msg_1", "nonsense", "run_2"]) == 0
    assert told.inbox("bob").unread_count() == 4
    with pytest.raises(errors.InputError):
        told.inbox("ada").mark("read", [3])  # type: ignore[list-item]


def test_mark_all(told: House) -> None:
    inbox = told.inbox("ada")
    inbox.mark("archived", inbox.list().items[0].id)
    assert inbox.mark_all("read") == 3
    assert inbox.mark_all("read") == 0
    assert (inbox.unread_count(), told.inbox("bob").unread_count()) == (0, 4)
    assert inbox.mark_all("unread") == 3
    assert len(inbox.list(archived=True)) == 1
    assert inbox.mark_all("unseen") == 3
    assert inbox.mark_all("seen") == 3
    assert inbox.mark_all("archived") == 3
    assert inbox.list().items == []
    with pytest.raises(errors.InputError):
        inbox.mark_all("unarchived")  # type: ignore[arg-type]


def test_filters(told: House) -> None:
    inbox = told.inbox("ada")
    first, second, third, _ = [each.id for each in inbox.list()]
    inbox.mark("read", first)
    inbox.mark("seen", second)
    inbox.mark("archived", third)
    assert ids(told) == ["t3", "t2", "t0"]
    assert ids(told, read=True) == ["t3"]
    assert ids(told, read=False) == ["t2", "t0"]
    assert ids(told, seen=True) == ["t3", "t2"]
    assert ids(told, seen=False) == ["t0"]
    assert ids(told, read=False, seen=True) == ["t2"]
    assert ids(told, archived=True) == ids(told, archived=True, read=True) == ["t1"]
    with pytest.raises(errors.InputError) as caught:
        ids(told, archived=True, read=False)
    assert caught.value.field == "read"


def test_a_tenants_scope(told: House) -> None:
    told.tenants.upsert("acme")
    ((acme,),) = told.rows("SELECT id FROM notifykit_tenant")
    told.told("ada", tenant=acme, given="scoped")
    told.tenant = "acme"
    inbox = told.inbox("ada")
    assert ids(told) == ["scoped"]
    assert (inbox.unread_count(), inbox.unseen_count(cap=5), inbox.mark_all("read")) == (1, 1, 1)
    told.tenant = "other"
    assert (ids(told), inbox.unread_count(), inbox.mark_all("unread")) == ([], 0, 0)
    told.tenant = None
    assert inbox.unread_count() == 4


def test_observers_hear_of_what_changed(told: House) -> None:
    inbox = told.inbox("ada")
    first, second, *_ = [each.id for each in inbox.list()]
    inbox.mark("read", first)
    assert told.heard == []
    told.observed = {"message_read", "message_seen"}
    inbox.mark("seen", second)
    inbox.mark_all("read")
    kinds = [(type(event), event.message.id == second) for event in told.heard]
    assert kinds[0] == (MessageSeen, True)
    assert sum(kind is MessageRead for kind, _ in kinds) == 3
    assert sum(kind is MessageSeen for kind, _ in kinds) == 3
    assert inbox.mark("unread", first) == 1
    assert len(told.heard) == 6


class Plans:
    """What SQLite says about the statements of a call."""

    def __init__(self, house: House) -> None:
        self.house = house

    def of(self, call: Any) -> str:
        with self.house.counted() as seen:
            call()
        texts = [each for each in seen if "notifykit_message" in each]
        return "\n".join(
            row[3] for text in texts for row in self.house.rows("EXPLAIN QUERY PLAN " + text.replace("?", "1"))
        )


def test_plans_use_the_partial_indexes(light: House) -> None:
    light.subscribers.upsert("ada")
    for n in range(3):
        light.told("ada", given=f"t{n}")
    inbox, plans = light.inbox("ada"), Plans(light)
    page = inbox.list(limit=1)
    for call in (inbox.list, lambda: inbox.list(limit=1, after=page.next), lambda: inbox.list(read=True)):
        plan = plans.of(call)
        assert (
            "notifykit_message USING INDEX ix_notifykit_message_feed" in plan
            or "COVERING INDEX ix_notifykit_message_feed" in plan
        )
        assert "TEMP B-TREE" not in plan
        assert "SCAN notifykit" not in plan
    for count in (inbox.unread_count, lambda: inbox.unread_count(cap=99)):
        assert "ix_notifykit_message_unread" in plans.of(count)
    assert "ix_notifykit_message_feed" in plans.of(inbox.unseen_count)
    assert "ix_notifykit_message_unread" in plans.of(lambda: inbox.mark_all("read"))
    assert "USING INTEGER PRIMARY KEY" in plans.of(lambda: inbox.mark("read", page.items[0].id))
