"""How many SQL statements the way of a trigger takes: never more for more recipients, workflows or steps."""

from __future__ import annotations

from typing import Any

import pytest

import notifykit as nk
from tests.behaviour.stories import STORIES, Order, hello, ordered, people, shipped
from tests.harness.both import Both
from tests.harness.statements import statements

pytestmark = [pytest.mark.own, pytest.mark.uneven]


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.engine._runtime.chunk = 5_000
    notify.workflows.register(*STORIES)


def cost(call: Any) -> list[str]:
    """The statements of a call that ran before; blocks of ids aside, one of which serves many calls."""
    with statements() as seen:
        call()
    return [text for text in seen if "nextval" not in text.lower() and "next value" not in text.lower()]


def no_more(few: list[str], many: list[str]) -> bool:
    """Whether many things took no more statements than few; PostgreSQL's COPY of large sets is not even seen."""
    return 0 < len(many) <= len(few)


def test_recipients(notify: Both) -> None:
    def told(count: int, start: int) -> list[str]:
        return cost(lambda: notify.trigger(hello, to=[f"user-{n}" for n in range(start, start + count)]))

    told(3, 0)
    few, many = told(10, 100), told(1_000, 1_000)
    assert no_more(few, many), _difference(few, many)
    known = told(1_000, 1_000)
    assert len(known) <= len(many)


def test_topics(notify: Both) -> None:
    people(notify, *(f"user-{n}" for n in range(300)))
    notify.topics.add("few", [f"user-{n}" for n in range(10)])
    notify.topics.add("many", [f"user-{n}" for n in range(300)])
    notify.trigger(shipped(order=1), to=nk.Topic("few"))
    few = cost(lambda: notify.trigger(shipped(order=1), to=nk.Topic("few")))
    many = cost(lambda: notify.trigger(shipped(order=1), to=nk.Topic("many")))
    assert no_more(few, many), _difference(few, many)


def test_events_of_a_bulk(notify: Both) -> None:
    def told(count: int) -> list[str]:
        return cost(lambda: notify.trigger_bulk(ordered(order=n).to(f"user-{n}") for n in range(count)))

    told(1_000)
    few, many = told(10), told(1_000)
    assert no_more(few, many), _difference(few, many)


def test_workflows_of_a_bulk(notify: Both) -> None:
    made = [
        nk.Workflow(
            f"w{n}",
            payload=Order,
            steps=[
                nk.InApp("bell", body=f"{n} {{{{ payload.order }}}}"),
                nk.Delay("wait", hours=1),
                nk.InApp("late", body="b"),
            ],
        )
        for n in range(20)
    ]
    notify.workflows.register(*made)

    def told(workflows: list[nk.Workflow[Order, ...]]) -> list[str]:
        return cost(
            lambda: notify.trigger_bulk(workflows[n % len(workflows)](order=n).to(f"user-{n}") for n in range(60))
        )

    told(made)
    few, many = told(made[:1]), told(made)
    assert no_more(few, many), _difference(few, many)


def test_steps_of_a_workflow(notify: Both) -> None:
    def workflow(steps: int) -> nk.Workflow[Any, ...]:
        return nk.Workflow(
            f"of-{steps}", steps=[nk.InApp(f"s{n}", body="{{ subscriber.first_name }}") for n in range(steps)]
        )

    def told(made: nk.Workflow[Any, ...]) -> list[str]:
        return cost(lambda: notify.trigger(made, to=[f"user-{n}" for n in range(20)]))

    people(notify, *(f"user-{n}" for n in range(20)))
    short, long = workflow(1), workflow(20)
    notify.workflows.register(short, long)
    told(short), told(long)
    few, many = told(short), told(long)
    assert no_more(few, many), _difference(few, many)


def test_due_work(notify: Both) -> None:
    def told(count: int) -> list[str]:
        notify.trigger_bulk(shipped(order=n).to(f"user-{n}") for n in range(count))
        notify.clock.move(hours=2)
        return cost(notify.drain)

    notify.subscribers.bulk_upsert({"subscriber_id": f"user-{n}", "first_name": f"U{n}"} for n in range(400))
    told(400)
    few, many = told(10), told(400)
    assert no_more(few, many), _difference(few, many)


def test_a_single_trigger_is_short(notify: Both) -> None:
    notify.trigger(hello, to="ada")
    assert len(cost(lambda: notify.trigger(hello, to="ada"))) <= 10
    with statements() as seen:
        notify.inbox("ada").unread_count()
    assert len(seen) <= 2


def _difference(few: list[str], many: list[str]) -> str:
    shortened = [" ".join(text.split())[:100] for text in many]
    return f"{len(few)} against {len(many)}:\n" + "\n".join(shortened)
