"""Delays: spans, moments, the calendar, chains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Event, Job
from tests.behaviour.stories import bodies, kinds
from tests.harness.both import Both

SPANS: dict[str, tuple[dict[str, Any], timedelta]] = {
    "seconds": ({"seconds": 90}, timedelta(seconds=90)),
    "minutes": ({"minutes": 1.5}, timedelta(seconds=90)),
    "hours": ({"hours": 2}, timedelta(hours=2)),
    "days": ({"days": 3}, timedelta(days=3)),
    "weeks": ({"weeks": 1}, timedelta(weeks=1)),
    "months": ({"months": 1}, timedelta(days=31)),  # from 1 January
    "sum": ({"hours": 1, "minutes": 30}, timedelta(minutes=90)),
}


@pytest.mark.table
@pytest.mark.parametrize("name", SPANS)
def test_spans(notify: Both, name: str) -> None:
    span, expected = SPANS[name]
    notify.workflows.register(nk.Workflow("late", steps=[nk.Delay("wait", **span), nk.InApp("bell", body="b")]))
    notify.trigger("late", to="ada")
    report = notify.drain()
    assert report.next_due == notify.clock.now() + expected
    notify.travel(seconds=expected.total_seconds() - 0.001)
    assert bodies(notify, "ada") == []
    notify.travel(seconds=0.001)
    assert bodies(notify, "ada") == ["b"]
    assert notify.count(Job) == 0


def test_until_a_moment_of_the_payload(notify: Both) -> None:
    workflow = nk.Workflow("later", steps=[nk.Delay("wait", until="payload.send_at"), nk.InApp("bell", body="b")])
    notify.workflows.register(workflow)
    moment = notify.clock.now() + timedelta(hours=5)
    notify.trigger("later", to="ada", payload={"send_at": moment.isoformat()})
    notify.trigger("later", to="past", payload={"send_at": (notify.clock.now() - timedelta(days=1)).isoformat()})
    assert notify.drain().next_due == moment
    assert bodies(notify, "past") == ["b"]
    notify.travel(hours=5)
    assert bodies(notify, "ada") == ["b"]


def test_what_is_due_exactly_now_is_not_waited_for(notify: Both) -> None:
    workflow = nk.Workflow("later", steps=[nk.Delay("wait", until="payload.send_at"), nk.InApp("bell", body="b")])
    notify.workflows.register(workflow)
    payload = {"send_at": notify.clock.now().isoformat()}
    plan = notify.explain("later", to="ada", payload=payload)
    assert [(row.step, row.outcome) for row in plan.rows] == [("bell", "send")]
    result = notify.trigger("later", to="ada", payload=payload)
    assert bodies(notify, "ada") == ["b"]
    assert notify.count(Job) == 0
    assert kinds(notify, result, "ada")[0] == ("wait", "step_completed", None)


def test_what_falls_due_exactly_now_is_done(notify: Both) -> None:
    notify.workflows.register(nk.Workflow("late", steps=[nk.Delay("wait", hours=1), nk.InApp("bell", body="b")]))
    notify.trigger("late", to="ada")
    due = notify.drain().next_due
    assert due is not None
    notify.clock.move_to(due)
    assert (notify.drain().advanced, bodies(notify, "ada")) == (1, ["b"])


@pytest.mark.table
@pytest.mark.parametrize(
    "payload", [{}, {"send_at": "soon"}, {"send_at": None}, {"send_at": 7.5}, {"send_at": "2026-01-01T00:00:00"}]
)
def test_a_moment_that_is_none_is_refused_at_the_trigger(notify: Both, payload: dict[str, Any]) -> None:
    workflow = nk.Workflow("later", steps=[nk.Delay("wait", until="payload.send_at"), nk.InApp("bell", body="b")])
    notify.workflows.register(workflow)
    with pytest.raises(nk.InputError) as caught:
        notify.trigger("later", to="ada", payload=payload)
    assert "send_at" in caught.value.field
    assert notify.count(Event) == 0


def test_chained_delays(notify: Both) -> None:
    steps: list[nk.Step] = []
    for n in range(5):
        steps += [nk.Delay(f"wait-{n}", hours=1), nk.InApp(f"bell-{n}", body=f"{n}")]
    notify.workflows.register(nk.Workflow("chain", steps=steps))
    notify.trigger_bulk(nk.Trigger("chain", to=f"user-{n}") for n in range(10))
    for n in range(5):
        notify.travel(hours=1)
        assert bodies(notify, "user-3") == [f"{k}" for k in range(n, -1, -1)]
    assert {run.status for run in notify.runs.list()} == {"completed"}
    notify.travel(days=1)
    assert len(bodies(notify, "user-3")) == 5


def test_the_step_after_a_delay_sees_what_the_first_saw(notify: Both) -> None:
    workflow = nk.Workflow(
        "same",
        steps=[
            nk.InApp("now", body="{{ payload.x }} {{ steps }}"),
            nk.Delay("wait", hours=1),
            nk.InApp("then", body="{{ payload.x }}"),
        ],
    )
    notify.workflows.register(workflow)
    value = {"x": {"when": datetime(2026, 1, 1, tzinfo=UTC).isoformat(), "n": 1.5, "list": [1, None, True]}}
    notify.trigger("same", to="ada", payload=value)
    notify.travel(hours=1)
    then, now = bodies(notify, "ada")
    assert now.startswith(then)


def test_many_due_at_the_same_moment(notify: Both) -> None:
    notify.engine._runtime.chunk = 7
    workflow = nk.Workflow("late", steps=[nk.Delay("wait", hours=1), nk.InApp("bell", body="b")])
    notify.workflows.register(workflow)
    notify.trigger_bulk(nk.Trigger("late", to=f"user-{n}") for n in range(40))
    notify.clock.move(hours=2)
    assert notify.drain().advanced == 40
    assert len(notify.messages.list(limit=100)) == 40
