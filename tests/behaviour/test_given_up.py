"""A unit of ours that the database gave up for another transaction's sake is done again, where that is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.model import Event, Run, Subscriber
from notifykit.settings import RETRIES
from notifykit.unit_of_work.retry_policy import is_repeatable
from tests.behaviour.stories import STORIES, Note, Order, hello, mailed, ordered, people
from tests.harness.both import Both

pytestmark = [pytest.mark.own, pytest.mark.uneven]  # what was rolled back has used up ids


class GivenUp(Exception):
    """What a driver raises: SQLSTATE on PostgreSQL, the number first on MariaDB."""

    sqlstate = "40P01"


@contextmanager
def giving_up(notify: Both, times: int, start: str, **codes: Any) -> Iterator[list[str]]:
    """Let the database give up the units that run a statement with this start, this many times."""
    database = notify.engine._runtime.database
    engine = (database if notify.notifier == "sync" else database.database).engine
    failed: list[str] = []

    def fail(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if len(failed) < times and statement.replace("`", "").startswith(start):
            failed.append(statement)
            error = GivenUp(1213, "Deadlock found") if notify.place == "mariadb" else GivenUp("deadlock detected")
            error.sqlstate = codes.get("sqlstate", error.sqlstate)
            raise sa.exc.OperationalError(statement, None, error)

    sa.event.listen(engine, "before_cursor_execute", fail)
    try:
        yield failed
    finally:
        sa.event.remove(engine, "before_cursor_execute", fail)


@pytest.fixture(autouse=True)
def stories(notify: Both) -> None:
    notify.workflows.register(*STORIES)
    people(notify, "ada", "bob")


REPEATED: dict[str, tuple[str, Callable[[Both], Any], Any]] = {
    "trigger": ("INSERT INTO notifykit_message", lambda notify: notify.trigger(hello, to="ada").recipients, 1),
    "typed": ("INSERT INTO notifykit_run", lambda notify: notify.trigger(ordered(order=1), to=["ada"]).recipients, 1),
    "bulk": ("INSERT INTO notifykit_run", lambda notify: len(notify.trigger_bulk([hello().to("ada")] * 3)), 3),
    "upsert": ("UPDATE notifykit_subscriber", lambda notify: notify.subscribers.upsert("ada", email=None).email, None),
    "cancel": ("DELETE FROM notifykit_job", lambda notify: notify.cancel(workflow=mailed).stopped, 2),
    "mark": ("UPDATE notifykit_message", lambda notify: notify.inbox("bob").mark_all("read"), 1),
    "delete": ("DELETE FROM notifykit_subscriber", lambda notify: notify.subscribers.delete("bob"), None),
}  # fmt: skip


@pytest.mark.parametrize("verb", REPEATED)
def test_a_plain_verb_is_done_again(notify: Both, verb: str) -> None:
    notify.trigger(hello, to="bob")
    notify.trigger(mailed(order=1), to=["ada", "bob"])
    before = notify.count(Run)
    heard: list[Any] = []
    notify.engine.on.trigger_processed(heard.append)
    notify.engine.on.message_read(heard.append)
    start, do, expected = REPEATED[verb]
    with giving_up(notify, RETRIES, start) as failed:
        assert do(notify) == expected
    assert len(failed) == RETRIES
    made = {"trigger": 1, "typed": 1, "bulk": 3}.get(verb, 0)
    assert notify.count(Run) == before + made
    assert notify.count(Event) == 2 + made
    assert len(heard) == made + (verb == "mark")


def test_due_work_is_done_again_and_counted_once(notify: Both) -> None:
    notify.trigger(mailed(order=1), to=["ada", "bob"])
    with giving_up(notify, 1, "UPDATE notifykit_job"), giving_up(notify, 2, "DELETE FROM notifykit_job"):
        report = notify.drain()
    assert (report.sent, report.failed, report.next_due) == (2, 0, None)
    assert len(notify.outside.calls) == 2
    assert [len(notify.messages.get(each.id).attempts) for each in notify.messages.list()] == [1, 1]


def test_it_is_given_up_in_the_end(notify: Both) -> None:
    with giving_up(notify, 99, "INSERT INTO notifykit_run") as failed:
        with pytest.raises(nk.StorageError, match="waited for each other"):
            notify.trigger(hello, to="ada")
        assert len(failed) == RETRIES + 1
    assert notify.count(Event) == 0


def refused(notify: Both, start: str, do: Callable[[], Any], **codes: Any) -> int:
    """How often a verb was tried that fails."""
    with giving_up(notify, 1, start, **codes) as failed, pytest.raises(nk.StorageError):
        do()
    return len(failed)


def test_what_was_read_from_an_iterator_is_not_done_again(notify: Both) -> None:
    wires = [{"subscriberId": "new"}]
    assert refused(notify, "INSERT INTO notifykit_sub", lambda: notify.subscribers.bulk_upsert(iter(wires))) == 1
    assert refused(notify, "INSERT INTO notifykit_run", lambda: notify.trigger(hello, to=iter(["ada"]))) == 1
    source = (hello().to("ada") for _ in range(3))
    assert refused(notify, "INSERT INTO notifykit_run", lambda: notify.trigger_bulk(source)) == 1
    once = hello().to(each for each in ["ada"])
    assert refused(notify, "INSERT INTO notifykit_run", lambda: notify.trigger_bulk([once])) == 1
    done: list[int] = []
    bulk = [hello().to("ada")]
    again = refused(notify, "INSERT INTO notifykit_mes", lambda: notify.trigger_bulk(bulk, progress=done.append))
    assert (again, notify.count(Event), notify.count(Subscriber)) == (1, 0, 2)


def test_what_is_no_deadlock_is_not_done_again(notify: Both) -> None:
    if notify.place == "mariadb":
        pytest.skip("its errors have numbers")
    assert refused(notify, "INSERT INTO notifykit_run", lambda: notify.trigger(hello, to="ada"), sqlstate="57P01") == 1


def test_a_transaction_of_several_verbs_is_not_done_again(notify: Both) -> None:
    def several() -> None:
        with notify.transaction() as unit:
            unit.trigger(hello, to="ada")

    assert refused(notify, "INSERT INTO notifykit_run", several) == 1
    assert notify.count(Event) == 0


def test_what_reads_the_same_once_more() -> None:
    steady = [
        "ada", 7, None, hello, mailed(order=1), [hello().to("ada", actor={"subscriberId": "bob"})], nk.Topic("team"),
        nk.Recipient("ada", payload={"x": [1]}), range(3), sa.select(sa.literal(1)), Note("x"), Order(order=1),
    ]  # fmt: skip
    assert [each for each in steady if not is_repeatable(((each,), {"key": each}))] == []
    for each in (iter("a"), print, {"x": [iter("a")]}, nk.Topic("team", exclude=iter("a")), hello(x=iter("a"))):  # type: ignore[arg-type]
        assert not is_repeatable(((each,), {}))
