"""The inbox: pages, counts, marks, what a message carries."""

from __future__ import annotations

from typing import Any

import pytest

import notifykit as nk
from tests.behaviour.stories import STORIES, bodies, hello, mailed, ordered, people
from tests.harness.both import Both

rich = nk.Workflow(
    "rich",
    tags=["a", "b"],
    steps=[
        nk.InApp(
            "bell",
            subject="About {{ payload.x }}",
            body="Body {{ payload.x }}",
            redirect={"url": "/orders/{{ payload.x }}", "target": "_blank"},
            primary={"label": "Open {{ payload.x }}", "url": "https://example.com/{{ payload.x }}"},
            secondary={"label": "Later", "url": "/later"},
            data={"x": "{{ payload.x }}", "n": 1},
        )
    ],
)


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES, rich)


def test_what_a_message_carries(notify: Both) -> None:
    notify.tenants.upsert("acme")
    notify.subscribers.upsert("act", first_name="Act", last_name="Or", avatar="https://x.y/a.png")
    result = notify.trigger("rich", to="ada", payload={"x": 7}, actor="act", tenant="acme")
    (message,) = notify.inbox("ada").list()
    assert (message.subject, message.body, message.data) == ("About 7", "Body 7", {"x": "7", "n": 1})
    assert (message.redirect, message.redirect_target) == ("/orders/7", "_blank")
    assert message.primary == {"label": "Open 7", "url": "https://example.com/7"}
    assert message.secondary == {"label": "Later", "url": "/later"}
    assert (message.workflow, message.step, message.tags, message.tenant) == ("rich", "bell", ("a", "b"), "acme")
    assert message.actor == {"subscriber_id": "act", "name": "Act Or", "avatar": "https://x.y/a.png"}
    assert (message.transaction_id, message.payload) == (result.transaction_id, {"x": 7})
    assert (message.seen_at, message.read_at, message.archived_at) == (None, None, None)
    assert message.created_at == notify.clock.now()


def test_newest_first_in_pages_that_are_stable(notify: Both) -> None:
    for n in range(7):
        notify.trigger(ordered(order=n), to="ada")
        if n % 2:
            notify.clock.move(seconds=1)
    inbox = notify.inbox("ada")
    first = inbox.list(limit=3)
    assert [each.body for each in first] == ["6 by ups", "5 by ups", "4 by ups"]
    assert (first.has_more, first.previous) == (True, None)
    inbox.mark("read", [each.id for each in first])
    notify.trigger(ordered(order=99), to="ada")
    second = inbox.list(limit=3, after=first.next)
    assert [each.body for each in second] == ["3 by ups", "2 by ups", "1 by ups"]
    third = inbox.list(limit=3, after=second.next)
    assert [each.body for each in third] == ["0 by ups"]
    assert (third.has_more, third.next) == (False, None)
    back = inbox.list(limit=3, after=third.previous)
    assert [each.id for each in back] == [each.id for each in second]


def test_a_page_of_exactly_the_limit_has_no_more(notify: Both) -> None:
    for n in range(4):
        notify.trigger(ordered(order=n), to="ada")
    page = notify.inbox("ada").list(limit=4)
    assert (len(page), page.has_more, page.next) == (4, False, None)


def test_filters(notify: Both) -> None:
    notify.trigger(ordered(order=1), to="ada")
    notify.trigger(hello, to="ada")
    inbox = notify.inbox("ada")
    (told,) = inbox.list(workflow=hello)
    (order,) = inbox.list(workflow=ordered)
    assert order.payload.order == 1
    inbox.mark("read", told.id)
    assert [each.id for each in inbox.list(read=True)] == [told.id]
    assert [each.id for each in inbox.list(read=False)] == [order.id]
    inbox.mark("seen", order.id)
    assert len(inbox.list(seen=True)) == 2
    inbox.mark("archived", told.id)
    assert [each.id for each in inbox.list(archived=True)] == [told.id]
    assert [each.id for each in inbox.list()] == [order.id]
    assert [each.id for each in inbox.list(workflow="ordered")] == [order.id]


MARKS: dict[str, tuple[bool, bool, bool]] = {  # seen, read, archived after the mark on a fresh message
    "seen": (True, False, False),
    "read": (True, True, False),
    "archived": (True, True, True),
    "unread": (False, False, False),
    "unseen": (False, False, False),
    "unarchived": (False, False, False),
}


def states(notify: Both, who: str = "ada") -> tuple[bool, bool, bool]:
    items = [*notify.inbox(who).list(), *notify.inbox(who).list(archived=True)]
    (message,) = items
    return message.seen_at is not None, message.read_at is not None, message.archived_at is not None


@pytest.mark.table
@pytest.mark.parametrize("how", MARKS)
def test_marks_on_a_fresh_message(notify: Both, how: Any) -> None:
    notify.trigger(hello, to="ada")
    (message,) = notify.inbox("ada").list()
    changed = notify.inbox("ada").mark(how, message.id)
    assert states(notify) == MARKS[how]
    assert changed == (1 if any(MARKS[how]) else 0)


BACK: dict[str, tuple[bool, bool, bool]] = {  # after the mark on an archived message
    "unread": (True, False, False),
    "unseen": (False, True, True),
    "unarchived": (True, True, False),
    "read": (True, True, True),
    "seen": (True, True, True),
    "archived": (True, True, True),
}


@pytest.mark.table
@pytest.mark.parametrize("how", BACK)
def test_marks_on_an_archived_message(notify: Both, how: Any) -> None:
    notify.trigger(hello, to="ada")
    (message,) = notify.inbox("ada").list()
    notify.inbox("ada").mark("archived", message.id)
    notify.clock.move(minutes=1)
    changed = notify.inbox("ada").mark(how, message.id)
    assert states(notify) == BACK[how]
    assert changed == (1 if how.startswith("un") else 0)


def test_marking_again_keeps_the_first_time(notify: Both) -> None:
    notify.trigger(hello, to="ada")
    (message,) = notify.inbox("ada").list()
    first = notify.clock.now()
    assert notify.inbox("ada").mark("read", message.id) == 1
    notify.clock.move(minutes=5)
    assert notify.inbox("ada").mark("read", [message.id]) == 0
    assert notify.inbox("ada").list().items[0].read_at == first


def test_others_messages_are_ignored(notify: Both) -> None:
    notify.trigger(hello, to=["ada", "bob"])
    (theirs,) = notify.inbox("bob").list()
    assert notify.inbox("ada").mark("read", [theirs.id, "msg_123456789", "nonsense"]) == 0
    assert notify.inbox("bob").unread_count() == 1


def test_counts(notify: Both) -> None:
    notify.trigger_bulk(ordered(order=n).to("ada") for n in range(12))
    inbox = notify.inbox("ada")
    assert (inbox.unread_count(), inbox.unread_count(cap=5), inbox.unread_count(cap=100)) == (12, 5, 12)
    ids = [each.id for each in inbox.list()]
    inbox.mark("read", ids[:3])
    inbox.mark("seen", ids[:5])
    inbox.mark("archived", ids[5])
    assert (inbox.unread_count(), inbox.unseen_count(), inbox.unseen_count(cap=2)) == (8, 6, 2)
    people(notify, "ada")
    notify.trigger(mailed(order=1), to="ada")
    assert inbox.unread_count() == 8


def test_mark_all(notify: Both) -> None:
    notify.trigger_bulk(hello().to(who) for who in ("ada", "ada", "bob"))
    inbox = notify.inbox("ada")
    assert (inbox.mark_all("seen"), inbox.unseen_count(), inbox.unread_count()) == (2, 0, 2)
    assert (inbox.mark_all("read"), inbox.mark_all("read"), inbox.unread_count()) == (2, 0, 0)
    assert (inbox.mark_all("unread"), inbox.unread_count()) == (2, 2)
    assert (inbox.mark_all("archived"), len(inbox.list()), len(inbox.list(archived=True))) == (2, 0, 2)
    assert notify.inbox("bob").unread_count() == 1


def test_an_unknown_subscriber_has_an_empty_inbox(notify: Both) -> None:
    inbox = notify.inbox("nobody")
    assert (list(inbox.list()), inbox.unread_count(), inbox.unseen_count(), inbox.mark_all("read")) == ([], 0, 0, 0)
    assert inbox.mark("read", ["msg_1"]) == 0
    assert notify.subscribers.find("nobody") is None


def test_a_tenants_inbox(notify: Both) -> None:
    notify.tenants.upsert("acme")
    notify.tenants.upsert("globex")
    notify.trigger(ordered(order=1), to="ada", tenant="acme")
    notify.trigger(ordered(order=2), to="ada", tenant="globex")
    notify.trigger(ordered(order=3), to="ada")
    assert len(bodies(notify, "ada")) == 3
    acme = notify.scoped(tenant="acme")
    assert [each.body for each in acme.inbox("ada").list()] == ["1 by ups"]
    assert (acme.inbox("ada").unread_count(), acme.inbox("ada").mark_all("read")) == (1, 1)
    assert notify.inbox("ada").unread_count() == 2
    acme.trigger(ordered(order=4), to="ada")
    assert notify.inbox("ada").list().items[0].tenant == "acme"
    with pytest.raises(nk.InputError, match="globex"):
        acme.trigger(ordered(order=5), to="ada", tenant="globex")


def test_bad_questions(notify: Both) -> None:
    inbox = notify.inbox("ada")
    with pytest.raises(nk.InputError):
        inbox.list(archived=True, read=False)
    for flag in ("read", "seen", "archived"):
        with pytest.raises(nk.InputError, match="True, False or None") as caught:
            inbox.list(**{flag: "yes"})
        assert caught.value.field == flag
    with pytest.raises(nk.InputError):
        inbox.list(limit=0)
    with pytest.raises(nk.InputError):
        inbox.list(after="nonsense")
    with pytest.raises(nk.InputError, match="'read'"):
        inbox.mark("reed", ["msg_1"])
    with pytest.raises(nk.InputError):
        inbox.unread_count(cap=0)


@pytest.mark.table
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "example.com", "ftp://x.y", "//evil.example.com", "data:text/html,x"]
)
def test_a_rendered_link_that_is_none_fails_the_step(notify: Both, url: str) -> None:
    workflow = nk.Workflow("linked", steps=[nk.InApp("bell", body="b", redirect="{{ payload.url }}")])
    notify.workflows.register(workflow)
    notify.trigger("linked", to="ada", payload={"url": url})
    assert bodies(notify, "ada") == []
    notify.trigger("linked", to="ada", payload={"url": "https://example.com/x"})
    assert bodies(notify, "ada") == ["b"]
