from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import bindparam, select, update
from sqlmodel import col

from notifykit.model import Tenant
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.rows import insert_rows
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit
from tests.store.conftest import NOW, in_unit

COLUMNS = ("id", "environment", "identifier", "name", "data", "created_at", "updated_at")
WORDS = ["plain", "O'Brien", "back\\slash", "50%", "ünïcode 🎉", 'double"quote', "%s", "Ada", "ada", "Ada "]

BY_ID = Statement(select(col(Tenant.id)).where(any_of(col(Tenant.id), "ids")).order_by(col(Tenant.id)))
BY_WORD = Statement(
    select(col(Tenant.identifier)).where(
        col(Tenant.environment) == bindparam("environment"), any_of(col(Tenant.identifier), "words")
    )
)
LIKE = Statement(select(col(Tenant.identifier)).where(col(Tenant.identifier).like("%0\\%", escape="\\")))
CONSTANT = Statement(select(col(Tenant.id)).where(col(Tenant.id).in_([1, 3])).order_by(col(Tenant.id)))
WHOLE = Statement(select(*(col(getattr(Tenant, name)) for name in COLUMNS)).where(col(Tenant.id) == bindparam("row")))
LOCKED = Statement(
    select(col(Tenant.id)).order_by(col(Tenant.id)).limit(bindparam("n")).with_for_update(skip_locked=True)
)
RENAME = Statement(update(Tenant).where(col(Tenant.id) == bindparam("row")).values(name=bindparam("new")))
TOUCH = Statement(
    update(Tenant).where(any_of(col(Tenant.id), "ids")).values(updated_at=bindparam("at"), data=bindparam("to"))
)


def fill(unit: Unit) -> None:
    now = unit.timestamp(NOW)
    rows = [(at, 1, word, None, '{"n":1.5}', now, now) for at, word in enumerate(WORDS, 1)]
    insert_rows(unit, Tenant, COLUMNS, rows)


def everything(unit: Unit) -> None:
    fill(unit)
    assert BY_ID.rows(unit, ids=[3, 1, 99]) == [(1,), (3,)]
    assert BY_ID.rows(unit, ids=(n for n in (2,))) == [(2,)]
    assert BY_ID.rows(unit, ids=[]) == []
    assert {row[0] for row in BY_WORD.rows(unit, environment=1, words=WORDS)} == set(WORDS)
    assert BY_WORD.rows(unit, environment=1, words=["ADA", "Ada  "]) == []
    assert LIKE.rows(unit) == [("50%",)]
    assert CONSTANT.rows(unit) == [(1,), (3,)]
    assert LOCKED.rows(unit, n=2) == [(1,), (2,)]
    assert WHOLE.row(unit, row=2) == (2, 1, "O'Brien", None, {"n": 1.5}, NOW, NOW)
    assert WHOLE.row(unit, row=99) is None
    assert RENAME.run(unit, row=2, new="x") == 1
    assert RENAME.run(unit, row=99, new="x") == 0
    RENAME.many(unit, [{"row": 1, "new": "a%s"}, {"row": 3, "new": None}])
    RENAME.many(unit, [])
    assert TOUCH.run(unit, ids=[1, 2], at=NOW + timedelta(microseconds=1), to={"k": None}) == 2
    assert WHOLE.row(unit, row=1) == (1, 1, "plain", "a%s", {"k": None}, NOW, NOW + timedelta(microseconds=1))


def test_values_and_sets_on_each_database(unit: Unit) -> None:
    everything(unit)


async def test_values_and_sets_on_each_async_driver(awaited: AsyncDatabase) -> None:
    await in_unit(awaited, everything)


def test_a_missing_value_is_an_error_and_not_a_null(unit: Unit) -> None:
    with pytest.raises(KeyError, match="environment"):
        BY_WORD.rows(unit, words=[])


def test_a_statement_is_compiled_once_for_a_kind_of_database(unit: Unit) -> None:
    BY_ID.rows(unit, ids=[])
    assert unit.dialect.prepared(BY_ID) is unit.dialect.prepared(BY_ID)
