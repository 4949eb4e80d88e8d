from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from notifykit.errors import SchemaError
from notifykit.model import metadata
from notifykit.store import schema
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from notifykit.store.migrations import versions
from tests.store import later
from tests.store.conftest import bare, in_unit, unit_of
from tests.store.schemas import behind, structure

ROOT = Path(__file__).parents[2]
OPEN = """
import os, sys
from notifykit.store.database import Database
ready, go = os.pipe()
children = []
for number in range(6):
    if child := os.fork():
        children.append(child)
        continue
    os.close(go)
    database = Database.open(sys.argv[1])
    os.read(ready, 1)
    with database.transaction(write=True) as connection:
        connection.exec_driver_sql(f"INSERT INTO notifykit_topic_member (topic, subscriber) VALUES (1, {number})")
    database.close()
    os._exit(0)
os.close(go)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def set_version(url: str, version: str) -> None:
    database = Database.open(url)
    database.migrate()
    with database.engine.begin() as connection:
        connection.execute(schema.versions.update().values(version_num=version))
    database.close()


def tables(url: str) -> set[str]:
    database = Database.open(url)
    found = set(sa.inspect(database.engine).get_table_names())
    database.close()
    return found


def test_the_first_unit_makes_the_tables_and_the_defaults(empty_url: str) -> None:
    database = Database.open(empty_url)
    assert tables(empty_url) == set()
    with unit_of(database, write=False) as unit:
        found = unit.connection.exec_driver_sql("SELECT id, organization FROM notifykit_environment").all()
    assert [tuple(row) for row in found] == [(1, 1)]
    database.close()
    again = Database.open(empty_url, migrate="never")
    with unit_of(again) as unit:
        assert min(unit.ids(1)) > 1
    again.close()


def test_alembic_is_not_needed_to_make_the_tables() -> None:
    code = (
        "import sys; from notifykit.store.database import Database; database = Database.open(None); database.migrate();"
        "database.close(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_six_processes_at_once_on_an_empty_database(empty_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN, empty_url], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    database = Database.open(empty_url)
    with unit_of(database) as unit:
        assert unit.connection.exec_driver_sql("SELECT count(*) FROM notifykit_topic_member").scalar() == 6
        assert unit.connection.exec_driver_sql("SELECT count(*) FROM notifykit_version").scalar() == 1
    database.close()


def test_what_a_failed_unit_rolled_back_is_not_believed(empty_url: str) -> None:
    database = Database.open(empty_url)
    with pytest.raises(RuntimeError), unit_of(database):
        raise RuntimeError
    with unit_of(database) as unit:
        assert unit.ids(1)
    database.close()


def test_newer_tables_are_refused(empty_url: str) -> None:
    set_version(empty_url, "9999")
    for mode in ("auto", "always", "never"):
        database = Database.open(empty_url, migrate=mode)  # type: ignore[arg-type]
        with pytest.raises(SchemaError, match=r"9999, newer than this notifykit .* upgrade the package"):
            database.ready()
        with pytest.raises(SchemaError, match="newer"), unit_of(database):
            pass
        database.close()


def test_never_makes_nothing_and_names_the_command(empty_url: str) -> None:
    database = Database.open(empty_url, migrate="never")
    with pytest.raises(SchemaError, match=r"has no notifykit tables.*notify\.migrate\(\)"), unit_of(database):
        pass
    assert tables(empty_url) == set()
    database.migrate()
    with unit_of(database) as unit:
        assert unit.ids(1)
    database.close()


def test_older_tables_are_upgraded_in_a_file_and_named_on_a_server(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_version(empty_url, schema.HEAD)
    with behind(monkeypatch):
        database = Database.open(empty_url)
        if database.dialect.name == "sqlite":
            database.ready()
        else:
            with pytest.raises(SchemaError, match=r"version 0002 instead of 0003.*notify\.migrate\(\)"):
                database.ready()
            database.migrate()
        assert later.TABLE in tables(empty_url)
        database.ready()
        database.migrate()
        database.close()


def test_the_migrations_make_what_the_tables_are(empty_url: str) -> None:
    database = Database.open(empty_url)
    with database.engine.begin() as connection:
        schema.upgrade(connection)
        maria = connection.dialect.name == "mariadb"
        context = MigrationContext.configure(
            connection,
            opts={"version_table": schema.versions.name, "compare_type": True, "compare_server_default": True},
        )
        differences = [
            each
            for each in compare_metadata(context, metadata)
            # Indexes that this kind of database does not get.
            if not (each[0] == "add_index" and each[1].table.name == "notifykit_message")
        ]
        replayed = structure(connection)
        assert schema.stored_version(connection) == schema.HEAD
    assert differences == []
    names = {index["name"] for index in sa.inspect(database.engine).get_indexes("notifykit_message")}
    assert all(str(name).endswith("_whole") == maria for name in names)
    assert len(names) == 2
    database.close()
    if maria or database.dialect.name == "postgresql":
        bare(empty_url)
    else:
        Path(str(database.engine.url.database)).unlink()
    other = Database.open(empty_url)
    other.migrate()
    with other.engine.connect() as connection:
        assert structure(connection) == replayed
    other.close()


def test_every_migration_is_known_by_its_file() -> None:
    folder = Path(str(versions.__file__)).parent
    assert sorted(path.stem for path in folder.glob("v*.py")) == [
        module.removeprefix(f"{versions.__name__}.") for module in schema.REVISIONS.values()
    ]
    assert all(f".v{version}_" in module for version, module in schema.REVISIONS.items())


async def test_the_async_notifier_makes_the_tables(awaited: AsyncDatabase) -> None:
    await awaited.migrate()
    assert len(await in_unit(awaited, lambda unit: unit.ids(2))) == 2
