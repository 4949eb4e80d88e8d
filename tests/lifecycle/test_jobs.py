from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from notifykit.ids import step_key
from notifykit.lifecycle import jobs as claiming
from notifykit.lifecycle.enqueuing import enqueue
from notifykit.lifecycle.jobs import ClaimedJob, Later, WorkFilter
from notifykit.model import Run
from notifykit.model.codes import JobKind
from notifykit.model.job import NewJob
from notifykit.store.database import Database
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit
from tests.store.conftest import NOW, unit_of

LEASE = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


def put(
    unit: Unit, runs: Iterable[int], *, due: timedelta = -SECOND, kind: JobKind = JobKind.DELIVER, needs: str = ""
) -> None:
    enqueue(unit, [NewJob(step_key(run, 1), 1, NOW + due, kind.value, run, 1, step_key(run, 1), needs) for run in runs])


def claim(unit: Unit, owner: str = "me", **options: Any) -> list[ClaimedJob]:
    given: dict[str, Any] = {"needs": [], "limit": 50} | options
    jobs = claiming.due_calls(unit, **given) or claiming.due_calls(unit, **given | {"limit": 1}, lost=True)
    return claiming.take(unit, jobs, owner=owner, lease_until=unit.now + LEASE)


def acknowledge(unit: Unit, done: list[ClaimedJob], later: Iterable[Later] = ()) -> set[int]:
    """End claims that still hold, as a record does."""
    later = list(later)
    held, _ = claiming.held(unit, [*done, *(each.job for each in later)], wait=True)
    claiming.drop(unit, [job.id for job in done if job in held])
    claiming.free(unit, [each for each in later if each.job in held])
    return {job.id for job in held}


def free(jobs: Iterable[ClaimedJob], until: datetime, *, burned: bool) -> list[Later]:
    return [Later(job, until, job.attempt if burned else job.attempt - 1, job.rescues) for job in jobs]


def test_what_is_due_is_claimed_in_order_and_once(database: Database) -> None:
    with unit_of(database) as unit:
        put(unit, [3, 1])
        put(unit, [2], due=-2 * SECOND)
        put(unit, [4], due=timedelta())
        put(unit, [5], due=timedelta(microseconds=1))
        put(unit, [6], kind=JobKind.ADVANCE)
        put(unit, [7], kind=JobKind.CUSTOM, needs="shipped/pick")
        assert claiming.next_due(unit, []) == NOW - 2 * SECOND
    with unit_of(database) as unit:
        first = claim(unit, limit=2)
        assert [(job.run, job.attempt, job.rescues, job.previous_lease) for job in first] == [
            (2, 1, 0, None),
            (1, 1, 0, None),
        ]
        assert first[0][:7] == (step_key(2, 1), NOW - 2 * SECOND, JobKind.DELIVER.value, 2, step_key(2, 1), 1, "")
    with unit_of(database) as unit:
        assert [job.run for job in claim(unit, "other", needs=["a/b", "shipped/pick"])] == [3, 7, 4]
        assert claim(unit, "third") == []


def test_a_lost_lease_is_rescued_and_its_zombie_changes_nothing(database: Database) -> None:
    with unit_of(database) as unit:
        put(unit, [1])
        zombie = claim(unit)
    with unit_of(database, now=NOW + LEASE - SECOND) as unit:
        assert claim(unit, "other") == []
    later = NOW + LEASE  # leases are half-open: what `next_due` names can be claimed then
    with unit_of(database, now=later) as unit:
        assert claiming.next_due(unit, []) == NOW + LEASE
        (rescued,) = claim(unit, "other")
    assert (rescued.attempt, rescued.rescues, rescued.previous_lease) == (2, 1, NOW + LEASE)
    with unit_of(database, now=later) as unit:
        assert acknowledge(unit, zombie) == set()
        assert acknowledge(unit, [], free(zombie, later, burned=True)) == set()
        claiming.renew(unit, zombie, later + LEASE)
        assert acknowledge(unit, [rescued._replace(owner="third")]) == set()
        assert acknowledge(unit, [rescued._replace(attempt=1)]) == set()
        assert acknowledge(unit, [rescued]) == {rescued.id}
        assert claiming.next_due(unit, []) is None


def test_a_job_that_waited_behind_another_call_has_burnt_nothing(database: Database) -> None:
    with unit_of(database) as unit:
        put(unit, [1, 2, 3, 4])
        first, second, third, fourth = claim(unit)
        claiming.note_begun(unit, [second])
        claiming.renew(unit, [fourth], unit.now + LEASE)
    assert [job.owner for job in (first, second, third, fourth)] == ["me", "me+", "me+", "me+"]
    with unit_of(database, now=NOW + LEASE) as unit:
        found = [claim(unit, name)[0] for name in "abcd"]
        assert [(job.run, job.attempt, job.rescues, job.previous_lease) for job in found] == [
            (1, 2, 1, NOW + LEASE),
            (2, 2, 1, NOW + LEASE),
            (3, 1, 0, None),
            (4, 2, 1, NOW + LEASE),
        ]


def test_a_lost_job_is_claimed_alone_and_after_free_ones(database: Database) -> None:
    with unit_of(database) as unit:
        put(unit, [1, 2])
        claim(unit, "lost")
        put(unit, [3, 4], due=timedelta())
    with unit_of(database, now=NOW + LEASE) as unit:
        assert [job.run for job in claim(unit, "first")] == [3, 4]
        assert [job.run for job in claim(unit, "second")] == [1]
        assert [job.run for job in claim(unit, "third")] == [2]
    with unit_of(database, now=NOW + 3 * LEASE) as unit:
        put(unit, [5])
        assert [job.run for job in claiming.due_calls(unit, needs=[], limit=5, lost=True)] == [1, 2, 3, 4]
        assert [job.run for job in claiming.due_calls(unit, needs=[], limit=5)] == [5]


def test_a_lease_that_is_renewed_is_not_over(database: Database) -> None:
    with unit_of(database) as unit:
        put(unit, [1])
        jobs = claim(unit)
    with unit_of(database, now=NOW + LEASE / 3) as unit:
        claiming.renew(unit, jobs, unit.now + LEASE)
    with unit_of(database, now=NOW + LEASE) as unit:
        assert claim(unit, "other") == []
        assert acknowledge(unit, jobs) == {jobs[0].id}


def test_a_postponed_job_is_free_again_and_keeps_its_attempts(database: Database) -> None:
    with unit_of(database) as unit:
        put(unit, [1, 2])
        one, two = claim(unit)
        later = [*free([one], NOW + SECOND, burned=True), *free([two], NOW + 2 * SECOND, burned=False)]
        assert acknowledge(unit, [], later) == {one.id, two.id}
        assert claiming.next_due(unit, []) == NOW + SECOND
        assert claim(unit) == []
    with unit_of(database, now=NOW + 2 * SECOND) as unit:
        assert [(job.run, job.attempt, job.rescues, job.previous_lease) for job in claim(unit)] == [
            (1, 2, 0, None),
            (2, 1, 0, None),
        ]


def test_due_advances_are_read_and_dropped_in_one_unit(database: Database) -> None:
    with unit_of(database) as unit:
        put(unit, [1, 2], kind=JobKind.ADVANCE)
        put(unit, [3], kind=JobKind.ADVANCE, needs="w/s")
        put(unit, [4])
        found = claiming.due_advances(unit, needs=[], limit=10)
        assert found == [(step_key(run, 1), run, 1, 0) for run in (1, 2)]
        claiming.drop(unit, [job.id for job in found])
        assert claiming.due_advances(unit, needs=[], limit=10) == []
        assert [job.run for job in claiming.due_advances(unit, needs=["w/s"], limit=10)] == [3]


def test_the_work_of_one_event(database: Database) -> None:
    whose = ("id", "environment", "event", "subscriber", "workflow", "tenant", "topic")
    columns = (*whose, "step", "status", "results", "trace", "created_at")
    with unit_of(database) as unit:
        rest = (1, 0, 0, 1, 1, "{}", "", unit.timestamp(NOW))
        insert_rows(unit, Run, columns, [(run, 1, run % 2, run, *rest) for run in (1, 2, 3, 4)])
        put(unit, [1, 2])
        put(unit, [3, 4], kind=JobKind.ADVANCE)
        assert [job.run for job in claim(unit, only=WorkFilter(event=1))] == [1]
        assert [job.run for job in claiming.due_advances(unit, needs=[], limit=10, only=WorkFilter(event=1))] == [3]


@pytest.mark.parametrize("kind", ["claim", "advance"])
def test_two_open_transactions_never_get_the_same_job(server: str, kind: str) -> None:
    one, two = Database.open(server), Database.open(server)
    job_kind = JobKind.DELIVER if kind == "claim" else JobKind.ADVANCE

    def take(unit: Unit, limit: int) -> list[int]:
        if kind == "claim":
            return [job.run for job in claim(unit, limit=limit)]
        return [job.run for job in claiming.due_advances(unit, needs=[], limit=limit)]

    with unit_of(one) as unit:
        put(unit, range(1, 6), kind=job_kind)
    with unit_of(one) as first, unit_of(two) as second:
        assert take(first, 2) == [1, 2]
        assert take(second, 10) == [3, 4, 5]
    one.close()
    two.close()


def test_a_claim_waits_for_the_writer_on_sqlite(url_of) -> None:
    one, two = Database.open(url_of("file")), Database.open(url_of("file"))
    with unit_of(one) as unit:
        put(unit, range(1, 4))
    with unit_of(one) as unit:
        assert len(claim(unit, "one", limit=2)) == 2
    with unit_of(two) as unit:
        assert [job.run for job in claim(unit, "two")] == [3]
    one.close()
    two.close()


@pytest.mark.parametrize(
    ("statement", "values", "way"),
    [
        (claiming.FREE_CALLS.all[0], {}, "SEARCH notifykit_job USING INDEX ix_notifykit_job_due_at_id (due_at<?)"),
        (claiming.LOST_CALLS.all[0], {}, "SEARCH notifykit_job USING INDEX ix_notifykit_job_due_at_id (due_at<?)"),
        (claiming.ADVANCES.all[0], {}, "SEARCH notifykit_job USING INDEX ix_notifykit_job_due_at_id (due_at<?)"),
        (
            claiming.NEXT_FREE,
            {},
            "SCAN notifykit_job USING INDEX ix_notifykit_job_due_at_id",
        ),  # the first that fits ends it
        (claiming.HELD, {"jobs": [65]}, "SEARCH notifykit_job USING INTEGER PRIMARY KEY (rowid=?)"),
    ],
)
def test_due_work_is_found_by_its_key_among_many(statement: Statement, values: dict[str, Any], way: str) -> None:
    database = Database.open(None)
    with unit_of(database) as unit:
        prepared = unit.dialect.prepared(statement)
        arguments = prepared.arguments({"now": NOW, "needs": [""], "limit": 5} | values)
        plan = unit.connection.exec_driver_sql("EXPLAIN QUERY PLAN " + prepared.text, arguments).all()
    assert plan[0][3] == way
    assert not any("TEMP B-TREE FOR ORDER BY" in row[3] for row in plan)
    database.close()
