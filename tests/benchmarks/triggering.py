"""Bulk, fan-out and single triggers on a SQLite file, against the yardstick and against bare rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import notifykit as nk
from tests.benchmarks.rounds import Ratio, Work, measured, ratio
from tests.benchmarks.straight_line import Line
from tests.benchmarks.subject import Bare, Comment, commented, engine_on, payload, shared, wires

SINGLES = 300


def bulk(folder: Path, *, events: int, rounds: int) -> Iterator[Ratio]:
    """Distinct events, one recipient and one in-app message each."""
    line, path = Line(folder / "line.db", events), folder / "bulk.db"
    with engine_on(path, events, topic=False) as notify:
        typed, plain = wires(events, events), wires(events, events, "comment-untyped")
        notices = [commented(**payload(n)).to(f"user-{n}") for n in range(events)]
        checked(notify.trigger_bulk(typed), events)
        bare = Bare(path)
        bare.learn(events, events)
        works = [
            Work("line", events, lambda: line.bulk(typed)),
            Work("typed", events, lambda: checked(notify.trigger_bulk(typed), events)),
            Work("notices", events, lambda: checked(notify.trigger_bulk(notices), events)),
            Work("untyped", events, lambda: checked(notify.trigger_bulk(plain), events)),
            Work("bare", events, bare.insert, bare.prepare),
        ]
        taken = measured(works, [line.path, path], rounds)
        bare.close()
    line.close()
    what = f"bulk trigger, {events:,} distinct events, one in-app step"
    yield ratio(f"{what}, typed payload, line", "<= 0.9", taken, "typed", "line")
    yield ratio(f"{what}, typed payload, bare rows", "(goal 2)", taken, "typed", "bare")
    yield ratio(f"{what}, `workflow(...).to(...)`, line", "", taken, "notices", "line")
    yield ratio(f"{what}, untyped payload, line", "", taken, "untyped", "line")


def topic(folder: Path, *, members: int, rounds: int) -> Iterator[Ratio]:
    """One event to a topic."""
    line, path = Line(folder / "line-topic.db", members), folder / "topic.db"
    with engine_on(path, members) as notify:

        def told(workflow: nk.Workflow[Comment, ...]) -> None:
            found = notify.trigger(workflow, to=nk.Topic("all"), payload=Comment(**payload()))
            assert found.recipients == members, found

        told(commented)
        bare = Bare(path)
        bare.learn(1, members)
        works = [
            Work("line", members, lambda: line.fan_out(payload(), members)),
            Work("personal", members, lambda: told(commented)),
            Work("shared", members, lambda: told(shared)),
            Work("bare", members, bare.insert, bare.prepare),
        ]
        taken = measured(works, [line.path, path], rounds)
        bare.close()
    line.close()
    yield ratio(
        f"one event to a topic of {members:,}, text names the subscriber, line", "<= 0.75", taken, "personal", "line"
    )
    yield ratio(f"one event to a topic of {members:,}, text names the subscriber, bare", "", taken, "personal", "bare")
    yield ratio(f"one event to a topic of {members:,}, text the same for all, line", "<= 0.5", taken, "shared", "line")


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
