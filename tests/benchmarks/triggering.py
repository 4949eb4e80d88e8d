"""Bulk, fan-out and single triggers on a SQLite file, against the yardstick and against bare rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import notifykit as nk
from tests.benchmarks.rounds import Ratio, Work, measured, ratio
from tests.benchmarks.straight_line import Line
from tests.benchmarks.subject import Bare, Comment, commented, engine_on, payload, shared, wires

SINGLES = 300


def bulk(folder: Path, *, events: int, rounds: int) -> Iterator[Ratio]:
    """Distinct events, one recipient and one in-app message each; every way on a file of its own."""
    line = Line(folder / "line.db", events)
    wire, plain = wires(events, events), wires(events, events, "comment-untyped")
    notices = [commented(**payload(n)).to(f"user-{n}") for n in range(events)]
    with ExitStack() as stack:
        typed, noticed, untyped = (
            stack.enter_context(engine_on(folder / f"{name}.db", events, topic=False))
            for name in ("typed", "noticed", "untyped")
        )
        checked(typed.trigger_bulk(wire), events)
        bare = stack.enter_context(Bare(folder / "typed.db", folder / "bare.db", events, events))
        works = [
            Work("line", events, lambda: line.bulk(wire)),
            Work("typed", events, lambda: checked(typed.trigger_bulk(wire), events)),
            Work("noticed", events, lambda: checked(noticed.trigger_bulk(notices), events)),
            Work("untyped", events, lambda: checked(untyped.trigger_bulk(plain), events)),
            Work("bare", events, bare.insert, bare.prepare),
        ]
        taken = measured(works, folder.glob("*.db"), rounds)
    line.close()
    what = f"bulk trigger, {events:,} distinct events, one in-app step"
    yield ratio(f"{what}, against the line", "<= 0.9", taken, "typed", "line")
    yield ratio("the same, against bare rows", "(goal 2)", taken, "typed", "bare")
    yield ratio("the same as `workflow(...).to(...)`, against the line", "", taken, "noticed", "line")
    yield ratio("the same with an untyped payload, against the line", "", taken, "untyped", "line")


def topic(folder: Path, *, members: int, rounds: int) -> Iterator[Ratio]:
    """One event to a topic; every way on a file of its own."""
    line = Line(folder / "line.db", members)

    def told(notify: nk.Engine, workflow: nk.Workflow[Comment, ...]) -> None:
        found = notify.trigger(workflow, to=nk.Topic("all"), payload=Comment(**payload()))
        assert found.recipients == members, found

    with ExitStack() as stack:
        personal, alike = (
            stack.enter_context(engine_on(folder / f"{name}.db", members)) for name in ("personal", "alike")
        )
        told(personal, commented)
        bare = stack.enter_context(Bare(folder / "personal.db", folder / "bare.db", 1, members))
        works = [
            Work("line", members, lambda: line.fan_out(payload(), members)),
            Work("personal", members, lambda: told(personal, commented)),
            Work("alike", members, lambda: told(alike, shared)),
            Work("bare", members, bare.insert, bare.prepare),
        ]
        taken = measured(works, folder.glob("*.db"), rounds)
    line.close()
    what = f"one event to a topic of {members:,}"
    yield ratio(f"{what}, text names the subscriber, against the line", "<= 0.75", taken, "personal", "line")
    yield ratio("the same, against bare rows", "", taken, "personal", "bare")
    yield ratio(f"{what}, text the same for all, against the line", "<= 0.5", taken, "alike", "line")


def single(folder: Path, *, rounds: int) -> Iterator[Ratio]:
    """One trigger a transaction."""
    line, path = Line(folder / "line-single.db", SINGLES), folder / "single.db"
    with engine_on(path, SINGLES, topic=False) as notify:
        triggers = wires(SINGLES, SINGLES)

        def by_hand() -> None:
            for trigger in triggers:
                line.one(trigger)

        def ours() -> None:
            for trigger in triggers:
                notify.trigger("comment-added", to=trigger["to"], payload=trigger["payload"])

        taken = measured([Work("line", SINGLES, by_hand), Work("ours", SINGLES, ours)], [line.path, path], rounds)
    line.close()
    yield ratio("one trigger, SQLite file, against look-up, render, 3 inserts, commit", "<= 3.5", taken, "ours", "line")


def checked(found: nk.BulkResult, events: int) -> None:
    """A wrong result is no measurement."""
    assert found.counts == {"processed": events}, (found, dict(list(found.errors.items())[:3]))
