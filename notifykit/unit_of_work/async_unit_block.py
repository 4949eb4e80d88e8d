"""A transaction of an awaited engine's own as a block, and the order of what is done in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from notifykit.model.scope import Scope
from notifykit.store.async_database import AsyncDatabase, Transaction
from notifykit.store.writer_lock import AsyncWriterLock, LockHolder, current_owner
from notifykit.unit_of_work.after_commit import follow_awaited
from notifykit.unit_of_work.reentry import enter, leave
from notifykit.unit_of_work.runtime import Runtime
from notifykit.unit_of_work.unit import Unit

D = TypeVar("D")


class Autocommit(Protocol):
    """Whose units are transactions of their own."""

    @property
    def runtime(self) -> Runtime[AsyncDatabase]:
        """The engine's."""
        ...

    @property
    def scope(self) -> Scope:
        """What its units see."""
        ...

    async def flush_deferred(self) -> None:
        """Run or drop the effects of host transactions that have ended."""
        ...


class AsyncUnitBlock(Generic[D]):
    """A transaction of an engine's own, for as long as a block lasts; what follows its commit is done in it too."""

    def __init__(
        self,
        context: Autocommit,
        given: Callable[[Unit, Transaction], D],
        *,
        write: bool,
        flushed: bool = False,
        verbs: AsyncVerbLock | None = None,
        wait: float | None = None,
        is_last: bool = False,
    ) -> None:
        """Prefer `async with`.

        Args:
            context: Where.
            given: Makes what the block gets.
            write: Whether it may write.
            flushed: What follows transactions of the host has been looked at.
            verbs: The lock of the notifiers on it, for other tasks too; without one the block ends in the same task.
            wait: Seconds to wait for others; None: as long as usual.
            is_last: Also after `close`.
        """
        self._context = context
        self._given = given
        self._write = write
        self._flushed = flushed
        self._is_last = is_last
        self._verbs = verbs
        self._database = context.runtime.database
        self._unit: Unit | None = None
        self._hold = LockHolder(self)
        self._hold.is_of_task = verbs is None
        self._hold.wait = wait

    async def __aenter__(self) -> D:
        """Begin it."""
        context, runtime, hold = self._context, self._context.runtime, self._hold
        if not self._is_last:
            runtime.check_open()
        if not self._flushed:
            await context.flush_deferred()
        await self._database.arrive()
        try:
            enter(runtime, hold)
            transaction = await self._database.enter(hold, write=self._write)
            self._unit = runtime.unit(transaction.connection, context.scope)
            return self._given(self._unit, transaction)
        except GeneratorExit:  # nobody awaits us any more: who comes next gives back what is left
            raise
        except BaseException:
            await self._give_up()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; verbs that run in other tasks come first."""
        try:
            if self._verbs is not None:
                await self._verbs.end()
            await self._database.leave(self._hold, commit=kind is None)
            leave(self._context.runtime, self._hold)
            self._hold.end()
        except GeneratorExit:
            raise
        except BaseException:
            await self._give_up()
            raise
        if kind is None and self._unit is not None:
            await follow_awaited(self._context.runtime, self._unit.effects)

    async def _give_up(self) -> None:
        try:
            await self._database.give_up(self._hold)
        finally:
            leave(self._context.runtime, self._hold)
            self._hold.end()


class AsyncVerbLock:
    """What the notifiers of one open transaction share: its verbs run one after the other, until it has ended.

    Attributes:
        ended: The transaction is over.
    """

    def __init__(self) -> None:
        """Be free."""
        self.ended = False
        self._verbss = AsyncWriterLock("this transaction")

    async def end(self) -> None:
        """Let no further verb in."""
        async with self.taken():
            self.ended = True

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold it; the task that holds it may take it again."""
        there = self._verbss.holder
        if there is not None and there.owner == current_owner() and not there.is_gone():
            yield
            return
        async with self._verbss.taken(for_ever=True):
            yield
