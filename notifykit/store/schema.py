"""The tables: whether they are there, of which version, and who makes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select
from sqlmodel import col

from notifykit.errors import SchemaError
from notifykit.model import Environment, Organization, metadata
from notifykit.model.organization import DEFAULT, DEFAULT_ID
from notifykit.store.dialect import Dialect

Migrate = Literal["auto", "always", "never"]
Transaction = Callable[[bool], AbstractContextManager[Connection]]

REVISIONS = ("0001",)
"""Every version there was, oldest first: the ids of the files in `migrations/versions`."""
HEAD = REVISIONS[-1]
SCRIPTS = Path(__file__).parent / "migrations"

versions = Table(
    "notifykit_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="notifykit_version_pkc"),
)
"""The private version table, shaped as Alembic wants it."""


def stored_version(connection: Connection) -> str | None:
    """The version of the tables, or None where there are none."""
    if not inspect(connection).has_table(versions.name):
        return None
    return connection.execute(select(versions.c.version_num)).scalar()


def ensure(transaction: Transaction, dialect: Dialect, migrate: Migrate) -> None:
    """Make sure that the tables are there and of this library's version.

    Args:
        transaction: Opens a transaction of our own, for writing or reading.
        dialect: The database's.
        migrate: `auto` makes missing tables and upgrades SQLite, `always` upgrades servers too, `never` only looks.

    Raises:
        SchemaError: The tables are missing, older or newer, and may not be changed here.
    """
    with transaction(False) as connection:
        found = stored_version(connection)
    if found == HEAD:
        return
    refuse(found, dialect, migrate)
    with transaction(True) as connection, dialect.alone(connection):
        found = stored_version(connection)
        refuse(found, dialect, migrate)
        if found is None:
            create(connection, dialect)
        elif found != HEAD:
            upgrade(connection)


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
        state = "has no notifykit tables" if found is None else f"has tables of version {found} instead of {HEAD}"
        raise SchemaError(f"{dialect.where} {state}, and migrate='never' makes none: call notify.migrate() once.")
    if migrate == "auto" and found is not None and dialect.name != "sqlite":
        raise SchemaError(
            f"{dialect.where} has tables of version {found} instead of {HEAD}: call notify.migrate() once, when you "
            "deploy, or open the engine with migrate='always'."
        )


def create(connection: Connection, dialect: Dialect) -> None:
    """Make every table, the rows that each database starts with, and the version; what is there already is kept."""
    metadata.create_all(connection)
    if connection.execute(select(col(Environment.id)).where(col(Environment.id) == DEFAULT_ID)).first() is None:
        connection.execute(insert(Organization).values(id=DEFAULT_ID, key=DEFAULT))
        connection.execute(insert(Environment).values(id=DEFAULT_ID, organization=DEFAULT_ID, key=DEFAULT))
    dialect.seed(connection)
    versions.create(connection, checkfirst=True)
    connection.execute(insert(versions).values(version_num=HEAD))


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a version by the migrations.

    Args:
        connection: In a transaction that holds the schema's lock.
        revision: The version to stop at.
    """
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    command.upgrade(config, revision)
