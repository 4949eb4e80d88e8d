"""MariaDB: no partial indexes, no `UPDATE ... RETURNING`, and DDL that commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import Connection, Table

from notifykit.errors import ConfigurationError, StorageError
from notifykit.settings import BUSY_TIMEOUT
from notifykit.store.blocks import BlockDialect

OLDEST = (10, 6)
"""The first with `SKIP LOCKED`."""
CHARSETS = (
    "SHOW SESSION VARIABLES WHERE Variable_name IN "
    "('character_set_client', 'character_set_connection', 'character_set_results')"
)
ODD_TABLES = (
    "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() "
    "AND table_name LIKE 'notifykit\\_%%' AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY 1 LIMIT 1"
)
"""A table of ours that knows no transactions."""


class MariadbDialect(BlockDialect):
    """MariaDB 10.6 or later."""

    name = "mariadb"

    def moment(self, value: datetime | None) -> datetime | None:
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
    def alone(self, connection: Connection) -> Iterator[None]:
        """Hold a named lock of this database: DDL would commit and so release any other."""
        name, seconds = _lock_name(connection), int(BUSY_TIMEOUT.total_seconds())
        if not connection.exec_driver_sql(f"SELECT GET_LOCK('{name}', {seconds})").scalar():
            raise StorageError(f"{self.where}: another process has been changing the tables for {seconds} seconds.")
        engine = connection.exec_driver_sql("SELECT @@default_storage_engine").scalar()
        try:
            connection.exec_driver_sql("SET default_storage_engine = InnoDB")
            yield
            connection.exec_driver_sql("COMMIT")  # the next process looks as soon as it has the lock
        finally:
            connection.exec_driver_sql(f"SET default_storage_engine = {engine}")
            connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{name}')").close()


def _lock_name(connection: Connection) -> str:
    name = str(connection.exec_driver_sql("SELECT DATABASE()").scalar())
    return "notifykit-" + sha256(name.encode()).hexdigest()[:32]
