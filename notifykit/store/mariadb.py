"""MariaDB: no partial indexes, no `UPDATE ... RETURNING`, and DDL that commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Connection, Table, UniqueConstraint

from notifykit.errors import ConfigurationError, StorageError
from notifykit.model.base import UtcDateTime
from notifykit.store.dialect import Rows
from notifykit.store.hilo import HiLoDialect, lock_seconds
from notifykit.store.statement import ExecutionContext, SetForm

OLDEST = (10, 6)
"""The first with `SKIP LOCKED`."""
LOOKED_AT = 1000
"""Rows that are looked for in one query."""
LOCK_WAITS = ("lock_wait_timeout", "innodb_lock_wait_timeout")
"""Seconds to wait for a table that others use, and for a row."""
CHANGING = (
    "{where}: another process has been changing the notifykit tables for {seconds} seconds: wait for it to end, then "
    "try again."
)
CHARSETS = (
    "SHOW SESSION VARIABLES WHERE Variable_name IN "
    "('character_set_client', 'character_set_connection', 'character_set_results')"
)
ODD_TABLES = (
    "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() "
    "AND table_name LIKE 'notifykit\\_%%' AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY 1 LIMIT 1"
)
"""A table of ours that knows no transactions."""


class Lists(SetForm):
    """Sets as lists in brackets, which the drivers write into the SQL."""

    def bound(self, members: list[Any]) -> Any:
        """A tuple; SQL has no empty list, and NULL is in none."""
        return tuple(members) or (None,)

    def contains(self, column: str, parameter: str, *, numbers: bool) -> str:
        """Whether the list has the column's value."""
        return f"{column} IN {parameter}"


class MariadbDialect(HiLoDialect):
    """MariaDB 10.6 or later."""

    name = "mariadb"
    set_form = Lists()
    rights = "CREATE, ALTER, DROP, INDEX, SELECT, INSERT, UPDATE and DELETE on the database (GRANT ... ON ... TO ...)"
    needs = "SELECT, INSERT, UPDATE and DELETE on the database"

    def timestamp(self, value: datetime | None) -> datetime | None:
        """A naive time in UTC: the columns know no zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def _starts(self, connection: Connection, blocks: int) -> list[int]:
        return [self.fetch(connection, "SELECT NEXT VALUE FOR notifykit_id", ())[0][0] for _ in range(blocks)]

    def _ignoring(self, table: Table) -> str:
        # INSERT IGNORE would also store what was cut off, and say nothing.
        column = self.quote(next(iter(table.primary_key)).name)
        return f"ON DUPLICATE KEY UPDATE {column} = {column}"

    def _updating(self, table: Table, key: tuple[str, ...], update: tuple[str, ...], keep_null: bool) -> str:
        if not update:
            return self._ignoring(table)
        new = "COALESCE(VALUES({0}), {0})" if keep_null else "VALUES({0})"
        return "ON DUPLICATE KEY UPDATE " + ", ".join(
            f"{name} = {new.format(name)}" for name in map(self.quote, update)
        )

    def reveal(self, unit: ExecutionContext, table: Table, key: tuple[str, ...], rows: Rows) -> None:
        """Renew those rows that the snapshot of a host's transaction does not show."""
        shown: set[tuple[Any, ...]] = set()
        for start in range(0, len(rows), LOOKED_AT):
            shown.update(self._shown(unit, table, key, rows[start : start + LOOKED_AT]))
        self.renew(unit, table, key, [row for row in rows if row not in shown])

    def _shown(
        self, unit: ExecutionContext, table: Table, key: tuple[str, ...], rows: Rows
    ) -> Iterator[tuple[Any, ...]]:
        names, last = ", ".join(map(self.quote, key)), self.quote(key[-1])
        lead = "".join(f"{self.quote(each)} = {self.mark} AND " for each in key[:-1])
        clauses: list[str] = []
        cells: list[Any] = []
        for start, group in groupby(rows, key=itemgetter(slice(-1))):
            ends = [row[-1] for row in group]
            clauses.append(f"({lead}{last} IN ({', '.join([self.mark] * len(ends))}))")
            cells += (*start, *ends)
        text = f"SELECT {names} FROM {self.quote(table.name)} WHERE {' OR '.join(clauses)}"
        return map(tuple, self.fetch(unit.connection, text, tuple(cells)))

    def renew(self, unit: ExecutionContext, table: Table, key: tuple[str, ...], rows: Rows) -> None:
        """Change rows and change them back: what a transaction has changed it sees, whatever its snapshot.

        Each is found by its whole key: no lock on a gap, and none on a row that a conflict or a lock did not take.
        """
        if not rows:
            return
        name, where = self.quote(table.name), self._where(key)
        column = _loose_column(table)
        if column is None:  # the key is all that there is
            self._many(unit, f"DELETE {name} FROM {name} FORCE INDEX (PRIMARY) WHERE {where}", rows)
            self._many(unit, self._text(table, key), rows)
            return
        cell = self.quote(column.name)
        there, back = _TIME if isinstance(column.type, UtcDateTime) else _TEXT
        for change in (there, back):
            self._many(unit, f"UPDATE {name} SET {cell} = {change.format(cell)} WHERE {where}", rows)

    def _where(self, key: tuple[str, ...]) -> str:
        return " AND ".join(f"{self.quote(each)} = {self.mark}" for each in key)

    def check(self, connection: Connection) -> None:
        """Refuse a server that lacks what we need, a connection that cuts text, tables that know no rollback.

        Raises:
            ConfigurationError: It is MySQL, too old, without utf8mb4 or InnoDB.
        """
        core = connection.dialect
        version = core.server_version_info or (0,)
        if not getattr(core, "is_mariadb", False) or version < OLDEST:
            kind = "MariaDB" if getattr(core, "is_mariadb", False) else "MySQL"
            raise ConfigurationError(
                f"{self.where} is {kind} {'.'.join(map(str, version))}: notifykit needs MariaDB 10.6 or later."
            )
        used = {name: value for name, value in connection.exec_driver_sql(CHARSETS) if value != "utf8mb4"}
        if used:
            said = ", ".join(f"{name}={value}" for name, value in sorted(used.items()))
            raise ConfigurationError(
                f"{self.where} is talked to in another character set than utf8mb4 ({said}), which cannot hold every "
                "text: write `?charset=utf8mb4` at the end of the URL."
            )
        if odd := connection.exec_driver_sql(ODD_TABLES).first():
            raise ConfigurationError(
                f"{self.where} has the table {odd[0]} in {odd[1]}, which keeps rows over a rollback: run "
                f"`ALTER TABLE {odd[0]} ENGINE=InnoDB`, and so for every table of notifykit."
            )

    @contextmanager
    def lock_timeout(self, connection: Connection, wait: float | None) -> Iterator[None]:
        """Wait for the locks of others as long as usual, or so many seconds; the session's own limits come back."""
        read = f"SELECT {', '.join(f'@@{name}' for name in LOCK_WAITS)}"
        usual = tuple(connection.exec_driver_sql(read).one())
        _set_waits(connection, (lock_seconds(wait),) * len(LOCK_WAITS))
        try:
            yield
        finally:
            if _is_alive(connection):
                connection.rollback()  # what was to be kept is committed; after a commit that failed nothing else runs
                _set_waits(connection, usual)

    def is_committed(self, connection: Connection) -> bool:
        """Always: a table is kept whatever becomes of the transaction that made it."""
        return True

    @contextmanager
    def schema_lock(self, connection: Connection) -> Iterator[None]:
        """Hold a named lock of this database: DDL would commit and so release any other."""
        name, seconds = _lock_name(connection), connection.exec_driver_sql("SELECT @@lock_wait_timeout").scalar()
        if not connection.exec_driver_sql(f"SELECT GET_LOCK('{name}', {seconds})").scalar():
            raise StorageError(CHANGING.format(where=self.where, seconds=seconds))
        engine = connection.exec_driver_sql("SELECT @@default_storage_engine").scalar()
        try:
            connection.exec_driver_sql("SET default_storage_engine = InnoDB")
            yield
            connection.exec_driver_sql("COMMIT")  # the next process looks as soon as it has the lock
        finally:
            if _is_alive(connection):  # else the lock went with it
                connection.exec_driver_sql(f"SET default_storage_engine = {engine}")
                connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{name}')").close()


def _is_alive(connection: Connection) -> bool:
    return not connection.closed and not connection.invalidated


def _set_waits(connection: Connection, seconds: tuple[int, ...]) -> None:
    waits = ", ".join(f"SESSION {name} = {each}" for name, each in zip(LOCK_WAITS, seconds, strict=True))
    connection.exec_driver_sql(f"SET {waits}")


_TIME = ("{0} + INTERVAL 1 MICROSECOND", "{0} - INTERVAL 1 MICROSECOND")
_TEXT = ("CONCAT({0}, ' ')", "LEFT({0}, CHAR_LENGTH({0}) - 1)")


def _loose_column(table: Table) -> Column[Any] | None:
    """A column that is never NULL and that no key has."""
    unique = (each for each in table.constraints if isinstance(each, UniqueConstraint))
    keyed = {column.name for key in (table.primary_key, *unique) for column in key.columns}
    return next((column for column in table.c if column.name not in keyed and not column.nullable), None)


def _lock_name(connection: Connection) -> str:
    name = str(connection.exec_driver_sql("SELECT DATABASE()").scalar())
    return "notifykit-" + sha256(name.encode()).hexdigest()[:32]
