"""The databases that the tests run on: found, created for one session, emptied between tests, dropped."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

import notifykit as nk
from notifykit.model import metadata

Name = Literal["memory", "file", "postgresql", "mariadb"]
NAMES: tuple[Name, ...] = ("memory", "file", "postgresql", "mariadb")
KEPT = {"notifykit_organization", "notifykit_environment", "notifykit_sequence"}


@dataclass(frozen=True)
class Server:
    """A database server: where it is looked for, and how the tests' own database is made and dropped there."""

    variable: str
    standard: str
    driver: str
    create: str
    drop: str

    @property
    def url(self) -> sa.URL:
        """The address of the server, from the environment or the standard local port."""
        return sa.make_url(os.environ.get(self.variable) or self.standard)

    def admin(self) -> sa.Engine:
        """An engine that may create databases, each statement for itself."""
        url = self.url.set(drivername=self.driver)
        return sa.create_engine(
            url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, connect_args={"connect_timeout": 3}
        )


SERVERS: dict[str, Server] = {
    "postgresql": Server(
        "NOTIFYKIT_TEST_POSTGRES_URL",
        "postgresql://postgres@127.0.0.1:5432/postgres",
        "postgresql+psycopg",
        "CREATE DATABASE {name}; ALTER DATABASE {name} SET synchronous_commit = off",
        "DROP DATABASE IF EXISTS {name} WITH (FORCE)",
    ),
    "mariadb": Server(
        "NOTIFYKIT_TEST_MARIADB_URL",
        "mariadb://root@127.0.0.1:3306/",
        "mariadb+pymysql",
        "CREATE DATABASE {name} CHARACTER SET utf8mb4",
        "DROP DATABASE IF EXISTS {name}",
    ),
}


@dataclass
class Place:
    """One database of this test session.

    Attributes:
        url: What an engine is opened with; None is an engine's own memory.
        plain: An engine of SQLAlchemy's own on the same database, for looking and emptying; None for memory.
    """

    name: Name
    url: str | None
    plain: sa.Engine | None = None
    template: Path | None = None
    dirty: bool = field(default=False, init=False)
    _emptied: int = field(default=0, init=False)

    def fresh(self, folder: Path) -> str | None:
        """The URL of this database with no rows in it."""
        if self.name == "memory":
            return None
        if self.template is not None:
            shutil.copyfile(self.template, folder / "notifykit.db")
            return f"sqlite:///{folder / 'notifykit.db'}"
        assert self.plain is not None
        if self.dirty:
            empty(self.plain)
            self._emptied += 1
            if self.name == "postgresql" and self._emptied % 10 == 0:
                vacuum(self.plain)
        self.dirty = True
        return self.url


def empty(engine: sa.Engine) -> None:
    """Delete every row but those that a schema starts with; far cheaper than a schema for each test."""
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name not in KEPT:
                connection.execute(table.delete())


def vacuum(engine: sa.Engine) -> None:
    """Give back the room of deleted rows: a server may leave that to others, and every look at a table reads them."""
    tables = ", ".join(metadata.tables)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM {tables}")


@contextmanager
def opened(name: Name, folder: Path) -> Iterator[Place]:
    """One database for a session: the server's is created and dropped, the file's schema is made once and copied."""
    if name == "memory":
        yield Place("memory", None)
    elif name == "file":
        template = folder / "template.db"
        with nk.Engine(f"sqlite:///{template}") as engine:
            engine.migrate()
        yield Place("file", None, template=template)
    else:
        with on_server(name) as url:
            with nk.Engine(url) as engine:
                engine.migrate()
            plain = sa.create_engine(sa.make_url(url).set(drivername=SERVERS[name].driver))
            try:
                yield Place(name, url, plain)
            finally:
                plain.dispose()


@contextmanager
def on_server(name: str) -> Iterator[str]:
    """A new empty database on a server, dropped afterwards; its URL without a driver."""
    server = SERVERS[name]
    database = f"notifykit_test_{os.getpid()}_{secrets.token_hex(4)}"
    admin = server.admin()
    for statement in server.create.format(name=database).split(";"):
        run(admin, statement)
    try:
        yield server.url.set(database=database).render_as_string(hide_password=False)
    finally:
        run(admin, server.drop.format(name=database))
        admin.dispose()


def run(engine: sa.Engine, statement: str) -> None:
    """One statement."""
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def missing(name: str) -> str | None:
    """Why a database can't be tested here, or None."""
    server = SERVERS.get(name)
    if server is None:
        return None
    try:
        run(server.admin(), "SELECT 1")
    except (SQLAlchemyError, ImportError) as error:
        return f"no {name} at {server.url.render_as_string()} (set {server.variable}): {str(error).splitlines()[0]}"
    return None


Opened = Callable[[Name], Place]
