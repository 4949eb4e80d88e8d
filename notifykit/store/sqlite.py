"""SQLite: our own engines, the host's, and ids from a row."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, StaticPool, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import SingletonThreadPool

from notifykit.clock import micros
from notifykit.errors import UnitError
from notifykit.settings import BUSY_TIMEOUT
from notifykit.store.dialect import Dialect
from notifykit.store.error_mapping import map_error
from notifykit.store.statement import ExecutionContext

if TYPE_CHECKING:
    from notifykit.store.writer_lock import LockHolder

log = logging.getLogger("notifykit.store")

Durability = Literal["normal", "full"]
WRITE = "notifykit_write"
"""The execution option that makes a transaction on our own engine a writer from its start."""
BUSY = int(BUSY_TIMEOUT.total_seconds() * 1000)
WAIT: ContextVar[int] = ContextVar("notifykit_wait", default=BUSY)
"""Milliseconds that a connection which is being made, or begins, may wait for other writers."""
NOT_IN_WAL = "notifykit_not_in_wal"
"""In the `info` of a connection that found no time to switch its file to WAL."""
FIRST_ID = 2
"""1 is the default organization's and environment's."""
TAKE = "UPDATE notifykit_sequence SET next = next + ? WHERE name = 'id' RETURNING next"
START = "INSERT OR IGNORE INTO notifykit_sequence (name, next) VALUES ('id', ?)"
OPEN_TRANSACTION = (
    "your own transaction is open on the only connection of this engine: pass session= (or use `within`), "
    "or end that transaction first"
)


def _is_observed(connection: Connection) -> bool:
    """Whether a log or a listener wants to see every statement."""
    seen: Any = connection.dispatch
    return bool(connection._echo or seen.before_cursor_execute or seen.after_cursor_execute)


def at_cursor(connection: Connection, text: str, arguments: Any = (), *, rows: bool = False) -> Any:
    """Run SQL at the driver's own cursor, and close it: one left open in an `UPDATE ... RETURNING` forbids the commit.

    Args:
        connection: Where.
        text: The SQL.
        arguments: One tuple, or a list of them.
        rows: It is a query.

    Returns:
        The rows of a query, else how many rows were hit.

    Raises:
        DBAPIError: As SQLAlchemy would have raised it.
    """
    cursor: Any = connection.connection.cursor()
    try:
        (cursor.executemany if type(arguments) is list else cursor.execute)(text, arguments)
        return cursor.fetchall() if rows else cursor.rowcount
    except sqlite3.Error as error:
        raise DBAPIError.instance(text, None, error, sqlite3.Error, hide_parameters=True) from error
    finally:
        cursor.close()


class SqliteDialect(Dialect):
    """SQLite, on an engine of our own or of the host."""

    name = "sqlite"
    locking = False
    is_embedded = True
    remedy = (
        "leave AUTOCOMMIT, `isolation_level=None` and `autocommit=True` out of the engine and its connect_args, or, "
        'with `isolation_level=None`, begin in a listener of the engine\'s "begin" event: '
        '`connection.exec_driver_sql("BEGIN")`'
    )

    def __init__(self, core: Any, where: str, *, own: bool = True) -> None:
        """Belong to one engine.

        Args:
            core: The engine's SQLAlchemy dialect.
            where: The file, as errors name it.
            own: The engine is ours and has our listeners; a host's has none of them.
        """
        super().__init__(core, where)
        self.own = own
        self._is_quick = own and core.driver == "pysqlite"
        self._quick: WeakKeyDictionary[Connection, bool] = WeakKeyDictionary()
        self._writer: Engine | None = None

    def change(self, connection: Connection, text: str, arguments: Any) -> int:
        """Run a change; on an engine of our own that nobody observes without a result object: a third of a trigger.

        Raises:
            StorageError: The database is locked, full, read-only or corrupt.
        """
        if not self._runs_at_cursor(connection):
            return super().change(connection, text, arguments)
        return int(self._at_cursor(connection, text, arguments))

    def fetch(self, connection: Connection, text: str, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Run a query, in the same way.

        Raises:
            StorageError: The database is locked, full, read-only or corrupt.
        """
        if not self._runs_at_cursor(connection):
            return super().fetch(connection, text, arguments)
        found: list[tuple[Any, ...]] = self._at_cursor(connection, text, arguments, rows=True)
        return found

    def _runs_at_cursor(self, connection: Connection) -> bool:
        """Whether statements go to the driver itself; whoever wants to see them is looked for once a transaction."""
        if not self._is_quick or not connection.in_transaction():
            return False
        quick = self._quick.get(connection)
        if quick is None:
            quick = self._quick[connection] = not _is_observed(connection)
        return quick

    def _at_cursor(self, connection: Connection, text: str, arguments: Any, *, rows: bool = False) -> Any:
        try:
            return at_cursor(connection, text, arguments, rows=rows)
        except DBAPIError as error:
            if (meaning := map_error(error, self.where)) is None:
                raise
            raise meaning from error

    def timestamp(self, value: datetime | None) -> int | None:
        """Microseconds."""
        return None if value is None else micros(value)

    def ids(self, unit: ExecutionContext, count: int) -> list[int]:
        """Exactly as many as are needed, inside the unit: a block kept over a rollback would be handed out twice."""
        if not count:
            return []
        after = int(self.fetch(unit.connection, TAKE, (count,))[0][0])
        return list(range(after - count, after))

    def is_committed(self, connection: Connection) -> bool:
        """Outside a transaction only: what one made itself cannot be told apart."""
        return not in_transaction(connection.connection.dbapi_connection)

    def seed(self, connection: Connection) -> None:
        """Start the row that ids come from."""
        connection.exec_driver_sql(START, (FIRST_ID,))

    def connect(
        self, engine: Engine, *, write: bool, wait: float | None = None, hold: LockHolder | None = None
    ) -> Connection:
        """Check out a connection and begin, but never disturb the host's own transaction on a shared one."""
        if self.own and write:
            if self._writer is None:
                self._writer = engine.execution_options(**{WRITE: True})
            engine = self._writer
        elif not self.own and _host_is_inside(engine):
            raise UnitError(OPEN_TRANSACTION)
        seconds = hold.wait if wait is None and hold is not None else wait
        token = WAIT.set(BUSY if seconds is None else int(seconds * 1000))
        try:
            return super().connect(engine, write=write, wait=wait, hold=hold)
        finally:
            WAIT.reset(token)

    def begin(self, connection: Connection, *, write: bool, wait: float | None) -> None:
        """Begin: `BEGIN IMMEDIATE` for a writer, whatever mode the driver is in."""
        if connection.info.get(NOT_IN_WAL):
            connection.connection.invalidate(soft=True)  # it serves this once: the next one is to switch
        begin = self._begin if self.own else self._begin_on_host
        with self.lock_timeout(connection, wait):
            begin(connection, write)

    @contextmanager
    def lock_timeout(self, connection: Connection, wait: float | None) -> Iterator[None]:
        """Wait for other writers as long as usual, or so many seconds, while the block lasts."""
        most = WAIT.get() if wait is None else int(wait * 1000)
        if most >= BUSY:
            yield
            return
        raw: Any = connection.connection.dbapi_connection
        usual = int(_pragma(raw, "PRAGMA busy_timeout")[0][0])
        try:
            _pragma(raw, f"PRAGMA busy_timeout={most}")
            yield
        finally:
            # A connection that was given up in the block (SQLAlchemy closes it at a Ctrl-C) waits for nobody any more.
            if not connection.closed and not connection.invalidated:
                _pragma(raw, f"PRAGMA busy_timeout={usual}")

    def _begin(self, connection: Connection, write: bool) -> None:
        raw: Any = connection.connection.dbapi_connection
        if in_transaction(raw):  # left open by somebody who was interrupted, and by nobody else: it is ours alone
            raw.rollback()
        connection.begin()

    def _begin_on_host(self, connection: Connection, write: bool) -> None:
        raw: Any = connection.connection
        if isinstance(connection.engine.pool, SingletonThreadPool) and in_transaction(raw.dbapi_connection):
            raise UnitError(OPEN_TRANSACTION)
        connection.begin()
        if in_transaction(raw.dbapi_connection):  # a listener of the host began
            if not write:
                return
            connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self, connection: Connection) -> None:
        """Commit, also on an engine of the host whose `commit` does nothing."""
        raw: Any = connection.connection.dbapi_connection
        super().commit(connection)
        if not self.own and in_transaction(raw) and getattr(raw, "autocommit", None) is not False:
            raw.cursor().execute("COMMIT")

    def rollback(self, connection: Connection) -> None:
        """Roll a transaction of our own back, also on an engine of the host whose `rollback` does nothing."""
        if self.own or connection.invalidated:
            connection.rollback()
            return
        raw: Any = connection.connection.dbapi_connection
        connection.rollback()
        if in_transaction(raw) and getattr(raw, "autocommit", None) is not False:
            raw.cursor().execute("ROLLBACK")

    def commits_everything(self, connection: Connection) -> bool:
        """Whether a host's connection has no transaction that its own rollback ends.

        A driver that never begins by itself (`isolation_level=None`) is in one where a listener of the host's begins.
        """
        raw: Any = connection.connection.dbapi_connection
        mode = getattr(_plain(raw), "autocommit", None)  # from Python 3.12 on
        if mode is True or getattr(connection.dialect, "skip_autocommit_rollback", False):
            return mode is True or raw.isolation_level is None
        if mode is False or raw.isolation_level is not None:
            return False
        if not connection.in_transaction():
            connection.begin()  # as the first statement does
        return not in_transaction(raw)

    def prepare_host(self, connection: Connection) -> None:
        """Log once what the host's engine lacks, with the lines to add."""
        lacks = _lacking(connection)
        if lacks:
            log.warning(
                "%s: your engine lacks %s. Several threads or processes will wait for each other or fail as locked. "
                'Add in a listener of its "connect" event: %s',
                self.where,
                ", ".join(name for name, _ in lacks),
                "; ".join(f'cursor.execute("PRAGMA {line}")' for _, line in lacks),
            )
        warn_if_old(connection.dialect.loaded_dbapi)


def _pragma(raw: Any, text: str) -> Any:
    cursor = raw.cursor()
    try:
        cursor.execute(text)
        return cursor.fetchall()
    finally:
        cursor.close()


def _lacking(connection: Connection) -> list[tuple[str, str]]:
    def pragma(name: str) -> Any:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    if pragma("journal_mode") == "memory":
        return []
    lacks = []
    if int(pragma("busy_timeout") or 0) < BUSY:
        lacks.append(("a busy_timeout of 30 seconds", f"busy_timeout={BUSY}"))
    if pragma("journal_mode") != "wal":
        lacks.append(("WAL", "journal_mode=WAL"))
    if not pragma("foreign_keys"):
        lacks.append(("foreign_keys", "foreign_keys=ON"))
    return lacks


def in_transaction(dbapi: Any) -> bool:
    """Whether a driver's connection is in a transaction; the async adapters keep the driver's own inside."""
    if not hasattr(dbapi, "in_transaction"):
        dbapi = dbapi.driver_connection
    return bool(dbapi.in_transaction)


def _plain(dbapi: Any) -> Any:
    """The connection of Python's own module: `aiosqlite` keeps it inside."""
    inside = getattr(dbapi, "driver_connection", dbapi)
    return getattr(inside, "_conn", inside)


def _host_is_inside(engine: Engine) -> bool:
    """Whether the host's transaction is open on a connection that all share, found out without checking it out."""
    pool = engine.pool
    if not isinstance(pool, StaticPool) or "connection" not in pool.__dict__:
        return False
    dbapi = pool.connection.dbapi_connection
    return dbapi is not None and in_transaction(dbapi)


def install(engine: Engine, durability: Durability, *, memory: bool) -> None:
    """Make an engine of our own right: pragmas at connect, and transactions that begin where SQLAlchemy says so.

    The driver's default mode begins at the first change only and loses updates silently.
    """

    @event.listens_for(engine, "connect")
    def _(dbapi: Any, record: Any) -> None:
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        if not memory:
            cursor.execute(f"PRAGMA busy_timeout={WAIT.get()}")
            if not _use_wal(cursor, engine.dialect.loaded_dbapi.Error):
                record.info[NOT_IN_WAL] = True
            cursor.execute(f"PRAGMA synchronous={durability.upper()}")
            warn_if_old(engine.dialect.loaded_dbapi)
        cursor.execute(f"PRAGMA busy_timeout={BUSY}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        text = "BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITE) else "BEGIN"
        if engine.dialect.driver != "pysqlite" or _is_observed(connection):
            connection.exec_driver_sql(text)
        else:
            at_cursor(connection, text)


def _use_wal(cursor: Any, failed: type[Exception]) -> bool:
    """Switch to WAL; processes that start at once are turned away while one of them switches.

    Returns:
        False where somebody writes whom this connection may not wait for: it works without, too.
    """
    try:
        return _switch(cursor, failed)
    except failed as error:
        if WAIT.get() >= BUSY or not _code(error).startswith("SQLITE_BUSY"):
            raise
        return False


def _switch(cursor: Any, failed: type[Exception]) -> bool:
    for attempt in range(20):
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone()[0] == "wal":
            return True
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.fetchone()
            return True
        except failed as error:
            if _code(error).startswith("SQLITE_READONLY"):
                return True
            if not _code(error).startswith("SQLITE_BUSY") or attempt == 19 or WAIT.get() < BUSY:
                raise
        cursor.execute("BEGIN IMMEDIATE")  # the switch does not wait for others; this does
        cursor.execute("ROLLBACK")
    return True


def _code(error: Exception) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


SAFE = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
"""The releases that mended WAL: the first of their line; every later line has it."""
OLD = (
    "SQLite %s has a bug, mended in 3.51.3, that can corrupt a WAL file which several processes write at once: write "
    "from one process, or `pip install pysqlite3` and open the file by nothing but one engine that notifykit gets too, "
    '`bind=create_engine(url, module=pysqlite3)` (on asyncio: `sys.modules["sqlite3"] = pysqlite3` before anything '
    "else is imported)."
)
_warned = False


def is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite is free of the bug that corrupts a WAL file under several writing processes."""
    return version >= SAFE[-1] or any(version[:2] == fixed[:2] and version >= fixed for fixed in SAFE)


def warn_if_old(module: Any) -> None:
    """Log once a process that this SQLite may corrupt a file that several processes write."""
    global _warned
    if not _warned and not is_safe(module.sqlite_version_info):
        _warned = True
        log.info(OLD, module.sqlite_version)
