"""Where units of the awaited engine come from: the three kinds of `contexts`, with the loop left free in between."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncEngine

from notifykit.clock import Clock, SystemClock
from notifykit.errors import NotifyKitError, StorageError, UnitError
from notifykit.model.scope import DEFAULT_SCOPE, Scope
from notifykit.model.values import R
from notifykit.providers import Integration
from notifykit.signals import Signals
from notifykit.store.async_database import AsyncDatabase, Transaction
from notifykit.store.schema import Migrate
from notifykit.store.sqlite import Durability
from notifykit.unit_of_work import host as hosts
from notifykit.unit_of_work.after_commit import attach, ended, follow_awaited, forget_undone
from notifykit.unit_of_work.async_host import awaited, sync_face
from notifykit.unit_of_work.async_unit_block import AsyncUnitBlock, AsyncVerbLock
from notifykit.unit_of_work.context_base import (
    ENDED,
    IN_TRANSACTION,
    Steps,
    TransactionContextBase,
    dropping_events,
    refuse_both,
)
from notifykit.unit_of_work.pull_buffer import PullBuffer
from notifykit.unit_of_work.reentry import Entered, check
from notifykit.unit_of_work.retry_policy import RetryPolicy
from notifykit.unit_of_work.runtime import Runtime
from notifykit.unit_of_work.unit import Namespace, Repeatable, Unit

AsyncMany: TypeAlias = Iterable[R] | AsyncIterable[R]

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")
N = TypeVar("N", bound=Namespace)


class AsyncNamespace(Generic[N]):
    """The awaited verbs on one noun: each hands the sync verb to a unit. Its methods are generated."""

    _kind: ClassVar[type[Namespace]]

    def __init__(self, context: AsyncTransactionContext, *given: Any) -> None:
        """Run verbs in a context.

        Args:
            context: Where units come from.
            *given: What else the sync namespace is made of.
        """
        self._context = context
        self._core = cast("N", self._kind(None, *given))

    async def _run(self, verb: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        method = inspect.unwrap(verb)
        core: Any = self._core
        return await self._context.run(
            Repeatable(lambda unit: method(core.in_unit(unit), *args, **kwargs), (args, kwargs)),
            write=verb.write,  # type: ignore[attr-defined]  # left there by `verb` and `query`
        )


class AsyncTransactionContext(TransactionContextBase["AsyncDatabase", "AsyncTransactionContext"]):
    """Where the units of an awaited notifier come from."""

    def joined(self, *, write: bool) -> AbstractAsyncContextManager[RunsInUnit]:
        """A unit, for as long as the block lasts.

        Returns:
            What runs sync work in it.

        Raises:
            UnitError: No unit can be had here.
        """
        raise NotImplementedError

    async def run(self, work: Callable[[Unit], T], *, write: bool) -> T:
        """Do a piece of work in a unit.

        Args:
            work: Gets the unit.
            write: It may change rows.

        Raises:
            UnitError: No unit can be had here.
        """
        async with self.joined(write=write) as runs:
            return await runs(work)

    async def run_chunks(self, verb: Callable[Concatenate[Unit, P], Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of work that goes chunk by chunk, in one unit."""
        async with self.joined(write=True) as runs:
            return await _run_to_end(runs, lambda unit: verb(unit, *args, **kwargs))

    async def run_stream(self, verb: Callable[..., Steps[T]], source: AsyncMany[Any], **options: Any) -> T:
        """Do a piece of work on the items of a source, chunk by chunk; an async one is read on the loop."""
        if not isinstance(source, AsyncIterable):
            return await self.run_chunks(verb, source, **options)
        feed, items = PullBuffer(), aiter(source)
        async with self.joined(write=True) as runs:
            return await _run_to_end(runs, lambda unit: verb(unit, feed, **options), items)

    def transaction(self, notifier: Callable[[AsyncTransactionContext], D]) -> AbstractAsyncContextManager[D]:
        """A notifier in a transaction of its own."""
        raise UnitError(IN_TRANSACTION)


class AsyncAutocommitContext(AsyncTransactionContext):
    """On the engine itself: each piece of work is a transaction."""

    def joined(self, *, write: bool) -> AbstractAsyncContextManager[RunsInUnit]:
        """A transaction of our own."""
        return AsyncUnitBlock(self, _runs_in, write=write)

    async def run(
        self, work: Callable[[Unit], T], *, write: bool, wait: float | None = None, is_last: bool = False
    ) -> T:
        """Do a piece of work in a transaction of its own; in another one where the database gives the first one up.

        Args:
            work: Gets the unit.
            write: It may change rows.
            wait: Seconds to wait for others; None: as long as usual.
            is_last: Also after `close`: it tells what a drain under way has done.

        Raises:
            StorageError: Others were in the way, or the database is in trouble.
        """

        async def once() -> T:
            async with AsyncUnitBlock(self, _runs_in, write=write, flushed=is_last, wait=wait, is_last=is_last) as runs:
                return await runs(work)

        return await self._again(work, once)

    async def run_chunks(self, verb: Callable[Concatenate[Unit, P], Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for work that goes chunk by chunk."""
        once = super().run_chunks
        work = Repeatable(lambda unit: verb(unit, *args, **kwargs), (args, kwargs))
        return await self._again(work, lambda: once(verb, *args, **kwargs))

    async def _again(self, work: object, once: Callable[[], Awaitable[T]]) -> T:
        tries = RetryPolicy(self.runtime.owner, work)
        while True:
            try:
                return await once()
            except StorageError as error:
                seconds = tries.pause(error)
            await asyncio.sleep(seconds)

    def scoped(self, tenant: str | None) -> AsyncAutocommitContext:
        """The same in one tenant's scope."""
        return AsyncAutocommitContext(self.runtime, self.scope.of_tenant(tenant))

    def within(self, host: object) -> AsyncExternalContext:
        """Inside the host's transaction."""
        return AsyncExternalContext(self.runtime, host, self.scope)

    def transaction(self, notifier: Callable[[AsyncTransactionContext], D]) -> AbstractAsyncContextManager[D]:
        """A notifier in a transaction of its own, committed at the end of the block."""
        verbs = AsyncVerbLock()

        def given(unit: Unit, transaction: Transaction) -> D:
            return notifier(AsyncManagedContext(self.runtime, unit, transaction, verbs))

        return AsyncUnitBlock(self, given, write=True, verbs=verbs)

    async def flush_deferred(self) -> None:
        """Run or drop the effects of host transactions that have ended since the last call."""
        if not self.runtime.pending:
            return
        for pending in ended(self.runtime):
            try:
                async with AsyncUnitBlock(self, _runs_in, write=False, flushed=True) as runs:
                    happened = await runs(pending.happened)
            except NotifyKitError:
                self.runtime.pending.append(pending)  # the database cannot be asked now
                continue
            if happened:
                await follow_awaited(self.runtime, pending.effects)

    async def migrate(self) -> None:
        """Bring the schema up to date."""
        self.runtime.check_open()
        check(self.runtime)
        await self.runtime.database.migrate()

    async def close(self) -> None:
        """Say what is still to be said, and give the database back."""
        if self.runtime.closed:
            return
        check(self.runtime)
        await self.flush_deferred()
        self.runtime.closed = True
        if not self.runtime.drains:
            await self.runtime.database.close()


class AsyncManagedContext(AsyncTransactionContext):
    """In a transaction that `transaction()` opened."""

    def __init__(
        self, runtime: Runtime[AsyncDatabase], unit: Unit, transaction: Transaction, verbs: AsyncVerbLock
    ) -> None:
        """Join an open unit."""
        super().__init__(runtime, unit.scope)
        self._unit = unit
        self._transaction = transaction
        self._verbs = verbs

    @asynccontextmanager
    async def joined(self, *, write: bool) -> AsyncIterator[RunsInUnit]:
        """The open transaction; one verb after the other if several tasks ask."""
        async with self._verbs.taken():
            if self._verbs.ended:
                raise UnitError(ENDED)
            with dropping_events(self._unit.effects):
                yield _runs_in(self._unit, self._transaction)

    def scoped(self, tenant: str | None) -> AsyncManagedContext:
        """The same transaction in one tenant's scope."""
        unit = replace(self._unit, scope=self.scope.of_tenant(tenant))
        return AsyncManagedContext(self.runtime, unit, self._transaction, self._verbs)


class AsyncExternalContext(AsyncTransactionContext):
    """In the host's transaction, which the host ends."""

    def __init__(self, runtime: Runtime[AsyncDatabase], host: object, scope: Scope = DEFAULT_SCOPE) -> None:
        """Join a session or connection of the host's.

        Raises:
            UnitError: It is neither, or of the sync kind.
        """
        super().__init__(runtime, scope)
        awaited(host)
        self._host = host

    @asynccontextmanager
    async def joined(self, *, write: bool) -> AsyncIterator[RunsInUnit]:
        """The host's transaction; what follows a piece of work depends on the savepoint it was made in."""
        runtime = self.runtime
        runtime.check_open()
        if runtime.database.database.has_room:
            await AsyncAutocommitContext(runtime).flush_deferred()
        with Entered(runtime):
            session = awaited(self._host)
            host = sync_face(session)
            hosts.check_database(runtime, host)
            connection = await session.run_sync(lambda _: hosts.connection_of(runtime, host))
            await runtime.database.ready(connection, session.run_sync)
            await session.run_sync(hosts.flush)
            unit = runtime.unit(connection, self.scope, joined=True)
            await session.run_sync(lambda _: forget_undone(runtime, unit))

            async def runs(work: Callable[[Unit], T]) -> T:
                done = await session.run_sync(lambda _: work(unit))
                attach(runtime, host, connection, unit.effects)
                return done

            yield runs

    def scoped(self, tenant: str | None) -> AsyncExternalContext:
        """The same transaction in one tenant's scope."""
        return AsyncExternalContext(self.runtime, self._host, self.scope.of_tenant(tenant))

    def joining(self, session: object | None) -> AsyncTransactionContext:
        """Here, and nowhere else."""
        return self if session is self._host else super().joining(session)


def new_runtime(
    url: str | None,
    bind: AsyncEngine | None,
    *,
    integrations: Iterable[Integration],
    migrate: Migrate,
    durability: Durability,
    clock: Clock | None,
) -> Runtime[AsyncDatabase]:
    """The runtime of a new awaited engine; nothing is opened yet.

    Raises:
        ConfigurationError: The URL is wrong, its driver is missing, or `url` and `bind` are both given.
    """
    if bind is None:
        database = AsyncDatabase.open(url, durability=durability, migrate=migrate)
    else:
        refuse_both(url)
        database = AsyncDatabase.bound(bind, migrate=migrate)
    return Runtime(database, Signals(awaited=True), True, clock or SystemClock(), integrations=tuple(integrations))


class RunsInUnit(Protocol):
    """Runs sync work in a unit, without blocking the loop."""

    async def __call__(self, work: Callable[[Unit], T]) -> T:
        """Do the work."""
        ...


def _runs_in(unit: Unit, transaction: Transaction) -> RunsInUnit:
    async def runs(work: Callable[[Unit], T]) -> T:
        return await transaction.call(lambda _: work(unit))

    return runs


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The result of work that has come to its end: StopIteration cannot cross a coroutine."""

    result: T


async def _run_to_end(
    runs: RunsInUnit, start: Callable[[Unit], Steps[T]], source: AsyncIterator[Any] | None = None
) -> T:
    steps: Steps[T] | None = None

    def step(unit: Unit) -> PullBuffer | Done[T] | None:
        nonlocal steps
        steps = steps or start(unit)
        try:
            return next(steps)
        except StopIteration as end:
            return Done(end.value)

    while True:
        met = await runs(step)
        if isinstance(met, Done):
            return met.result
        if isinstance(met, PullBuffer) and source is not None:
            await _fill(met, source)
        else:
            await asyncio.sleep(0)


async def _fill(feed: PullBuffer, source: AsyncIterator[Any]) -> None:
    try:
        while len(feed.items) < feed.wanted:
            feed.items.append(await anext(source))
    except StopAsyncIteration:
        feed.done = True
