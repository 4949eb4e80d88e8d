"""The one loader of preferences: by the environment of the runs, and once for a chunk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import notifykit as nk
from notifykit.model import Preference
from notifykit.queries import preferences
from notifykit.store.rows import insert_rows
from notifykit.unit_of_work.unit import Unit
from tests.harness.statements import statements

ADA, BOB = 70, 80
welcome = nk.Workflow("welcome", steps=[nk.Email("mail", subject="s", body="b")])
alarm = nk.Workflow("alarm", critical=True, steps=[nk.Email("mail", subject="s", body="b")])


@pytest.fixture
def unit() -> Iterator[Unit]:
    with nk.Engine() as engine:
        runtime = engine._runtime
        with runtime.database.transaction(write=True) as connection:
            yield runtime.unit(connection)
            connection.rollback()


def chosen(unit: Unit, *rows: tuple[int, int, str, int, bool]) -> None:
    columns = ("environment", "subject", "target", "channel", "enabled", "locked", "updated_at")
    insert_rows(unit, Preference, columns, [(*row, False, unit.timestamp(unit.now)) for row in rows])


def allowed(found: Any, subscriber: int, workflow: Any = welcome) -> bool:
    return bool(found.of(workflow, "email").decision(subscriber).allow)


def test_choices_are_those_of_the_runs_environment(unit: Unit) -> None:
    chosen(unit, (unit.environment, ADA, "*", 2, False), (9, BOB, "workflow:welcome", 2, False))
    here = preferences.load(unit, unit.environment, [ADA, BOB], [welcome])
    there = preferences.load(unit, 9, [ADA, BOB], [welcome])
    assert (allowed(here, ADA), allowed(here, BOB)) == (False, True)
    assert (allowed(there, ADA), allowed(there, BOB)) == (True, False)


def test_one_statement_and_none_where_nobody_is_asked(unit: Unit) -> None:
    with statements() as seen:
        preferences.load(unit, 1, [ADA, BOB, 0], [welcome, alarm, None])
    assert len(seen) == 1
    with statements() as seen:
        preferences.load(unit, 1, [ADA], [alarm])
        preferences.load(unit, 1, [0], [welcome])
    assert seen == []


def test_who_chose_nothing_shares_one_decision(unit: Unit) -> None:
    found = preferences.load(unit, 1, [ADA], [welcome]).of(welcome, "email")
    assert found.is_uniform
    assert found.decision(ADA) is found.decision(BOB) is found.usual
    chosen(unit, (1, ADA, "*", 2, False))
    found = preferences.load(unit, 1, [ADA, BOB], [welcome]).of(welcome, "email")
    assert not found.is_uniform
    assert found.decision(BOB) is found.usual
    assert found.decision(ADA).rule == "subscriber, all workflows: off"
