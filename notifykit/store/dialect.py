"""What is special about one kind of database. One instance belongs to one `Database`."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, Table
from sqlalchemy import Dialect as SqlDialect
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.pool import Pool

from notifykit.errors import UnitError
from notifykit.store.error_mapping import map_error
from notifykit.store.joining import AUTOCOMMIT, commits_everything, refuse_moved
from notifykit.store.statement import ExecutionContext, Prepared, SetForm, Statement, prepare

if TYPE_CHECKING:
    from notifykit.store.writer_lock import LockHolder

Rows = Sequence[tuple[Any, ...]]


POSITIONAL = {"pyformat": "format", "named": "qmark"}
"""The positional form that a driver takes besides its named one."""


class Dialect:
    """One kind of database: how its statements are spelled and where its ids come from.

    Attributes:
        name: `sqlite`, `postgresql` or `mariadb`.
        is_embedded: Runs in the host's process: there is one writer, and who opens it may upgrade it.
        set_form: How a set of values is one parameter.
        locking: Whether `SELECT ... FOR UPDATE` exists; statements with it compile to plain ones where it does not.
        where: The file or database, as errors name it; never with a password.
        rights: What a user needs who makes or changes the tables.
        needs: What every other user needs.
        remedy: What a host writes whose connections commit every statement.
    """

    name = ""
    locking = True
    is_embedded = False
    set_form = SetForm()
    rights = "the right to write to the file and its folder"
    needs = rights
    remedy = (
        'leave isolation_level="AUTOCOMMIT" out of the engine, its execution_options and the session, and the '
        "driver's own `autocommit` out of connect_args"
    )

    def __init__(self, core: SqlDialect, where: str) -> None:
        """Belong to one engine.

        Args:
            core: The engine's SQLAlchemy dialect; read only after the first connection, which tells its version.
            where: The file or database, as errors name it.
        """
        self.core = core
        self.where = where
        self._positional: SqlDialect | None = None
        self._key: Hashable = None
        self._texts: dict[Hashable, str] = {}
        self._joined: WeakSet[Pool] = WeakSet()

    # Statements

    @property
    def positional(self) -> SqlDialect:
        """SQLAlchemy's dialect with parameters by position: what tuples need."""
        if self._positional is None:
            twin: Any = copy.copy(self.core)
            twin.paramstyle = POSITIONAL.get(twin.paramstyle, twin.paramstyle)
            twin.positional = True
            twin.identifier_preparer = twin.preparer(twin)
            twin.notifykit_set_form = self.set_form
            self._positional = twin
        return self._positional

    def prepared(self, statement: Statement) -> Prepared:
        """A statement in this dialect, compiled at its first use in the process."""
        if self._key is None:
            core = self.positional
            self._key = (core.name, core.driver, core.paramstyle, core.server_version_info)
        found = statement.forms.get(self._key)
        if found is None:
            found = statement.forms[self._key] = prepare(statement.core, self.positional)
        return found

    def execute(self, connection: Connection, text: str, arguments: Any) -> Any:
        """Run SQL at the driver; what comes back has `rowcount`, `cursor` and `close`.

        Args:
            connection: Where.
            text: SQL in the driver's own form.
            arguments: One tuple, or a list of tuples for a change that runs once for each.

        Raises:
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        try:
            return connection.exec_driver_sql(text, arguments)
        except DBAPIError as error:
            if (meaning := map_error(error, self.where)) is None:
                raise
            raise meaning from error
        except StatementError as error:  # there is nothing to be wrapped but what interrupted the call
            raise error.orig or error from error

    def change(self, connection: Connection, text: str, arguments: Any) -> int:
        """Run a change at the driver; how many rows it hit.

        Raises:
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        result = None
        try:
            result = self.execute(connection, text, arguments)
            return int(result.rowcount)
        finally:
            if result is not None:
                result.close()

    def fetch(self, connection: Connection, text: str, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Run a query at the driver; every row, as the driver gives it.

        Raises:
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        result = None
        try:
            result = self.execute(connection, text, arguments)
            rows = result.cursor.fetchall()
        except Exception as error:  # the driver's own: SQLite reads on while rows are fetched
            if not isinstance(error, self.core.loaded_dbapi.Error) or (meaning := map_error(error, self.where)) is None:
                raise
            raise meaning from error
        finally:
            if result is not None:
                result.close()
        return rows if type(rows) is list else list(rows)

    # Values

    def timestamp(self, value: datetime | None) -> Any:
        """A time as this database stores it."""
        raise NotImplementedError

    def ids(self, unit: ExecutionContext, count: int) -> list[int]:
        """That many new ids, ascending."""
        raise NotImplementedError

    # Rows

    def insert(self, unit: ExecutionContext, table: Table, columns: tuple[str, ...], rows: Rows) -> None:
        """Insert rows whose values are encoded already, in one call to the driver."""
        if rows:
            self._many(unit, self._text(table, columns), rows)

    def insert_new(self, unit: ExecutionContext, table: Table, columns: tuple[str, ...], rows: Rows) -> None:
        """Insert those rows that meet no row with the same unique key; the caller sorts them and reads again."""
        if rows:
            self._many(unit, self._text(table, columns, self._ignoring(table)), rows)

    def reveal(self, unit: ExecutionContext, table: Table, key: tuple[str, ...], rows: Rows) -> None:
        """Let the rest of a host's transaction see rows that are there, though its snapshot is older than they are.

        Args:
            unit: The unit; only a host's transaction can hold a snapshot.
            table: The table.
            key: The columns of a unique key.
            rows: Its values in rows that a conflict or a lock has met.
        """

    def renew(self, unit: ExecutionContext, table: Table, key: tuple[str, ...], rows: Rows) -> None:
        """The same for rows that the snapshot shows as they once were."""

    def upsert(
        self,
        unit: ExecutionContext,
        table: Table,
        columns: tuple[str, ...],
        rows: Rows,
        *,
        key: tuple[str, ...],
        update: tuple[str, ...],
        keep_null: bool = False,
    ) -> None:
        """Insert rows, or update those that exist.

        Args:
            unit: The unit.
            table: The table.
            columns: What each row's values are.
            rows: Encoded already; they are sorted by the key here (unsorted ones deadlock PostgreSQL to a halt).
            key: The columns of the unique key that decides whether a row exists.
            update: The columns to overwrite in a row that exists.
            keep_null: A NULL keeps what is stored.
        """
        if rows:
            places = [columns.index(name) for name in key]
            ordered = sorted(rows, key=lambda row: tuple(row[place] for place in places))
            self._many(unit, self._text(table, columns, self._updating(table, key, update, keep_null)), ordered)

    def _ignoring(self, table: Table) -> str:
        return "ON CONFLICT DO NOTHING"

    def _updating(self, table: Table, key: tuple[str, ...], update: tuple[str, ...], keep_null: bool) -> str:
        quote, name = self.quote, self.quote(table.name)
        new = "COALESCE(excluded.{0}, {1}.{0})" if keep_null else "excluded.{0}"
        changes = ", ".join(f"{quote(each)} = {new.format(quote(each), name)}" for each in update)
        return f"ON CONFLICT ({', '.join(map(quote, key))}) DO " + (f"UPDATE SET {changes}" if update else "NOTHING")

    def _text(self, table: Table, columns: tuple[str, ...], tail: str = "") -> str:
        key = (table.name, columns, tail)
        text = self._texts.get(key)
        if text is None:
            names, marks = ", ".join(map(self.quote, columns)), ", ".join([self.mark] * len(columns))
            text = f"INSERT INTO {self.quote(table.name)} ({names}) VALUES ({marks}) {tail}".rstrip()
            self._texts[key] = text
        return text

    def _many(self, unit: ExecutionContext, text: str, rows: Rows) -> None:
        self.change(unit.connection, text, rows if type(rows) is list else list(rows))

    @property
    def mark(self) -> str:
        """What stands for a parameter."""
        return "?" if self.positional.paramstyle == "qmark" else "%s"

    def quote(self, name: str) -> str:
        """A name as SQL spells it."""
        return self.positional.identifier_preparer.quote(name)

    # Transactions of our own

    def connect(
        self, engine: Engine, *, write: bool, wait: float | None = None, hold: LockHolder | None = None
    ) -> Connection:
        """Check out a connection and begin a transaction on it.

        Args:
            engine: Our own, or the host's.
            write: Whether the transaction may write.
            wait: Seconds to wait for other writers; None: as long as usual.
            hold: Gets the connection before anything is begun on it.

        Raises:
            UnitError: The host's own transaction is open on the only connection there is.
        """
        connection = engine.connect()
        if hold is not None:
            hold.connection = connection
        try:
            self.begin(connection, write=write, wait=wait)
        except BaseException:
            try:
                connection.close()
            except Exception:  # SQLAlchemy's own, of a connection that was interrupted while it began
                if not connection.closed:
                    connection.invalidate()
            raise
        return connection

    def begin(self, connection: Connection, *, write: bool, wait: float | None) -> None:
        """Begin a transaction on a connection that was checked out for it."""
        connection.begin()

    @contextmanager
    def lock_timeout(self, connection: Connection, wait: float | None) -> Iterator[None]:
        """Wait for other writers as long as usual, or so many seconds, while the block lasts."""
        yield

    def commit(self, connection: Connection) -> None:
        """Commit a transaction of our own."""
        try:
            connection.commit()
        except AssertionError as error:  # SQLAlchemy's, where it asserts that an interrupted commit has ended
            raise error.__context__ or error from None

    def after_fork(self) -> None:
        """Start anew in a child process."""

    def rollback(self, connection: Connection) -> None:
        """Roll a transaction of our own back."""
        connection.rollback()

    # The host's connections

    def prepare_host(self, connection: Connection) -> None:
        """Look once at a host's engine, and log what it lacks."""

    def check(self, connection: Connection) -> None:
        """Look once at the connections of a pool, our own or the host's.

        Raises:
            ConfigurationError: They, or their database, cannot hold what we store.
        """

    def check_joined(self, connection: Connection) -> None:
        """Look at a host's connection before anything is done in its transaction.

        Raises:
            UnitError: What we do on it would outlive the host's rollback, or go elsewhere.
            ConfigurationError: It cannot carry what we store.
        """
        refuse_moved(connection)
        if self.commits_everything(connection):
            raise UnitError(AUTOCOMMIT.format(remedy=self.remedy))
        pool = connection.engine.pool
        if pool not in self._joined:
            self.check(connection)
            self._joined.add(pool)

    def commits_everything(self, connection: Connection) -> bool:
        """Whether a host's connection commits each statement at once."""
        return commits_everything(connection)

    @contextmanager
    def schema_lock(self, connection: Connection) -> Iterator[None]:
        """Be the only process that makes or changes the tables, at least until what was done is visible to all."""
        yield

    def is_committed(self, connection: Connection) -> bool:
        """Whether the tables that a host's transaction sees are there whatever becomes of that transaction."""
        raise NotImplementedError

    def seed(self, connection: Connection) -> None:
        """Write the rows that ids need."""
