"""A database of the first version, with rows, becomes one of the second, as it is made now, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from notifykit.model.codes import JobKind
from notifykit.store import schema
from notifykit.store.database import Database
from tests.store.conftest import NOW
from tests.store.schemas import contents, in_pieces, structure, without_tables

ELSEWHERE = 9
"""Another environment than the default one."""
ADVANCE, DELIVER = JobKind.ADVANCE.value, JobKind.DELIVER.value
RUNS = {2: (1, 11, 21), 3: (ELSEWHERE, 12, 0)}
"""By run: its environment, workflow and tenant."""
QUEUED_AGAIN, WAITS, DELAYED, STRAY = 2 << 6, 3 << 6 | 1, 3 << 6 | 2, 77 << 6


def first_version(url: str) -> str:
    """The URL of a database with the first version's tables and some work in them."""
    database = Database.open(url)
    at = database.dialect.timestamp
    early, now, late = at(NOW - timedelta(microseconds=1)), at(NOW), at(NOW + timedelta(hours=1))
    with database.engine.begin() as connection:
        schema.step(connection, "0001")
        schema.versions.create(connection)
        connection.execute(schema.versions.insert().values(version_num="0001"))
        tables = sa.MetaData()
        tables.reflect(connection)

        def put(name: str, rows: list[dict[str, Any]]) -> None:
            connection.exec_driver_sql(*_insert(connection, tables.tables[f"notifykit_{name}"], rows))

        put("organization", [{"id": 1, "key": "default"}])
        put("environment", [{"id": number, "organization": 1, "key": f"e{number}"} for number in (1, ELSEWHERE)])
        database.dialect.seed(connection)
        for run, (environment, workflow, tenant) in RUNS.items():
            event = {"id": run + 100, "environment": environment, "workflow": workflow, "tenant": tenant, "version": 1}
            put("event", [event | {"actor": 0, "payload": "{}", "status": 0, "recipients": 1, "created_at": now}])
            row = {"id": run, "environment": environment, "event": run + 100, "subscriber": run, "step": 0, "status": 1}
            put("run", [row | {"results": "{}", "trace": "a\n", "created_at": now}])
        jobs = [
            (early, QUEUED_AGAIN, ADVANCE, 2, "", 0, None),
            (now, QUEUED_AGAIN, DELIVER, 2, "", 0, None),
            (early, WAITS, DELIVER, 3, "lost", 2, late),
            (now, DELAYED, ADVANCE, 3, "", 0, None),
            (late, DELAYED, ADVANCE, 3, "", 0, None),
            (now, STRAY, ADVANCE, 77, "", 0, None),
        ]
        names = ("due_at", "id", "kind", "run", "owner", "attempt", "lease_until")
        rest = {"message": 0, "step": 0, "needs": "", "rescues": 0}
        put("job", [dict(zip(names, job, strict=True)) | rest for job in jobs])
    database.close()
    return url


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> tuple[str, list[Any]]:
    quote, mark = connection.dialect.identifier_preparer.quote, "?" if connection.dialect.name == "sqlite" else "%s"
    columns = list(rows[0])
    text = f"INSERT INTO {table.name} ({', '.join(map(quote, columns))}) VALUES ({', '.join([mark] * len(columns))})"
    return text, [tuple(row[name] for name in columns) for row in rows]


def found(url: str) -> dict[str, Any]:
    """What the second version made of the rows."""
    database = Database.open(url)
    with database.engine.connect() as connection:
        runs = connection.exec_driver_sql(
            "SELECT id, environment, workflow, tenant, topic, trace FROM notifykit_run ORDER BY id"
        ).all()
        jobs = connection.exec_driver_sql(
            "SELECT id, kind, subject, environment, owner, attempt FROM notifykit_job ORDER BY id"
        ).all()
        version = schema.stored_version(connection)
    database.close()
    return {"runs": [tuple(row) for row in runs], "jobs": [tuple(row) for row in jobs], "version": version}


AFTER = {
    "runs": [(2, 1, 11, 21, 0, "a\n"), (3, ELSEWHERE, 12, 0, 0, "a\n")],
    "jobs": [
        (QUEUED_AGAIN, DELIVER, 2, 1, "", 0),
        (WAITS, DELIVER, 3, ELSEWHERE, "lost", 2),
        (DELAYED, ADVANCE, 3, ELSEWHERE, "", 0),
        (STRAY, ADVANCE, 77, 1, "", 0),
    ],
    "version": "0002",
}


def test_rows_of_the_first_version_are_kept_in_tables_as_they_are_made_now(empty_url: str) -> None:
    database = Database.open(first_version(empty_url))
    database.migrate()
    with database.engine.connect() as connection:
        upgraded = structure(connection)
    database.close()
    assert found(empty_url) == AFTER
    other = Database.open(without_tables(empty_url))
    other.migrate()
    with other.engine.connect() as connection:
        assert structure(connection) == upgraded
    other.close()


def test_an_upgrade_of_rows_that_is_killed_at_any_statement_is_finished_by_the_next(empty_url: str) -> None:
    assert in_pieces(first_version(empty_url)) > 1
    assert found(empty_url) == AFTER
    whole = without_tables(empty_url)
    database, killed = Database.open(whole), contents(empty_url) if whole != empty_url else None
    database.migrate()
    database.close()
    assert killed is None or killed[0] == contents(whole)[0]
