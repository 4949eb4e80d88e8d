"""Counts and pages of an inbox agree with each other after any sequence of marks."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.behaviour.stories import STORIES, hello
from tests.harness.both import Both

MARK = st.sampled_from(["read", "unread", "seen", "unseen", "archived", "unarchived"])
ALL = st.sampled_from(["read", "unread", "seen", "unseen", "archived"])
PLACES = st.lists(st.integers(0, 7), max_size=4)
MOVES = st.one_of(st.tuples(st.just("mark"), MARK, PLACES), st.tuples(st.just("all"), ALL), st.tuples(st.just("told")))


class Model:
    """What an inbox should hold: each message's marks."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, bool]] = {}

    def mark(self, how: str, ids: list[str]) -> int:
        """Apply a mark; how many messages changed. One that has the mark already is left as it is."""
        state = how.removeprefix("un")
        fresh = [each for each in set(ids) if self.messages[each] | CHANGES[how] != self.messages[each]]
        fresh = [each for each in fresh if how.startswith("un") or not self.messages[each][state]]
        for each in fresh:
            self.messages[each].update(CHANGES[how])
        return len(fresh)

    def count(self, flag: str) -> int:
        """How many are not read or not seen, the archived left out."""
        return sum(not each[flag] and not each["archived"] for each in self.messages.values())


CHANGES: dict[str, dict[str, bool]] = {
    "read": {"read": True, "seen": True},
    "unread": {"read": False, "archived": False},
    "seen": {"seen": True},
    "unseen": {"seen": False},
    "archived": {"archived": True, "read": True, "seen": True},
    "unarchived": {"archived": False},
}


@settings(max_examples=60, deadline=None)
@given(moves=st.lists(MOVES, max_size=12))
def test_an_inbox_agrees_with_its_model(moves: list[Any]) -> None:
    notify, model = Both("sync", None, workflows=STORIES), Model()
    inbox = notify.inbox("ada")

    def told() -> None:
        notify.trigger(hello, to=["ada", "bob"])
        (newest,) = inbox.list(limit=1)
        model.messages[newest.id] = {"read": False, "seen": False, "archived": False}

    try:
        for _ in range(3):
            told()
        for kind, *rest in moves:
            notify.clock.move(seconds=1)
            ids = list(model.messages)
            if kind == "told":
                told()
            elif kind == "all":
                live = [each for each in ids if not model.messages[each]["archived"]]
                assert inbox.mark_all(rest[0]) == model.mark(rest[0], live)
            else:
                chosen = [ids[place] for place in rest[1] if place < len(ids)]
                assert inbox.mark(rest[0], chosen) == model.mark(rest[0], chosen)
            assert (inbox.unread_count(), inbox.unseen_count()) == (model.count("read"), model.count("seen"))
            held = {each.id for each in inbox.list(limit=100)}
            assert held == {each for each, marks in model.messages.items() if not marks["archived"]}
            archived = {each.id for each in inbox.list(archived=True, limit=100)}
            assert archived == {each for each, marks in model.messages.items() if marks["archived"]}
        assert notify.inbox("bob").unread_count() == len(model.messages)
    finally:
        notify.finish()
