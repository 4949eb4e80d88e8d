"""A database as the async notifier sees it: the same transactions, run in a worker thread or in greenlets."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from notifykit.errors import ConfigurationError, UnitError
from notifykit.store import engines, forks
from notifykit.store.database import FORKED, Database
from notifykit.store.dialect import Dialect
from notifykit.store.loops import Home
from notifykit.store.schema import Migrate
from notifykit.store.sqlite import Durability
from notifykit.store.writer_lock import AsyncWriterLock, LockHolder

T = TypeVar("T")
OnHost = Callable[[Callable[[Any], Any]], Awaitable[Any]]


class Runner(Protocol):
    """Runs sync work on the database without blocking the event loop."""

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Do the work; a cancelled task waits for it first."""
        ...

    def after_fork(self) -> None:
        """Start anew in a child process."""

    def close(self) -> None:
        """Let go of threads."""


class Transaction:
    """An open transaction."""

    def __init__(self, connection: Connection, runner: Runner) -> None:
        """Prefer `AsyncDatabase.transaction`."""
        self.connection = connection
        self._runner = runner

    async def call(self, work: Callable[..., T], *args: Any) -> T:
        """Run `work(connection, *args)` where the connection may be used.

        Args:
            work: Sync; sees the caller's context variables.
            args: What follows the connection.

        Returns:
            What the work returned. A task cancelled meanwhile waits for it, then raises.
        """
        return await self._runner.run(work, self.connection, *args)


class Opened:
    """A transaction of our own, for as long as a block lasts.

    Attributes:
        hold: What it holds.
    """

    def __init__(self, database: AsyncDatabase, write: bool) -> None:
        """Prefer `AsyncDatabase.transaction`."""
        self._database = database
        self._write = write
        self.hold = LockHolder(self)
        self._transaction: Transaction | None = None

    async def __aenter__(self) -> Transaction:
        """Begin it."""
        await self._database.arrive()
        self._transaction = transaction = await self._database.enter(self.hold, write=self._write)
        return transaction

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        await self._database.leave(self.hold, commit=kind is None)


class AsyncDatabase(forks.Forked):
    """One engine, our own or the host's, for the async notifier.

    How a transaction runs follows the URL: a plain `sqlite://` on the sync engine in one worker thread (a single
    trigger takes a sixth of the time that `aiosqlite` needs), everything else by its async driver.
    """

    def __init__(self, database: Database, runner: Runner) -> None:
        """Prefer `open` and `bound`."""
        self._database = database
        self._runner = runner
        self._writer_lock = AsyncWriterLock(database.dialect.where)
        self._home = Home(database.engine, own=database.own)
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
        found = engines.parsed(url)
        if engines.in_worker(found):
            return cls(Database(engines.create(found, durability), own=True, migrate=migrate), InThread())
        return cls(Database(engines.create_awaited(found, durability), own=True, migrate=migrate), InGreenlet())

    @classmethod
    def bound(cls, engine: object, *, migrate: Migrate = "auto") -> Self:
        """A database on the host's engine, which gets no listener and is never closed here.

        Args:
            engine: The host's.
            migrate: What may be done about missing or older tables.

        Raises:
            ConfigurationError: It is a sync engine, or of a database that is not one of ours.
        """
        if not isinstance(engine, AsyncEngine):
            raise ConfigurationError(
                f"bind= takes an AsyncEngine here, not {type(engine).__name__}: "
                "a sync Engine belongs to notifykit.Engine."
            )
        return cls(Database(engine.sync_engine, own=False, migrate=migrate), InGreenlet())

    @property
    def dialect(self) -> Dialect:
        """What is special about this kind of database."""
        return self._database.dialect

    @property
    def engine(self) -> Engine:
        """The sync engine under it."""
        return self._database.engine

    @property
    def database(self) -> Database:
        """The sync face: only for work that runs where `run` puts it."""
        return self._database

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Run sync work on this database outside any transaction of ours: `await db.run(db.database.ready)`."""
        forks.look()
        return await self._runner.run(work, *args)

    def transaction(self, *, write: bool) -> Opened:
        """A transaction of our own, for `async with`: committed at the end, rolled back by an exception.

        Args:
            write: Whether it may write. On SQLite a writer holds the only writer's lock from its start.

        Returns:
            What gives a `Transaction` to the block. A cancelled task rolls back too. Entering it raises `SchemaError`
            where the tables are missing, older or newer, and may not be changed here; `UnitError` where your own
            transaction is open on the only connection there is, or one of ours in this task; `StorageError` where the
            database is locked, full, read-only, corrupt or gone.
        """
        return Opened(self, write)

    async def enter(self, hold: LockHolder, *, write: bool) -> Transaction:
        """Wait for the writer lock where there is one, and begin; `arrive` comes before.

        Args:
            hold: Gets what is taken.
            write: Whether the transaction may write.

        Raises:
            SchemaError: The tables are missing, older or newer, and may not be changed here.
            UnitError: Your own transaction is open on the only connection there is, or one of ours in this task.
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        forks.look()
        opened: list[Connection] = []  # refers to it where the task is cancelled before it is told
        try:
            if self._database.needs_writer_lock(write):
                await self._writer_lock.take(hold)
            await self._runner.run(lambda: opened.append(self._database.begin(write, hold)))
            return Transaction(opened[0], self._runner)
        except GeneratorExit:  # nobody awaits us any more: who comes next gives back what is left
            raise
        except BaseException:
            await self.give_up(hold)
            raise

    async def leave(self, hold: LockHolder, *, commit: bool) -> None:
        """End a transaction and give everything back.

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
        end = self._database.commit if commit else self._database.rollback
        try:
            await self._runner.run(end, connection)
        except GeneratorExit:  # nobody awaits us any more: who comes next gives back what is left
            raise
        except BaseException:
            await self.give_up(hold)
            raise
        self._writer_lock.leave(hold)

    async def give_up(self, hold: LockHolder) -> None:
        """Roll back and give back whatever a hold still has, wherever it was interrupted."""
        if hold.pid == os.getpid():
            await self._runner.run(self._database.roll_back_all, hold)  # after what still runs there
        else:
            for connection in hold.open():
                forks.leave_to_parent(connection)
        self._writer_lock.leave(hold)

    async def arrive(self) -> None:
        """Let go of connections that belong to a loop which is closed.

        Raises:
            UnitError: No loop of asyncio runs here, or another one than that of the pool's connections.
        """
        if (left := self._home.enter()) is not None:
            await self._runner.run(left.dispose)

    async def ready(self, joined: Connection, on_host: OnHost) -> None:
        """Look at the tables before the first statement inside a host's transaction.

        Args:
            joined: The host's connection, which is looked at first: it needs no other one.
            on_host: Runs sync work where that connection may be used: `AsyncSession.run_sync`.

        Raises:
            SchemaError: The tables are missing, older or newer, and cannot be changed now.
            StorageError: The database is full, read-only, corrupt or gone.
            UnitError: The pool's connections belong to another loop.
        """
        if not await on_host(lambda _: self._database.has_seen(joined)):
            await self.arrive()
            await self.run(self._database.make_beside)
            await on_host(lambda _: self._database.confirm(joined))

    async def migrate(self, mode: Migrate = "always") -> None:
        """Make the tables, or bring them to this library's version.

        Raises:
            SchemaError: They are newer than the library, or this user may not change them.
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        await self.arrive()
        forks.look()
        keeper = Opened(self, write=True)  # gone with this call
        hold = keeper.hold
        try:
            if self._database.needs_writer_lock(True):
                await self._writer_lock.take(hold)
            await self._runner.run(lambda: self._database.make_ready(mode, hold=hold))
        finally:
            await self.give_up(hold)

    async def close(self) -> None:
        """Close our own engine and thread; the host's engine is left alone."""
        if self._database.own and self._home.is_foreign():
            self.engine.dispose(close=False)
        await self.run(self._database.close)
        self._runner.close()

    def after_fork(self) -> None:
        """In a child: no thread, and no lock that a task of the parent held."""
        if self._writer_lock.holder is not None:
            self._database.is_forked_inside = True
        self._writer_lock = AsyncWriterLock(self._database.dialect.where)
        self._runner.after_fork()


class InThread:
    """One worker thread, started at the first work: SQLite's calls are too short to be worth more."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Do the work in the thread, with the caller's context variables."""
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        return await _finished(loop.run_in_executor(self._thread(), lambda: context.run(work, *args)))

    def _thread(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="notifykit")
        return self._executor

    def after_fork(self) -> None:
        """The parent's thread is not here."""
        self._executor = None

    def close(self) -> None:
        """End the thread."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None


class InGreenlet:
    """SQLAlchemy's bridge to async drivers: what `AsyncConnection.run_sync` is made of."""

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Do the work in a greenlet that gives the loop back wherever the driver waits."""
        return await _finished(asyncio.ensure_future(_spawn(work, *args)))

    def after_fork(self) -> None:
        """There is nothing of the parent's."""

    def close(self) -> None:
        """There is nothing to let go of."""


async def _spawn(work: Callable[..., T], *args: Any) -> T:
    from sqlalchemy.util import greenlet_spawn

    return await greenlet_spawn(work, *args)


async def _finished(future: asyncio.Future[T]) -> T:
    """Wait for work that must not be torn: a cancelled task waits for its end, then is cancelled."""
    try:
        return await asyncio.shield(future)
    except GeneratorExit:
        raise
    except BaseException:
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue
        if not future.cancelled():
            future.exception()  # seen: the task ends as cancelled or interrupted, whatever the work met
        raise
