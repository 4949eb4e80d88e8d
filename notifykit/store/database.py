"""A database as the sync door sees it: transactions of our own, and the tables they need."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Self, get_args

from sqlalchemy import Connection, Engine, StaticPool
from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.pool import SingletonThreadPool

from notifykit.errors import ConfigurationError, SchemaError, StorageError, UnitError
from notifykit.store import engines, forks, room, schema
from notifykit.store.dialect import Dialect
from notifykit.store.faults import is_crowded, is_unseen, translated
from notifykit.store.schema import Migrate
from notifykit.store.sqlite import Durability
from notifykit.store.turns import Turns

NOT_INSIDE = (
    "{where} has no notifykit tables of version {version} that your transaction sees, and they cannot be made while it "
    "is open, because {cause}: call notify.migrate() at start-up."
)
LOCKED = "another transaction, perhaps yours, keeps them or the file locked"
POOL = "no connection is free: open transactions use all of the {pool}"
TOO_EARLY = (
    "{where} has its notifykit tables now, but your transaction began before they were made and does not see them: end "
    "it and run it again; call notify.migrate() at start-up."
)


class Database:
    """One engine, our own or the host's, and how a transaction of ours runs on it.

    Attributes:
        engine: SQLAlchemy's.
        dialect: What is special about this kind of database.
        own: We made the engine, so we close it.
        migrate_mode: What may be done about missing or older tables.
    """

    def __init__(self, engine: Engine, *, own: bool, migrate: Migrate = "auto") -> None:
        """Prefer `open` and `bound`.

        Args:
            engine: A sync engine, or the sync face of an async one for use in greenlets.
            own: We made it.
            migrate: What may be done about missing or older tables.

        Raises:
            ConfigurationError: There is no such way to migrate, or the database is none of ours.
        """
        engines.check_option("migrate", migrate, get_args(Migrate))
        self.engine = engine
        self.dialect: Dialect = engines.dialect_of(engine, own=own)
        self.own = own
        self.migrate_mode: Migrate = migrate
        self.closed = False
        self._ready = False
        self._seen = False
        self._turns = Turns(self.dialect.where)
        forks.watch(self)
        if own and not engine.dialect.is_async:  # for those who never call `close`
            weakref.finalize(self, engine.dispose)

    @classmethod
    def open(cls, url: str | None, *, durability: Durability = "normal", migrate: Migrate = "auto") -> Self:
        """A database on an engine of our own.

        Args:
            url: An SQLAlchemy URL; None is a private database in memory.
            durability: On SQLite, `full` survives a loss of power too.
            migrate: What may be done about missing or older tables.

        Raises:
            ConfigurationError: The URL is wrong or its driver is missing.
        """
        return cls(engines.create(engines.parsed(url), durability), own=True, migrate=migrate)

    @classmethod
    def bound(cls, engine: object, *, migrate: Migrate = "auto") -> Self:
        """A database on the host's engine, which gets no listener and is never closed here.

        Args:
            engine: The host's.
            migrate: What may be done about missing or older tables.

        Raises:
            ConfigurationError: It is an async engine, or of a database that is not one of ours.
        """
        if not isinstance(engine, Engine) or engine.dialect.is_async:
            raise ConfigurationError(
                f"bind= takes a sync Engine here, not {type(engine).__name__}: "
                "an async one belongs to notifykit.AsyncEngine."
            )
        return cls(engine, own=False, migrate=migrate)

    # Transactions

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """A transaction of our own: committed at the end, rolled back by an exception.

        Args:
            write: Whether it may write. On SQLite a writer holds the only writer's lock from its start.

        Raises:
            SchemaError: The tables are missing, older or newer, and may not be changed here.
            UnitError: Your own transaction is open on the only connection there is, or one of ours in this thread.
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        with self._turn(write):
            connection = self.begin(write)
            try:
                yield connection
            except BaseException:
                self.rollback(connection)
                raise
            self.commit(connection)

    def needs_turn(self, write: bool) -> bool:
        """Whether a transaction waits for its turn: SQLite has one writer, and one connection in memory."""
        return self.dialect.name == "sqlite" and (write or not self._ready or self.is_shared)

    @property
    def is_ready(self) -> bool:
        """Whether the tables were looked at."""
        return self._ready

    @property
    def is_shared(self) -> bool:
        """Whether all transactions run on one connection."""
        return isinstance(self.engine.pool, StaticPool)

    @property
    def has_room(self) -> bool:
        """Whether a connection can be had at once: who holds one already waits for another in vain."""
        return not room.is_full(self.engine.pool)

    def _turn(self, write: bool) -> AbstractContextManager[None]:
        return self._turns.take() if self.needs_turn(write) else nullcontext()

    def begin(self, write: bool) -> Connection:
        """Begin a transaction, the tables looked at before; the caller has its turn and ends it."""
        if self.closed:
            raise UnitError("this engine is closed")
        if not self._ready:
            self.make_ready()
        with translated(self.dialect.where):
            return self.dialect.connect(self.engine, write=write)

    def commit(self, connection: Connection) -> None:
        """Commit and give the connection back; what fails is rolled back."""
        try:
            with translated(self.dialect.where):
                self.dialect.commit(connection)
        except BaseException:
            self.rollback(connection)
            raise
        connection.close()

    def rollback(self, connection: Connection) -> None:
        """Roll back and give the connection back; nothing raises here."""
        try:
            self.dialect.rollback(connection)
        except DBAPIError:
            if not self.is_shared:
                connection.invalidate()
        connection.close()

    # Tables

    def ready(self, joined: Connection | None = None) -> None:
        """Look at the tables before the first statement inside a host's transaction.

        Args:
            joined: The host's connection, which is looked at first: it needs no other one.

        Raises:
            SchemaError: The tables are missing, older or newer, and cannot be changed now.
            StorageError: The database is full, read-only, corrupt or gone.
        """
        if not self.has_seen(joined):
            self.make_beside()
            self.confirm(joined)

    def has_seen(self, joined: Connection | None) -> bool:
        """Whether the tables are known to be there, or a host's connection, which is free to read, sees them.

        Args:
            joined: The host's connection.

        Raises:
            SchemaError: They are not, on the only connection there is.
        """
        if self._ready or self._seen or joined is None:
            return self._ready or self._seen
        found = self._found(joined)
        if found == schema.HEAD:
            # What the host made in the transaction that it is in may be rolled back yet: that is not remembered.
            self._seen = self.dialect.is_settled(joined)
            return True
        if self._is_only(joined):
            schema.refuse(found, self.dialect, self.migrate_mode)
            raise self._not_inside("it is open on the only connection of this engine")
        return False

    def make_beside(self) -> None:
        """Look at the tables, and make them, on a connection of our own beside the host's open transaction.

        Raises:
            SchemaError: They cannot be changed now, or may not; it names what is in the way.
            StorageError: The database is full, read-only, corrupt or gone.
        """
        if not room.wait_for_room(self.engine, lambda: self._ready):
            raise self._not_inside(self._crowd)
        if self._ready:
            return
        try:
            self.make_ready(patient=False)  # without a turn: its holder may wait for this very host
        except StorageError as error:
            if not is_crowded(error):
                raise
            cause = self._crowd if isinstance(error.__cause__, TimeoutError) else LOCKED
            raise self._not_inside(cause) from error

    def confirm(self, joined: Connection | None) -> None:
        """Raise where a host's transaction does not see the tables that were found or made beside it.

        Raises:
            SchemaError: It began before they were there, and its isolation keeps it from seeing them.
        """
        if joined is not None and self._found(joined) != schema.HEAD:
            raise SchemaError(TOO_EARLY.format(where=self.dialect.where))

    def _found(self, joined: Connection) -> str | None:
        with schema.told(self.dialect):
            try:
                return schema.stored_version(joined)
            except DBAPIError as error:
                if not is_unseen(error):
                    raise
                return None

    def _not_inside(self, cause: str) -> SchemaError:
        return SchemaError(NOT_INSIDE.format(where=self.dialect.where, version=schema.HEAD, cause=cause))

    @property
    def _crowd(self) -> str:
        return POOL.format(pool=room.described(self.engine.pool))

    def migrate(self, mode: Migrate = "always") -> None:
        """Make the tables, or bring them to this library's version.

        Args:
            mode: As in `open`; this once.

        Raises:
            SchemaError: They are newer than the library, or this user may not change them.
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        with self._turn(True):
            self.make_ready(mode)

    def make_ready(self, mode: Migrate | None = None, *, patient: bool = True) -> None:
        """Look at the tables and make them, whatever is known of them; the caller has its turn.

        Args:
            mode: As in `open`, for this once.
            patient: Wait for other writers as long as usual.
        """

        @contextmanager
        def transaction(write: bool) -> Iterator[Connection]:
            connection = self.dialect.connect(self.engine, write=write, patient=patient)
            try:
                if not write:
                    self.dialect.check(connection)
                if not self.own and not write:
                    self.dialect.prepare_host(connection)
                with self.dialect.patience(connection, patient):
                    yield connection
                    self.dialect.commit(connection)
            except BaseException:
                self.rollback(connection)
                raise
            connection.close()

        schema.ensure(transaction, self.dialect, mode or self.migrate_mode)
        self._ready = True

    def _is_only(self, joined: Connection) -> bool:
        return (
            isinstance(joined.engine.pool, (StaticPool, SingletonThreadPool)) and self.engine.pool is joined.engine.pool
        )

    # The end

    def close(self) -> None:
        """Close our own engine; the host's is left alone."""
        self.closed = True
        if self.own:
            self.engine.dispose()

    def after_fork(self) -> None:
        """In a child: no connection, and no lock that a thread of the parent held."""
        self._turns = Turns(self.dialect.where)
        self.dialect.after_fork()
        if self.own and not self.is_shared:
            _parents.append(self.engine.pool)
            self.engine.dispose(close=False)


_parents: list[Any] = []
"""The pools of parent processes: closing their connections here would close the parent's."""
