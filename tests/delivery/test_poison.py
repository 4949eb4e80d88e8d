"""Work that cannot be done holds up no other: batches fall back one by one, and what fails alone is deferred."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.delivery.outcomes import Abandoned
from notifykit.ids import decode_id
from notifykit.model import Job
from tests.behaviour.stories import people
from tests.harness.both import Both

NAMES = ("ada", "bob", "cyd")
mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")])
later = nk.Workflow("later", steps=[nk.Delay("wait", hours=1), nk.InApp("bell", body="b")])
called = nk.Workflow("called", steps=[nk.Custom("count", lambda context: {"n": 1}), nk.InApp("bell", body="b")])
pytestmark = pytest.mark.uneven


@pytest.fixture
def notify(house: Callable[..., Both]) -> Both:
    notify = house(workflows=[mail, later, called])
    people(notify, *NAMES)
    return notify


def change(notify: Both, statement: str) -> None:
    """Change rows behind the back of the library."""

    def run(connection: sa.Connection) -> None:
        connection.exec_driver_sql(statement)

    database = notify.engine._runtime.database
    if notify.notifier == "sync":
        with database.transaction(write=True) as connection:
            run(connection)
        return

    async def write() -> None:
        async with database.transaction(write=True) as transaction:
            await transaction.call(run)

    notify.wait(write())


def damage(notify: Both, run: nk.Run, results: str = "{") -> None:
    """Let a run's row be one that cannot be read."""
    change(notify, f"UPDATE notifykit_run SET results = '{results}' WHERE id = {decode_id('run', run.id)}")


def of(notify: Both, result: nk.TriggerResult, who: str) -> nk.Run:
    """The run of one recipient."""
    (run,) = [each for each in notify.runs.list(transaction_id=result.transaction_id) if each.subscriber_id == who]
    return run


@pytest.mark.parametrize(("workflow", "ends"), [("later", "completed"), ("mail", "completed"), ("called", "completed")])
def test_a_row_that_cannot_be_read_holds_up_nobody(
    notify: Both, workflow: str, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = notify.trigger(workflow, to=NAMES)
    poisoned = of(notify, result, "bob")
    damage(notify, poisoned)
    notify.clock.move(hours=2)
    report = notify.drain()
    assert report.sent == (2 if workflow == "mail" else 0)
    assert {of(notify, result, who).status for who in ("ada", "cyd")} == {ends}
    assert "tried again later" in caplog.text
    assert notify.count(Job) == 1
    again = notify.trigger(workflow, to=["ada"])
    notify.travel(hours=1, minutes=1)
    assert of(notify, again, "ada").status == "completed"


def test_a_row_that_is_mended_goes_on(notify: Both) -> None:
    result = notify.trigger(later(), to=NAMES)
    damage(notify, of(notify, result, "bob"))
    notify.clock.move(hours=2)
    notify.drain()
    record = '{"wait":{"status":"waiting","reason":null,"at":"2026-01-01T00:00:00Z"}}'
    damage(notify, of(notify, result, "bob"), record)
    notify.travel(hours=1)
    assert of(notify, result, "bob").status == "completed"
    assert notify.inbox("bob").unread_count() == 1


@pytest.mark.parametrize("workflow", ["later", "mail", "called"])
def test_what_never_can_be_done_is_given_up(notify: Both, workflow: str) -> None:
    result = notify.trigger(workflow, to=NAMES)
    poisoned = of(notify, result, "bob")
    damage(notify, poisoned)
    notify.travel(hours=30)
    assert notify.count(Job) == 0
    if workflow == "mail":
        (message,) = notify.messages.list(subscriber="bob")
        assert message.status == "failed"
    else:
        run = of(notify, result, "bob")
        assert run.status == "failed"
        assert run.reason
        attempts = [line for line in notify.executions.list(subscriber="bob") if line.kind == "attempt"]
        assert [line.data["attempt"] for line in attempts] == list(range(1, 9))


def test_a_job_that_could_not_be_claimed_ends_a_row_of_crashes(notify: Both) -> None:
    result = notify.trigger(mail(), to="ada")
    run = of(notify, result, "ada")
    notify.outside.fail("email", *(Abandoned() for _ in range(4)))
    for _ in range(4):
        assert notify.drain().sent == 0
        notify.clock.move(minutes=1)
    damage(notify, run)
    notify.drain()
    damage(notify, run, "{}")
    notify.outside.fail("email", Abandoned())
    assert notify.travel(hours=1).next_due is None
    assert [each.status for each in notify.messages.list()] == ["sent"]


@contextmanager
def refusing(notify: Both, start: str, mark: Callable[[str], bool], error: Exception) -> Iterator[list[str]]:
    """Let the database refuse every change with this start that has a marked value in it."""
    database = notify.engine._runtime.database
    engine = (database if notify.notifier == "sync" else database.database).engine
    refused: list[str] = []

    def refuse(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.replace("`", "").startswith(start) and mark(repr(parameters)):
            refused.append(statement)
            raise error

    sa.event.listen(engine, "before_cursor_execute", refuse)
    try:
        yield refused
    finally:
        sa.event.remove(engine, "before_cursor_execute", refuse)


@pytest.mark.parametrize("error", [ValueError("odd"), sa.exc.DataError("no", None, Exception("too long"))])
def test_what_cannot_be_recorded_costs_that_job_only(
    notify: Both, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    warm = notify.trigger(mail(), to=NAMES)
    notify.drain(warm)
    notify.trigger(mail(), to=NAMES)
    key = next(each.id for each in notify.messages.list(status="queued") if each.subscriber_id == "bob")

    def mark(values: str) -> bool:
        return key in values and "receipt-" in values

    with refusing(notify, "INSERT INTO notifykit_delivery_attempt", mark, error) as refused:
        report = notify.drain()
    assert refused
    assert report.sent == 3
    assert len(notify.outside.sent) == 6
    assert [each.outcome for each in notify.messages.get(key).attempts] == ["sent"]
    assert notify.messages.get(key).attempts[0].provider_id is None
    assert "cannot be stored" in caplog.text
    assert notify.count(Job) == 0


def test_an_error_of_ours_in_one_run_holds_up_nobody(notify: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    from notifykit.flow import due

    result = notify.trigger(later(), to=NAMES)
    poisoned = decode_id("run", of(notify, result, "bob").id)
    advance = due.advance

    def failing(runs: Any, *rest: Any) -> Any:
        if poisoned in runs.ids:
            raise AssertionError("never")
        return advance(runs, *rest)

    monkeypatch.setattr(due, "advance", failing)
    notify.clock.move(hours=2)
    assert notify.drain().advanced == 2
    assert notify.count(Job) == 1
    monkeypatch.undo()
    notify.travel(hours=1)
    assert of(notify, result, "bob").status == "completed"


def test_a_database_out_of_reach_is_nobodys_poison(notify: Both) -> None:
    notify.trigger(mail(), to=NAMES)
    lost = sa.exc.OperationalError("lost", None, Exception("gone"), connection_invalidated=True)
    with (
        refusing(notify, "UPDATE notifykit_job", lambda values: True, lost),
        pytest.raises(nk.StorageError, match="out of reach"),
    ):
        notify.drain()
    assert notify.drain().sent == 3
