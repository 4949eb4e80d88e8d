"""PostgreSQL: COPY, row locks, advisory locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from notifykit.errors import ConfigurationError
from notifykit.store.dialect import Rows
from notifykit.store.error_mapping import map_error
from notifykit.store.hilo import HiLoDialect, lock_seconds
from notifykit.store.statement import ExecutionContext, SetForm

if TYPE_CHECKING:
    from notifykit.store.writer_lock import LockHolder

COPY_FROM = 50
"""Rows from which COPY pays."""
PSYCOPG = ("psycopg", "psycopg_async")
ENCODINGS = {
    "server": "create one with ENCODING 'UTF8' TEMPLATE template0",
    "client": "write `?client_encoding=utf8` at the end of the URL",
}
"""The two sides of a connection, and what to do where one of them is not UTF8."""
SCHEMA_LOCK = 0x6E6F7469667900
"""The key of the advisory lock around changes of the tables."""


class Arrays(SetForm):
    """Sets as arrays; the cast is in the SQL, so the parameter has no type of its own."""

    type = NullType()

    def bound(self, members: list[Any]) -> Any:
        """A list, which the driver makes an array of."""
        return members

    def contains(self, column: str, parameter: str, *, numbers: bool) -> str:
        """Whether the array has the column's value."""
        return f"{column} = ANY(CAST({parameter} AS {'BIGINT' if numbers else 'TEXT'}[]))"


class PostgresDialect(HiLoDialect):
    """PostgreSQL, best with psycopg."""

    name = "postgresql"
    set_form = Arrays()
    rights = "USAGE and CREATE on the schema (GRANT USAGE, CREATE ON SCHEMA ... TO ...) and ownership of the tables"
    needs = (
        "USAGE on the schema, SELECT, INSERT, UPDATE and DELETE on every table notifykit_*, and USAGE on the sequence "
        "notifykit_id"
    )

    def timestamp(self, value: datetime | None) -> datetime | None:
        """An aware time."""
        return None if value is None else value.astimezone(UTC)

    def insert(self, unit: ExecutionContext, table: Table, columns: tuple[str, ...], rows: Rows) -> None:
        """Insert rows; many at once by COPY, a quarter of the time."""
        core = unit.connection.dialect  # the host's where its transaction is joined
        if len(rows) < COPY_FROM or core.driver not in PSYCOPG:
            super().insert(unit, table, columns, rows)
            return
        text = f"COPY {self.quote(table.name)} ({', '.join(map(self.quote, columns))}) FROM STDIN"
        raw: Any = unit.connection.connection.dbapi_connection
        try:
            if core.is_async:
                _await_only()(_copy_awaited(raw.driver_connection, text, rows))
            else:
                _copy(raw, text, rows)
        except core.loaded_dbapi.Error as error:
            if (meaning := map_error(error, self.where)) is None:
                raise DBAPIError.instance(text, None, error, core.loaded_dbapi.Error, hide_parameters=True) from error
            raise meaning from error

    def _starts(self, connection: Connection, blocks: int) -> list[int]:
        query = "SELECT nextval('notifykit_id') FROM generate_series(1, %s)"
        return [first for (first,) in self.fetch(connection, query, (blocks,))]

    def connect(
        self, engine: Engine, *, write: bool, wait: float | None = None, hold: LockHolder | None = None
    ) -> Connection:
        """Check out a connection and begin; a client that decodes nothing stops SQLAlchemy at its very first one.

        Raises:
            ConfigurationError: It is such a client.
        """
        try:
            return super().connect(engine, write=write, wait=wait, hold=hold)
        except TypeError as error:
            if "bytes-like" not in str(error):
                raise
            raise ConfigurationError(self._unfit("client", "SQL_ASCII")) from error

    def check(self, connection: Connection) -> None:
        """Refuse a connection that some text cannot go through as it is.

        Raises:
            ConfigurationError: The database or the client is not in UTF8.
        """
        for side in ENCODINGS:
            found = connection.exec_driver_sql(f"SHOW {side}_encoding").scalar()
            if found != "UTF8":
                raise ConfigurationError(self._unfit(side, found.decode() if isinstance(found, bytes) else str(found)))

    def _unfit(self, side: str, encoding: str) -> str:
        return f"{self.where} has the {side} encoding {encoding}, which cannot hold every text: {ENCODINGS[side]}."

    @contextmanager
    def lock_timeout(self, connection: Connection, wait: float | None) -> Iterator[None]:
        """Wait for the locks of others as long as usual, or so many seconds, until the transaction ends."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{lock_seconds(wait)}s'")
        yield

    def is_committed(self, connection: Connection) -> bool:
        """Whether the version was written by a transaction before this one."""
        return bool(connection.exec_driver_sql("SELECT age(xmin) > 0 FROM notifykit_version").scalar())

    @contextmanager
    def schema_lock(self, connection: Connection) -> Iterator[None]:
        """Hold an advisory lock until the transaction ends."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
        yield


def _copy(raw: Any, text: str, rows: Rows) -> None:
    with raw.cursor() as cursor, cursor.copy(text) as copy:
        write = copy.write_row
        for row in rows:
            write(row)


async def _copy_awaited(raw: Any, text: str, rows: Rows) -> None:
    async with raw.cursor() as cursor, cursor.copy(text) as copy:
        write = copy.write_row
        for row in rows:
            await write(row)


def _await_only() -> Callable[[Any], Any]:
    from sqlalchemy import util  # needs greenlet, which a sync host may lack

    return cast("Callable[[Any], Any]", util.await_only)
