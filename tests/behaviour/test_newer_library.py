"""A newer notifykit stores what this one cannot read: such work is left alone and named, everything else is done."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.delivery.outcomes import Abandoned
from notifykit.model import Job
from notifykit.model.tables import workflow, workflow_version
from notifykit.workflow.registry import Registry
from tests.behaviour.stories import STORIES, mailed, people, shipped
from tests.harness.both import Both

waits = nk.Workflow("waits", steps=[nk.Delay("wait", hours=1), nk.InApp("bell", body="Waited")])
later = nk.Workflow("later", steps=[nk.Email("mail", subject="Later", body="b")])
CHANGES: dict[str, Any] = {
    "a kind of step": lambda stored: stored["steps"][-1].update(kind="telepathy"),
    "an option of a step": lambda stored: stored["steps"][-1].update(volume=11),
    "an option of the workflow": lambda stored: stored.update(urgency="high"),
}


def write(notify: Both, work: Any) -> None:
    database = notify.engine._runtime.database

    async def awaited() -> None:
        async with database.transaction(write=True) as transaction:
            await transaction.call(work)

    if notify.notifier == "async":
        notify.wait(awaited())
    else:
        with database.transaction(write=True) as connection:
            work(connection)


def stored_by_a_newer_one(notify: Both, change: Any, *definitions: nk.Workflow[Any, ...]) -> None:
    """Change how these are stored, and forget their code: as in a process that was not upgraded yet."""

    def work(connection: sa.Connection) -> None:
        keys = [each.key for each in definitions]
        of_these = workflow_version.c.workflow.in_(sa.select(workflow.c.id).where(workflow.c.key.in_(keys)))
        for number, stored in connection.execute(
            sa.select(workflow_version.c.id, workflow_version.c.definition).where(of_these)
        ).all():
            changed = json.loads(json.dumps(stored))
            change(changed)
            connection.execute(
                workflow_version.update().where(workflow_version.c.id == number).values(definition=changed)
            )

    write(notify, work)
    upgraded(notify)


def upgraded(notify: Both, *definitions: nk.Workflow[Any, ...]) -> None:
    """Start anew with this code."""
    notify.engine._runtime.registry = Registry()
    notify.workflows.register(*STORIES, *definitions)


def jobs(notify: Both) -> list[tuple[Any, ...]]:
    columns = [Job.due_at, Job.id, Job.owner, Job.attempt, Job.rescues, Job.lease_until]
    return notify.read(lambda connection: [tuple(row) for row in connection.execute(sa.select(*columns))])  # type: ignore[call-overload]


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES, waits, later)
    people(notify, "ada", "bob")


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_left_alone_and_everything_else_is_done(notify: Both, change: str) -> None:
    notify.engine._runtime.chunk = 2
    crowd = [f"s{n}" for n in range(60)]  # more than one claim takes
    for each in crowd:
        notify.subscribers.upsert(each, email=f"{each}@example.com")
    waiting = notify.trigger(waits, to=["ada", "bob", "cem"])
    queued = notify.trigger(later, to=crowd)
    notify.trigger(shipped(order=1), to="ada")
    notify.trigger(mailed(order=2), to="bob")
    stored_by_a_newer_one(notify, CHANGES[change], waits, later)
    notify.clock.move(minutes=1)
    report = notify.drain()
    assert (report.sent, dict(report.waiting_for)) == (1, {"later: newer definition": 60})
    assert report.next_due is not None
    assert report.next_due > notify.clock.now()
    left = {"waits: newer definition": 3, "later: newer definition": 60}
    before = jobs(notify)
    report = notify.travel(hours=2)
    assert [message.subject for message in notify.outside.sent] == ["Order 2", "Order 1"]
    report = notify.drain()
    assert (report.sent, report.advanced, dict(report.waiting_for), report.next_due) == (0, 0, left, None)
    assert dict(notify.drain(waiting).waiting_for) == {"waits: newer definition": 3}
    assert dict(notify.drain(queued).waiting_for) == {"later: newer definition": 60}
    assert set(jobs(notify)) < set(before)
    assert {owner + str(attempt) for _, _, owner, attempt, _, _ in jobs(notify)} == {"0"}


def test_what_became_of_it_is_shown_and_it_cannot_be_triggered(notify: Both) -> None:
    notify.trigger(waits, to="ada")
    notify.travel(hours=1)
    result = notify.trigger(later, to="ada")
    stored_by_a_newer_one(notify, CHANGES["a kind of step"], waits, later)
    assert [(each.workflow, each.step) for each in notify.messages.list()] == [("later", "mail"), ("waits", "bell")]
    assert [(each.workflow, each.step, each.body) for each in notify.inbox("ada").list()] == [
        ("waits", "bell", "Waited")
    ]
    assert notify.inbox("ada").mark_all("read") == 1
    for ask in (
        lambda: notify.trigger("later", to="ada"),
        lambda: notify.explain("later", to="ada"),
        lambda: notify.preferences.get("ada", workflow="later"),
    ):
        with pytest.raises(nk.ConfigurationError, match="'later', step 'mail': 'telepathy' was stored by a newer"):
            ask()
    assert notify.cancel(result).stopped == 1
    assert notify.messages.list(status="cancelled").items[0].step == "mail"


def test_a_worker_that_was_lost_is_left_to_its_own_kind(notify: Both) -> None:
    notify.trigger(later, to="ada")
    notify.outside.fail("email", Abandoned())
    notify.drain()
    stored_by_a_newer_one(notify, CHANGES["an option of a step"], later)
    before = jobs(notify)
    notify.clock.move(minutes=2)
    report = notify.drain()
    assert (dict(report.waiting_for), report.next_due) == ({"later: newer definition": 1}, None)
    assert jobs(notify) == before
    upgraded(notify, later)  # whose hash is the stored one's again
    assert notify.drain().sent == 1
    attempts = notify.messages.get(notify.messages.list().items[0].id).attempts
    assert [each.outcome for each in attempts] == ["unknown", "sent"]
