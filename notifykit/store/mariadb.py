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
        """Refuse a server that lacks what we need.

        Raises:
            ConfigurationError: It is MySQL, or too old.
        """
        core = connection.dialect
        version = core.server_version_info or (0,)
        if not getattr(core, "is_mariadb", False) or version < OLDEST:
            kind = "MariaDB" if getattr(core, "is_mariadb", False) else "MySQL"
            raise ConfigurationError(
                f"{self.where} is {kind} {'.'.join(map(str, version))}: notifykit needs MariaDB 10.6 or later."
            )

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """Hold a named lock of this database: DDL would commit and so release any other."""
        self.check(connection)
        name, seconds = _lock_name(connection), int(BUSY_TIMEOUT.total_seconds())
        if not connection.exec_driver_sql(f"SELECT GET_LOCK('{name}', {seconds})").scalar():
            raise StorageError(f"{self.where}: another process has been changing the tables for {seconds} seconds.")
        try:
            yield
            connection.exec_driver_sql("COMMIT")  # the next process looks as soon as it has the lock
        finally:
            connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{name}')").close()


def _lock_name(connection: Connection) -> str:
    name = str(connection.exec_driver_sql("SELECT DATABASE()").scalar())
    return "notifykit-" + sha256(name.encode()).hexdigest()[:32]
