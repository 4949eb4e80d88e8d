from __future__ import annotations

import pytest
from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from notifykit.model import Subscriber, TopicMember
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from notifykit.store.rows import insert_new, insert_rows, upsert_rows
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit
from tests.store.conftest import NOW, in_unit, unit_of

COLUMNS = ("id", "environment", "subscriber_id", "email", "first_name", "data", "created_at", "updated_at")
KEY = ("environment", "subscriber_id")
NASTY = ["tab\there", "line\nbreak", "\\N", "\\.", "", "quote'\"", "🎉", "50%", "\\", "\r", "\x7f"]
READ = Statement(
    select(*(col(getattr(Subscriber, name)) for name in COLUMNS)).where(
        col(Subscriber.subscriber_id) == bindparam("who")
    )
)
COUNT = Statement(select(func.count()).select_from(TopicMember))


def row(unit: Unit, number: int, who: str, email: str | None = None, name: str | None = None) -> tuple[object, ...]:
    return (number, 1, who, email, name, '{"a":"\\u00e9\\n"}', unit.timestamp(NOW), unit.timestamp(NOW))


def exact_bytes(unit: Unit) -> None:
    """Enough rows for COPY where there is one."""
    values = NASTY * 6
    insert_rows(unit, Subscriber, COLUMNS, [row(unit, n, f"s{n}", text, None) for n, text in enumerate(values, 1)])
    for number, text in enumerate(NASTY, 1):
        assert READ.row(unit, who=f"s{number}") == (number, 1, f"s{number}", text, None, {"a": "é\n"}, NOW, NOW)
    insert_rows(unit, Subscriber, COLUMNS, [])


def new_ones_only(unit: Unit) -> None:
    insert_rows(unit, TopicMember, ("topic", "subscriber"), [(1, 1), (1, 2)])
    insert_new(unit, TopicMember, ("topic", "subscriber"), [(1, 2), (1, 3)])
    assert COUNT.row(unit) == (3,)


def upserts(unit: Unit) -> None:
    update = ("email", "first_name")
    rows = [row(unit, 2, "b", "b@x", "B"), row(unit, 1, "a", "a@x", "A")]
    upsert_rows(unit, Subscriber, COLUMNS, rows, key=KEY, update=update, keep_null=True)
    again = [row(unit, 3, "a", None, "Ada"), row(unit, 4, "c", None, None)]
    upsert_rows(unit, Subscriber, COLUMNS, again, key=KEY, update=update, keep_null=True)
    found = [READ.row(unit, who=who) for who in "abc"]
    assert [(each[0], each[3], each[4]) for each in found if each] == [
        (1, "a@x", "Ada"),
        (2, "b@x", "B"),
        (4, None, None),
    ]
    upsert_rows(unit, Subscriber, COLUMNS, [row(unit, 5, "a", None, "Z")], key=KEY, update=("email",))
    found_a = READ.row(unit, who="a")
    assert found_a is not None
    assert (found_a[0], found_a[3], found_a[4]) == (1, None, "Ada")
    upsert_rows(unit, Subscriber, COLUMNS, [row(unit, 6, "a", "new", "new")], key=KEY, update=())
    assert READ.row(unit, who="a") == found_a


WORKS = [exact_bytes, new_ones_only, upserts]


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_rows_on_each_database(unit: Unit, work) -> None:
    work(unit)


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
async def test_rows_on_each_async_driver(awaited: AsyncDatabase, work) -> None:
    await in_unit(awaited, work)


@pytest.mark.parametrize("count", [1, 60])
def test_a_key_that_exists_is_an_integrity_error_and_nothing_stays(database: Database, count: int) -> None:
    rows = [(1, number) for number in range(count)]
    with unit_of(database) as unit:
        insert_rows(unit, TopicMember, ("topic", "subscriber"), rows[-1:])
    with pytest.raises(IntegrityError), unit_of(database) as unit:
        insert_rows(unit, TopicMember, ("topic", "subscriber"), rows)
    with unit_of(database) as unit:
        assert COUNT.row(unit) == (1,)
