"""The tables: whether they are there, of which version, and who makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Literal

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from notifykit.errors import NotifyKitError, SchemaError
from notifykit.model import Environment, Organization, metadata
from notifykit.model.organization import DEFAULT, DEFAULT_ID
from notifykit.store.dialect import Dialect
from notifykit.store.engines import place
from notifykit.store.error_mapping import is_forbidden, is_trouble, map_error, reason

Migrate = Literal["auto", "always", "never"]
Transaction = Callable[[bool], AbstractContextManager[Connection]]

REVISIONS = {
    "0001": "notifykit.store.migrations.versions.v0001_first",
    "0002": "notifykit.store.migrations.versions.v0002_scope",
}
"""Every version there was, oldest first, and the module whose `upgrade(op)` leads to it."""
HEAD = next(reversed(REVISIONS))

versions = Table(
    "notifykit_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="notifykit_version_pkc"),
)
"""The private version table: one row, shaped as Alembic's."""

FORBIDDEN = (
    "{where} does not let this user make or change the notifykit tables: give it {rights}, or call notify.migrate() "
    "once as a user who has them; everybody else needs {needs}. It said: {said}"
)
SEVERAL = (
    "{where} holds several versions of the notifykit tables in notifykit_version ({found}): delete all rows but the "
    "one of the version that the tables have, then call notify.migrate() again."
)
UNKNOWN = (
    "{where} has a table {table} without the column {columns}, and no version in notifykit_version says of which "
    "notifykit it is: write its version there ({known}), or drop the table, then call notify.migrate() again."
)
ABSENT = (
    "The module {module}, which brings the tables to version {version}, is not in this installation: install "
    "notifykit-engine again; where PyInstaller made this program, build it with `--collect-all notifykit`{more}."
)
FAILED = (
    "{where}: the tables could not be brought to version {version}: {said}. Mend the cause, then call notify.migrate() "
    "again: it goes on where this ended."
)


def stored_version(connection: Connection) -> str | None:
    """The version of the tables, or None where there are none or their making was not finished.

    Raises:
        SchemaError: There are several versions.
    """
    if not inspect(connection).has_table(versions.name):
        return None
    found = connection.execute(select(versions.c.version_num).order_by(versions.c.version_num)).scalars().all()
    if len(found) > 1:
        raise SchemaError(SEVERAL.format(where=place(connection.engine.url), found=", ".join(found)))
    return found[0] if found else None


def ensure(transaction: Transaction, dialect: Dialect, migrate: Migrate) -> None:
    """Make sure that the tables are there and of this library's version.

    Args:
        transaction: Opens a transaction of our own, for writing or reading.
        dialect: The database's.
        migrate: `auto` makes missing tables and upgrades SQLite, `always` upgrades servers too, `never` only looks.

    Raises:
        SchemaError: The tables are missing, older or newer, and may not or cannot be changed here.
        StorageError: The database is locked, full, read-only, corrupt or gone.
    """
    with told(dialect):
        with transaction(False) as connection:
            found = stored_version(connection)
        if found == HEAD:
            return
        refuse(found, dialect, migrate)
        with transaction(True) as connection, dialect.schema_lock(connection):
            found = stored_version(connection)
            refuse(found, dialect, migrate)
            if found is None:
                create(connection, dialect)
            elif found != HEAD:
                upgrade(connection)


@contextmanager
def told(dialect: Dialect) -> Iterator[None]:
    """Turn whatever the database says about looking at the tables, or changing them, into an error of ours.

    Raises:
        SchemaError: Rights are missing, or a step failed.
        StorageError: The database is locked, full, read-only, corrupt or gone.
    """
    try:
        yield
    except (SQLAlchemyError, dialect.core.loaded_dbapi.Error) as error:
        where, said = dialect.where, reason(error)
        if is_forbidden(error):
            text = FORBIDDEN.format(where=where, rights=dialect.rights, needs=dialect.needs, said=said)
            raise SchemaError(text) from error
        trouble = map_error(error, where) if is_trouble(error) else None
        raise trouble or SchemaError(FAILED.format(where=where, version=HEAD, said=said.rstrip("."))) from error


def state(found: str | None) -> str:
    """What was found, as a sentence about a database goes on."""
    return "has no notifykit tables" if found is None else f"has tables of version {found} instead of {HEAD}"


def refuse(found: str | None, dialect: Dialect, migrate: Migrate) -> None:
    """Raise where the tables found may not be brought to this library's version.

    Raises:
        SchemaError: Names what is there and what to do.
    """
    if found is not None and found not in REVISIONS:
        raise SchemaError(
            f"{dialect.where} has tables of version {found}, newer than this notifykit (which knows {HEAD}): "
            "upgrade the package notifykit-engine."
        )
    if found == HEAD:
        return
    if migrate == "never":
        raise SchemaError(
            f"{dialect.where} {state(found)}, and migrate='never' makes none: call notify.migrate() once."
        )
    if migrate == "auto" and found is not None and not dialect.is_embedded:
        raise SchemaError(
            f"{dialect.where} {state(found)}: call notify.migrate() once, when you deploy, or open the engine with "
            "migrate='always'."
        )


def create(connection: Connection, dialect: Dialect) -> None:
    """Make what is missing: tables, indexes, the rows that each database starts with; last of all the version.

    An earlier try may have ended anywhere in between, and MariaDB has kept what it made.

    Raises:
        SchemaError: A table is there that is not of this version.
    """
    found = set(inspect(connection).get_table_names())
    there = [table for table in metadata.sorted_tables if table.name in found]
    missing = [table for table in metadata.sorted_tables if table not in there]
    metadata.create_all(connection, tables=missing, checkfirst=True)
    for table in there:
        complete(connection, dialect, table)
    start = {"id": DEFAULT_ID, "key": DEFAULT}
    for kind, row in ((Organization, start), (Environment, start | {"organization": DEFAULT_ID})):
        if connection.execute(select(col(kind.id)).where(col(kind.id) == DEFAULT_ID)).first() is None:
            connection.execute(insert(kind).values(row))
    dialect.seed(connection)
    versions.create(connection, checkfirst=True)
    connection.execute(insert(versions).values(version_num=HEAD))


def complete(connection: Connection, dialect: Dialect, table: Table) -> None:
    """Make the indexes that a table lacks.

    Raises:
        SchemaError: It lacks a column, so it is not of this version.
    """
    inspector = inspect(connection)
    columns = {each["name"] for each in inspector.get_columns(table.name)}
    if lacks := ", ".join(column.name for column in table.columns if column.name not in columns):
        known = " or ".join(REVISIONS)
        raise SchemaError(UNKNOWN.format(where=dialect.where, table=table.name, columns=lacks, known=known))
    indexes = {each["name"] for each in inspector.get_indexes(table.name)}
    for index in table.indexes:
        if index.name not in indexes:
            index.create(connection)


def upgrade(connection: Connection) -> None:
    """Bring the tables to this library's version, each step stamped when it is done.

    Args:
        connection: In a transaction that holds the schema's lock.

    Raises:
        SchemaError: A step is not in this installation, or failed.
    """
    found = stored_version(connection)
    known = list(REVISIONS)
    for version in known[0 if found is None else known.index(found) + 1 :]:
        step(connection, version)
        versions.create(connection, checkfirst=True)
        connection.execute(versions.delete())
        connection.execute(insert(versions).values(version_num=version))


def step(connection: Connection, version: str) -> None:
    """Bring the tables to one version from the one before.

    Alembic's own runner is left alone: it works by globals, which belong to the host's migrations.

    Raises:
        SchemaError: The step is not in this installation, or failed.
    """
    try:
        run = import_module(REVISIONS[version]).upgrade
        from alembic.migration import MigrationContext
        from alembic.operations import Operations
    except ModuleNotFoundError as error:
        missing = str(error.name)
        more = "" if missing.startswith("notifykit") else f" --collect-all {missing.partition('.')[0]}"
        raise SchemaError(ABSENT.format(module=missing, version=version, more=more)) from error
    try:
        run(Operations(MigrationContext.configure(connection)))
    except (SQLAlchemyError, NotifyKitError):
        raise
    except Exception as error:  # a step's own mistake
        where = place(connection.engine.url)
        raise SchemaError(FAILED.format(where=where, version=version, said=error)) from error
