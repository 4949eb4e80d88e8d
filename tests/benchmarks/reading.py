"""The inbox of one subscriber in a small and in a large table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import notifykit as nk
from tests.benchmarks.rounds import Ratio, Work, measured, ratio
from tests.benchmarks.subject import Comment, commented, engine_on, payload

EACH = 100
"""Messages a subscriber."""
LOOKS = 200


def inbox(folder: Path, *, messages: int, rounds: int) -> Iterator[Ratio]:
    """Unread count and first page of a warm subscriber who has the same messages in both."""
    few, many = _filled(folder / "inbox-few.db", 10_000), _filled(folder / "inbox-many.db", messages)
    works = [Work(name, LOOKS, lambda notify=notify: _look(notify)) for name, notify in (("few", few), ("many", many))]  # type: ignore[misc]
    taken = measured(works, [folder / "inbox-few.db", folder / "inbox-many.db"], rounds)
    few.close()
    many.close()
    yield ratio(f"unread count and first page, {messages:,} messages, against 10,000", "<= 2", taken, "many", "few")


def _filled(path: Path, messages: int) -> nk.Engine:
    notify = engine_on(path, messages // EACH)
    for n in range(EACH):
        notify.trigger(commented, to=nk.Topic("all"), payload=Comment(**payload(n)))
    return notify


def _look(notify: nk.Engine) -> None:
    inbox = notify.inbox("user-7")
    for _ in range(LOOKS):
        assert inbox.unread_count() == EACH
        assert len(inbox.list()) == 20
