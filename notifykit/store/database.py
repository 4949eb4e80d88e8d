"""A database as the sync notifier sees it: transactions of our own, and the tables they need."""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self, get_args

from sqlalchemy import Connection, Engine, StaticPool
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError
from sqlalchemy.pool import SingletonThreadPool

from notifykit.errors import ConfigurationError, NotifyKitError, SchemaError, StorageError, UnitError
from notifykit.settings import BESIDE_HOST
from notifykit.store import engines, forks, schema
from notifykit.store import pool_capacity as room
from notifykit.store.dialect import Dialect
from notifykit.store.error_mapping import is_crowded, is_unseen, mapping_errors
from notifykit.store.schema import Migrate
from notifykit.store.sqlite import Durability
from notifykit.store.transaction import Transaction
from notifykit.store.writer_lock import LockHolder, WriterLock

logger = logging.getLogger("notifykit.store")

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
FORKED = "this process was forked inside a transaction, which is its parent's to commit"
FORKED_INSIDE = (
    "{where} cannot be written in this process: it was forked while its parent was in the middle of a transaction on "
    "it, and SQLite takes the file as locked by this process for ever. Fork before the transaction, or after it."
)


class Database(forks.Forked):
    """One engine, our own or the host's, and how a transaction of ours runs on it.

    Attributes:
        engine: SQLAlchemy's.
        dialect: What is special about this kind of database.
        own: We made the engine, so we close it.
        migrate_mode: What may be done about missing or older tables.
        is_forked_inside: The parent of this process was writing its SQLite file when it forked.
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
        self._writer_lock = WriterLock(self.dialect.where)
        self._resting: LockHolder | None = None
        self.is_forked_inside = False
        self._end = self._at_the_end()
        forks.watch(self)

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

    def transaction(self, *, write: bool) -> Transaction:
        """A transaction of our own, to be used by `with`: committed at the end, rolled back by an exception.

        Args:
            write: Whether it may write. On SQLite a writer holds the only writer's lock from its start.

        Returns:
            What gives a connection to the block. Entering it raises `SchemaError` where the tables are missing, older
            or newer, and may not be changed here; `UnitError` where your own transaction is open on the only
            connection there is, or one of ours in this thread; `StorageError` where the database is locked, full,
            read-only, corrupt or gone.
        """
        return Transaction(self, write)

    def enter(self, hold: LockHolder, *, write: bool) -> Connection:
        """Wait for the writer lock where there is one, and begin.

        Args:
            hold: Gets what is taken.
            write: Whether the transaction may write.

        Raises:
            SchemaError: The tables are missing, older or newer, and may not be changed here.
            UnitError: Your own transaction is open on the only connection there is, or one of ours in this thread.
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        forks.look()
        try:
            if self.needs_writer_lock(write):
                self._writer_lock.take(hold)
            return self.begin(write, hold)
        except BaseException:
            self.give_up(hold)
            raise

    def leave(self, hold: LockHolder, *, commit: bool) -> None:
        """End a transaction and give everything back; where this is interrupted, `give_up` is to follow.

        Args:
            hold: What `enter` was given.
            commit: Commit it; what fails is rolled back.

        Raises:
            StorageError: The commit failed.
        """
        connection = hold.connection
        if connection is None:
            return
        if hold.pid != os.getpid():
            forks.look()  # while the lock can be seen to have been taken
            forks.leave_to_parent(connection)
            if commit:
                raise UnitError(FORKED)
            return
        if commit:
            self.commit(connection)
        else:
            self.rollback(connection)
        self._writer_lock.leave(hold)

    def give_up(self, hold: LockHolder) -> None:
        """Roll back and give back whatever a hold still has, wherever it was interrupted."""
        if hold.pid == os.getpid():
            self.roll_back_all(hold)
        else:
            for connection in hold.open():
                forks.leave_to_parent(connection)
        self._writer_lock.leave(hold)

    def roll_back_all(self, hold: LockHolder) -> None:
        """Roll back every connection that a hold has open, or is to give back for those before it."""
        for connection in hold.open():
            self.rollback(connection)

    def needs_writer_lock(self, write: bool) -> bool:
        """Whether a transaction waits for the writer lock: SQLite has one writer, and one connection in memory."""
        return self.dialect.is_embedded and (write or not self._ready or self.is_shared)

    @property
    def is_shared(self) -> bool:
        """Whether all transactions run on one connection."""
        return isinstance(self.engine.pool, StaticPool)

    @property
    def has_room(self) -> bool:
        """Whether a connection can be had at once: who holds one already waits for another in vain."""
        return not room.is_full(self.engine.pool)

    def begin(self, write: bool, hold: LockHolder | None = None) -> Connection:
        """Begin a transaction, the tables looked at before; the caller has the writer lock and ends it.

        Args:
            write: Whether the transaction may write.
            hold: Gets the connection as soon as there is one; what its forerunners left open is rolled back first.
        """
        if self.closed:
            raise UnitError("this engine is closed")
        if write and self.is_forked_inside and not self._is_memory:
            raise StorageError(FORKED_INSIDE.format(where=self.dialect.where))
        if hold is not None and hold.left:
            self._undo_left(hold)
        if not self._ready:
            self.make_ready(hold=hold)
        with mapping_errors(self.dialect.where):
            return self.dialect.connect(self.engine, write=write, hold=hold)

    def _undo_left(self, hold: LockHolder) -> None:
        for each in hold.left:
            for connection in each.open():
                self.rollback(connection)
        hold.left.clear()

    def commit(self, connection: Connection) -> None:
        """Commit and give the connection back; what fails is rolled back."""
        try:
            with mapping_errors(self.dialect.where):
                self.dialect.commit(connection)
        except BaseException as error:
            self._undo(connection, error)
            raise
        connection.close()

    def rollback(self, connection: Connection) -> None:
        """Roll back and give the connection back; one that cannot be rolled back is thrown away.

        Args:
            connection: Whatever its state: it may have been interrupted in the middle of a commit.
        """
        try:
            self.dialect.rollback(connection)
            connection.close()
        except (SQLAlchemyError, AssertionError, AttributeError):  # all three are SQLAlchemy's own
            self._throw_away(connection)
        except BaseException:
            self._throw_away(connection)
            raise

    def _undo(self, connection: Connection, error: BaseException) -> None:
        """Roll back after an error of the database's; after any other its answer may be on the wire yet."""
        if isinstance(error, (SQLAlchemyError, NotifyKitError)):
            self.rollback(connection)
        else:
            self._throw_away(connection)

    def _throw_away(self, connection: Connection) -> None:
        if connection.closed or connection.invalidated:
            return
        if self.is_shared and not self.own:  # the host's database lives in it
            raw: Any = connection.connection.dbapi_connection
            raw.rollback()
        else:
            connection.invalidate()

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
            self._seen = self.dialect.is_committed(joined)
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
            self.make_ready(
                wait=BESIDE_HOST.total_seconds()
            )  # without the writer lock: its holder may wait for this very host
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
        forks.look()
        hold = LockHolder(self, sys._getframe())
        try:
            if self.needs_writer_lock(True):
                self._writer_lock.take(hold)
            self._undo_left(hold)
            self.make_ready(mode, hold=hold)
        finally:
            self.give_up(hold)

    def make_ready(
        self, mode: Migrate | None = None, *, wait: float | None = None, hold: LockHolder | None = None
    ) -> None:
        """Look at the tables and make them, whatever is known of them; the caller has the writer lock.

        Args:
            mode: As in `open`, for this once.
            wait: Seconds to wait for other writers; None: as long as usual.
            hold: Gets each connection.
        """

        @contextmanager
        def transaction(write: bool) -> Iterator[Connection]:
            connection = self.dialect.connect(self.engine, write=write, wait=wait, hold=hold)
            try:
                if not write:
                    self.dialect.check(connection)
                if not self.own and not write:
                    self.dialect.prepare_host(connection)
                with self.dialect.lock_timeout(connection, wait):
                    yield connection
                    self.dialect.commit(connection)
            except BaseException as error:
                self._undo(connection, error)
                raise
            if not self.own and not isinstance(self.engine.pool, (StaticPool, SingletonThreadPool)):
                connection.invalidate()  # in the host's pool it would be shared by children that do not know us yet
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
        forks.look()
        self.closed = True
        if self.own:
            self.engine.dispose()

    def before_fork(self) -> None:
        """Wait for those who write an SQLite file: in a child it would be locked for ever, by a thread not there."""
        if self.dialect.is_embedded and not self.engine.dialect.is_async:
            resting = LockHolder(self)
            try:
                self._writer_lock.take(resting)
            except UnitError:  # this very thread is in a transaction
                return
            except StorageError as error:
                logger.warning("forked all the same, and the child may find the file locked: %s", error)
                return
            self._resting = resting

    def after_fork_in_parent(self) -> None:
        """Let others write again."""
        if self._resting is not None:
            self._writer_lock.leave(self._resting)
            self._resting = None

    def after_fork(self) -> None:
        """In a child: no connection, and no lock that a thread of the parent held."""
        writer = self._writer_lock.holder not in {None, self._resting}
        self._writer_lock, self._resting = WriterLock(self.dialect.where), None
        self.dialect.after_fork()
        self._end.detach()
        self._end = self._at_the_end()
        if self._is_memory and not self.engine.dialect.is_async:
            return  # the child has a copy
        self._ready = self._ready and not self._is_memory  # the thread that holds an async driver's is not here
        self.is_forked_inside = writer or self.is_forked_inside
        forks.leave_to_parent(self.engine.pool)
        self.engine.dispose(close=False)

    @property
    def _is_memory(self) -> bool:
        return self.dialect.is_embedded and engines.is_memory(self.engine.url)

    def _at_the_end(self) -> weakref.finalize[[Engine, int], Database]:
        """Dispose of an engine that nobody closed; a child that has not looked yet leaves its parent's alone."""
        engine = self.engine if self.own and not self.engine.dialect.is_async else None
        return weakref.finalize(self, _dispose, engine, os.getpid())


def _dispose(engine: Engine | None, pid: int) -> None:
    if engine is not None and os.getpid() == pid:
        engine.dispose()
