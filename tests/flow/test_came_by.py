"""By which topic a run's subscriber came, however large the audience is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import notifykit as nk

hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello")])
named = nk.Workflow("named", steps=[nk.InApp("bell", body="Hello {{ subscriber.first_name | default('you') }}")])


@pytest.fixture(params=[1000, 3, 2])
def notify(request: pytest.FixtureRequest) -> Iterator[nk.Engine]:
    """With chunks so large that the topics are read at once, and so small that they are read page by page."""
    with nk.Engine(workflows=[hello, named]) as engine:
        for topic, members in {"a": range(40), "b": range(30, 70), "c": range(60, 80)}.items():
            engine.subscribers.bulk_upsert({"subscriberId": f"s{n}"} for n in members)
            engine.topics.add(topic, [f"s{n}" for n in members])
        engine._runtime.chunk = request.param
        yield engine


def came_by(notify: nk.Engine) -> dict[str, str | None]:
    """The topic of each run's subscriber."""
    with notify._runtime.database.transaction(write=False) as connection:
        rows = connection.exec_driver_sql(
            "SELECT s.subscriber_id, t.key, r.topic FROM notifykit_run r JOIN notifykit_subscriber s ON s.id = "
            "r.subscriber LEFT JOIN notifykit_topic t ON t.id = r.topic"
        )
        found = [tuple(row) for row in rows]
    assert all((key is None) == (number == 0) for _, key, number in found)
    return {who: key for who, key, _ in found}


def expected(order: list[str], **others: str | None) -> dict[str, str | None]:
    members = {"a": range(40), "b": range(30, 70), "c": range(60, 80)}
    by: dict[str, str | None] = {f"s{n}": topic for topic in reversed(order) for n in members[topic]}
    return by | others


@pytest.mark.parametrize("workflow", [hello, named], ids=["alike", "personal"])
def test_the_first_topic_that_has_somebody_counts(notify: nk.Engine, workflow: Any) -> None:
    notify.trigger(workflow, to=[nk.Topic("b"), nk.Topic("a"), nk.Topic("c")])
    assert came_by(notify) == expected(["b", "a", "c"])


def test_who_is_excluded_from_one_comes_by_the_next(notify: nk.Engine) -> None:
    notify.trigger(hello, to=[nk.Topic("a", exclude=["s35", "s2"]), nk.Topic("b")])
    wanted = expected(["a", "b"], s35="b")
    del wanted["s2"]
    assert came_by(notify) == wanted


def test_who_is_named_came_by_none(notify: nk.Engine) -> None:
    notify.trigger(hello, to=["s3", "stranger", nk.Topic("a")])
    assert came_by(notify) == expected(["a"], s3=None, stranger=None)


def test_one_of_everyone_came_by_none(notify: nk.Engine) -> None:
    notify.broadcast(hello)
    assert came_by(notify) == {f"s{n}": None for n in range(80)}


def test_the_actor_is_left_out_of_the_columns_too(notify: nk.Engine) -> None:
    notify.trigger(hello, to=[nk.Topic("c"), nk.Topic("b")], actor="s65")
    wanted = expected(["c", "b"])
    del wanted["s65"]
    assert came_by(notify) == wanted
