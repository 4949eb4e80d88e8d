"""Where a door of the awaited engine stands: the three places of `standing`, with the loop left free in between."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Generator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from sqlalchemy.ext.asyncio import AsyncEngine

from notifykit.clock import Clock, SystemClock
from notifykit.delivery.sending import Call, renew
from notifykit.doors import host as hosts
from notifykit.doors.again import Tries
from notifykit.doors.awaited_block import AwaitedTurn, Opened
from notifykit.doors.awaited_calling import awaited_calling
from notifykit.doors.awaited_host import awaited, sync_face
from notifykit.doors.effects import attach, ended, follow_awaited, forget_undone
from notifykit.doors.place import ENDED, STANDS_INSIDE, Place, Steps, dropping_events, refuse_both, scope
from notifykit.doors.reentry import Entered, check
from notifykit.doors.runtime import Runtime
from notifykit.doors.work import Options, Send, Work
from notifykit.errors import NotifyKitError, StorageError, UnitError
from notifykit.flow.feed import Feed
from notifykit.model.values import R
from notifykit.providers import Integration
from notifykit.signals import Signals
from notifykit.store.async_database import AsyncDatabase, Transaction
from notifykit.store.schema import Migrate
from notifykit.store.sqlite import Durability
from notifykit.store.unit import Namespace, Repeatable, Unit

AsyncMany: TypeAlias = Iterable[R] | AsyncIterable[R]

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")
N = TypeVar("N", bound=Namespace)


class AsyncNamespace(Generic[N]):
    """The awaited verbs on one noun: each hands the sync verb to a unit. Its methods are generated."""

    _kind: ClassVar[type[Namespace]]

    def __init__(self, standing: AsyncStanding, *given: Any) -> None:
        """Stand somewhere.

        Args:
            standing: Where units come from.
            *given: What else the sync namespace is made of.
        """
        self._standing = standing
        self._core = cast("N", self._kind(None, *given))

    async def _run(self, verb: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        method = inspect.unwrap(verb)
        core: Any = self._core
        return await self._standing.run(
            Repeatable(lambda unit: method(core.joined(unit), *args, **kwargs), (args, kwargs)),
            write=verb.write,  # type: ignore[attr-defined]  # left there by `verb` and `query`
        )


class AsyncStanding(Place["AsyncDatabase", "AsyncStanding"]):
    """Where a door of the awaited engine stands."""

    def joined(self, *, write: bool) -> AbstractAsyncContextManager[Runs]:
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

    async def exhaust(self, verb: Callable[Concatenate[Unit, P], Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of work that goes chunk by chunk, in one unit."""
        async with self.joined(write=True) as runs:
            return await _exhausted(runs, lambda unit: verb(unit, *args, **kwargs))

    async def pour(self, verb: Callable[..., Steps[T]], source: AsyncMany[Any], **options: Any) -> T:
        """Do a piece of work on the items of a source, chunk by chunk; an async one is read on the loop."""
        if not isinstance(source, AsyncIterable):
            return await self.exhaust(verb, source, **options)
        feed, items = Feed(), aiter(source)
        async with self.joined(write=True) as runs:
            return await _exhausted(runs, lambda unit: verb(unit, feed, **options), items)

    def transaction(self, door: Callable[[AsyncStanding], D]) -> AbstractAsyncContextManager[D]:
        """A door in a transaction of its own."""
        raise UnitError(STANDS_INSIDE)


class AsyncOwnStanding(AsyncStanding):
    """On the engine itself: each piece of work is a transaction."""

    def joined(self, *, write: bool) -> AbstractAsyncContextManager[Runs]:
        """A transaction of our own."""
        return Opened(self, _runs_in, write=write)

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
            async with Opened(self, _runs_in, write=write, settled=is_last, wait=wait, is_last=is_last) as runs:
                return await runs(work)

        return await self._again(work, once)

    async def exhaust(self, verb: Callable[Concatenate[Unit, P], Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for work that goes chunk by chunk."""
        once = super().exhaust
        work = Repeatable(lambda unit: verb(unit, *args, **kwargs), (args, kwargs))
        return await self._again(work, lambda: once(verb, *args, **kwargs))

    async def _again(self, work: object, once: Callable[[], Awaitable[T]]) -> T:
        tries = Tries(self.runtime.owner, work)
        while True:
            try:
                return await once()
            except StorageError as error:
                seconds = tries.pause(error)
            await asyncio.sleep(seconds)

    def scoped(self, tenant: str | None) -> AsyncOwnStanding:
        """The same in one tenant's scope."""
        return AsyncOwnStanding(self.runtime, scope(self.tenant, tenant))

    def within(self, host: object) -> AsyncHostStanding:
        """Inside the host's transaction."""
        return AsyncHostStanding(self.runtime, host, self.tenant)

    def transaction(self, door: Callable[[AsyncStanding], D]) -> AbstractAsyncContextManager[D]:
        """A door in a transaction of its own, committed at the end of the block."""
        turn = AwaitedTurn()

        def given(unit: Unit, transaction: Transaction) -> D:
            return door(AsyncUnitStanding(self.runtime, unit, transaction, turn))

        return Opened(self, given, write=True, turn=turn)

    async def drive(self, steps: Generator[Work[Any] | Send, Any, T], options: Options) -> T:
        """Do due work: units and calls to the outside in turn, until none is left."""
        calls = awaited_calling(options.concurrency, options.timeout, self._renew)
        self.runtime.drains += 1
        try:
            step = next(steps)
            while True:
                answer: Any = None
                try:
                    if isinstance(step, Work):
                        work = Repeatable(step.call)
                        answer = await self.run(work, write=step.write, wait=step.wait, is_last=step.is_last)
                    else:
                        await calls.make(step)
                except BaseException as error:  # the way of due work decides
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            try:
                await calls.close()
            finally:
                self.runtime.drains -= 1
                if self.runtime.closed and not self.runtime.drains:
                    await self.runtime.database.close()

    async def _renew(self, calls: Collection[Call]) -> None:
        await self.run(Repeatable(partial(renew, calls)), write=True)

    async def settle(self) -> None:
        """Run or drop the effects of host transactions that have ended since the last call."""
        if not self.runtime.pending:
            return
        for pending in ended(self.runtime):
            try:
                async with Opened(self, _runs_in, write=False, settled=True) as runs:
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
        await self.settle()
        if self.runtime.unrecorded:
            from notifykit.doors.draining import finish
            from notifykit.doors.work import Options

            await self.drive(finish(self.runtime), Options())
        self.runtime.closed = True
        if not self.runtime.drains:
            await self.runtime.database.close()


class AsyncUnitStanding(AsyncStanding):
    """In a transaction that `transaction()` opened."""

    def __init__(
        self, runtime: Runtime[AsyncDatabase], unit: Unit, transaction: Transaction, turn: AwaitedTurn
    ) -> None:
        """Stand in an open unit."""
        super().__init__(runtime, unit.tenant)
        self._unit = unit
        self._transaction = transaction
        self._turn = turn

    @asynccontextmanager
    async def joined(self, *, write: bool) -> AsyncIterator[Runs]:
        """The open transaction; one verb after the other if several tasks ask."""
        async with self._turn.taken():
            if self._turn.ended:
                raise UnitError(ENDED)
            with dropping_events(self._unit.effects):
                yield _runs_in(self._unit, self._transaction)

    def scoped(self, tenant: str | None) -> AsyncUnitStanding:
        """The same transaction in one tenant's scope."""
        unit = replace(self._unit, tenant=scope(self.tenant, tenant))
        return AsyncUnitStanding(self.runtime, unit, self._transaction, self._turn)


class AsyncHostStanding(AsyncStanding):
    """In the host's transaction, which the host ends."""

    def __init__(self, runtime: Runtime[AsyncDatabase], host: object, tenant: str | None = None) -> None:
        """Stand in a session or connection of the host's.

        Raises:
            UnitError: It is neither, or of the sync kind.
        """
        super().__init__(runtime, tenant)
        awaited(host)
        self._host = host

    @asynccontextmanager
    async def joined(self, *, write: bool) -> AsyncIterator[Runs]:
        """The host's transaction; what follows a piece of work depends on the savepoint it was made in."""
        runtime = self.runtime
        runtime.check_open()
        if runtime.database.database.has_room:
            await AsyncOwnStanding(runtime).settle()
        with Entered(runtime):
            session = awaited(self._host)
            host = sync_face(session)
            hosts.check_database(runtime, host)
            connection = await session.run_sync(lambda _: hosts.connection_of(runtime, host))
            await runtime.database.ready(connection, session.run_sync)
            await session.run_sync(hosts.flush)
            unit = runtime.unit(connection, tenant=self.tenant, joined=True)
            await session.run_sync(lambda _: forget_undone(runtime, unit))

            async def runs(work: Callable[[Unit], T]) -> T:
                done = await session.run_sync(lambda _: work(unit))
                attach(runtime, host, connection, unit.effects)
                return done

            yield runs

    def scoped(self, tenant: str | None) -> AsyncHostStanding:
        """The same transaction in one tenant's scope."""
        return AsyncHostStanding(self.runtime, self._host, scope(self.tenant, tenant))

    def at(self, session: object | None) -> AsyncStanding:
        """Here, and nowhere else."""
        return self if session is self._host else super().at(session)


def started(
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


class Runs(Protocol):
    """Runs sync work in a unit, without blocking the loop."""

    async def __call__(self, work: Callable[[Unit], T]) -> T:
        """Do the work."""
        ...


def _runs_in(unit: Unit, transaction: Transaction) -> Runs:
    async def runs(work: Callable[[Unit], T]) -> T:
        return await transaction.call(lambda _: work(unit))

    return runs


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The result of work that has come to its end: StopIteration cannot cross a coroutine."""

    result: T


async def _exhausted(runs: Runs, start: Callable[[Unit], Steps[T]], source: AsyncIterator[Any] | None = None) -> T:
    steps: Steps[T] | None = None

    def step(unit: Unit) -> Feed | Done[T] | None:
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
        if isinstance(met, Feed) and source is not None:
            await _fill(met, source)
        else:
            await asyncio.sleep(0)


async def _fill(feed: Feed, source: AsyncIterator[Any]) -> None:
    try:
        while len(feed.items) < feed.wanted:
            feed.items.append(await anext(source))
    except StopAsyncIteration:
        feed.done = True
