"""Where units of the sync engine come from: each a transaction of its own, or all in ours or the host's."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar

import sqlalchemy as sa

from notifykit.clock import Clock, SystemClock, pause
from notifykit.errors import InputError, NotifyKitError, StorageError, UnitError
from notifykit.model.scope import DEFAULT_SCOPE, Scope
from notifykit.model.values import R
from notifykit.providers import Integration
from notifykit.signals import Signals
from notifykit.store.writer_lock import LockHolder
from notifykit.unit_of_work import host as hosts
from notifykit.unit_of_work.after_commit import attach, ended, follow, forget_undone
from notifykit.unit_of_work.context_base import (
    ENDED,
    IN_TRANSACTION,
    Steps,
    TransactionContextBase,
    dropping_events,
    refuse_both,
)
from notifykit.unit_of_work.reentry import Entered, check, enter, leave
from notifykit.unit_of_work.retry_policy import RetryPolicy
from notifykit.unit_of_work.runtime import Runtime
from notifykit.unit_of_work.unit import Repeatable, Unit

if TYPE_CHECKING:
    from notifykit.store.database import Database
    from notifykit.store.schema import Migrate
    from notifykit.store.sqlite import Durability

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")

logger = logging.getLogger("notifykit.unit_of_work")

Many: TypeAlias = Iterable[R]


class TransactionContext(TransactionContextBase["Database", "TransactionContext"]):
    """Where the units of a notifier come from."""

    def run(self, work: Callable[[Unit], T], *, write: bool) -> T:
        """Do a piece of work in a unit.

        Args:
            work: Gets the unit.
            write: It may change rows.

        Raises:
            UnitError: No unit can be had here.
        """
        raise NotImplementedError

    def run_chunks(self, verb: Callable[Concatenate[Unit, P], Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of work that goes chunk by chunk, in one unit."""
        return self.run(Repeatable(lambda unit: _run_to_end(verb(unit, *args, **kwargs)), (args, kwargs)), write=True)

    def run_stream(self, verb: Callable[..., Steps[T]], source: Iterable[Any], **options: Any) -> T:
        """Do a piece of work on the items of a source, chunk by chunk.

        Raises:
            InputError: The source is an async one.
        """
        if isinstance(source, AsyncIterable) and not isinstance(source, Iterable):
            raise InputError(
                "triggers: an async iterable was passed to the sync notifier: use AsyncEngine, or pass a plain one",
                field="triggers",
            )
        return self.run_chunks(verb, source, **options)

    def transaction(self, notifier: Callable[[TransactionContext], D]) -> AbstractContextManager[D]:
        """A notifier in a transaction of its own."""
        raise UnitError(IN_TRANSACTION)


class AutocommitContext(TransactionContext):
    """On the engine itself: each piece of work is a transaction."""

    def run(self, work: Callable[[Unit], T], *, write: bool, wait: float | None = None, is_last: bool = False) -> T:
        """Do a piece of work in a transaction of its own; in another one where the database gives the first one up.

        Args:
            work: Gets the unit.
            write: It may change rows.
            wait: Seconds to wait for others; None: as long as usual.
            is_last: Also after `close`: it tells what a drain under way has done.

        Raises:
            StorageError: Others were in the way, or the database is in trouble.
        """
        tries = RetryPolicy(self.runtime.owner, work)
        while True:
            try:
                return self._once(work, write=write, frame=sys._getframe(), wait=wait, is_last=is_last)
            except StorageError as error:
                seconds = tries.pause(error)
            pause(seconds)

    def _once(
        self,
        work: Callable[[Unit], T],
        *,
        write: bool,
        frame: FrameType,
        flushed: bool = False,
        wait: float | None = None,
        is_last: bool = False,
    ) -> T:
        opened = UnitBlock(
            self, _same, write=write, frame=frame, flushed=flushed or is_last, wait=wait, is_last=is_last
        )
        with opened as unit:
            return work(unit)

    def scoped(self, tenant: str | None) -> AutocommitContext:
        """The same in one tenant's scope."""
        return AutocommitContext(self.runtime, self.scope.of_tenant(tenant))

    def within(self, host: object) -> ExternalContext:
        """Inside the host's transaction."""
        return ExternalContext(self.runtime, host, self.scope)

    def transaction(self, notifier: Callable[[TransactionContext], D]) -> AbstractContextManager[D]:
        """A notifier in a transaction of its own, committed at the end of the block."""
        verbs = VerbLock()
        return UnitBlock(
            self, lambda unit: notifier(ManagedContext(self.runtime, unit, verbs)), write=True, verbs=verbs
        )

    def flush_deferred(self) -> None:
        """Run or drop the effects of host transactions that have ended since the last call."""
        if not self.runtime.pending:
            return
        for pending in ended(self.runtime):
            try:
                happened = self._once(pending.happened, write=False, frame=sys._getframe(), flushed=True)
            except NotifyKitError:
                self.runtime.pending.append(pending)  # the database cannot be asked now
                continue
            if happened:
                follow(self.runtime, pending.effects)

    def migrate(self) -> None:
        """Bring the schema up to date."""
        self.runtime.check_open()
        check(self.runtime)
        self.runtime.database.migrate()

    def close(self) -> None:
        """Say what is still to be said, and give the database back."""
        if self.runtime.closed:
            return
        check(self.runtime)
        self.flush_deferred()
        self.runtime.closed = True
        if not self.runtime.drains:
            self.runtime.database.close()


class UnitBlock(Generic[D]):
    """A transaction of an engine's own, for as long as a block lasts; what follows its commit is done in it too."""

    def __init__(
        self,
        context: AutocommitContext,
        given: Callable[[Unit], D],
        *,
        write: bool,
        frame: FrameType | None = None,
        flushed: bool = False,
        verbs: VerbLock | None = None,
        wait: float | None = None,
        is_last: bool = False,
    ) -> None:
        """Prefer `with`.

        Args:
            context: Where.
            given: Makes what the block gets.
            write: Whether it may write.
            frame: The running function without which nobody is in the block any more, where there is one.
            flushed: What follows transactions of the host has been looked at.
            verbs: The lock of the notifiers on it.
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
        self._hold = LockHolder(self, frame, partial(_give_up, context.runtime, self._database))
        self._hold.wait = wait

    def __enter__(self) -> D:
        """Begin it."""
        context, runtime, hold = self._context, self._context.runtime, self._hold
        if not self._is_last:
            runtime.check_open()
        note_loop(runtime)
        if not self._flushed:
            context.flush_deferred()
        try:
            enter(runtime, hold)
            connection = self._database.enter(hold, write=self._write)
            self._unit = runtime.unit(connection, context.scope)
            return self._given(self._unit)
        except BaseException:
            _give_up(runtime, self._database, hold)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; verbs that run in other threads come first."""
        runtime, hold = self._context.runtime, self._hold
        try:
            hold.frame = hold.frame or sys._getframe()
            if self._verbs is not None:
                self._verbs.end()
            self._database.leave(hold, commit=kind is None)
            leave(runtime, hold)
            hold.end()
        except BaseException:
            _give_up(runtime, self._database, hold)
            raise
        if kind is None and self._unit is not None:
            follow(runtime, self._unit.effects)


def _give_up(runtime: Runtime[Database], database: Database, hold: LockHolder) -> None:
    """Give back whatever a unit still has, wherever it was interrupted."""
    database.give_up(hold)
    leave(runtime, hold)
    hold.end()


def _same(unit: Unit) -> Unit:
    return unit


@dataclass(slots=True)
class VerbLock:
    """What the notifiers of one open transaction share: its verbs run one after the other, until it has ended."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    ended: bool = False

    def end(self) -> None:
        """Let no further verb in."""
        with self.lock:
            self.ended = True


class ManagedContext(TransactionContext):
    """In a transaction that `transaction()` opened."""

    def __init__(self, runtime: Runtime[Database], unit: Unit, verbs: VerbLock) -> None:
        """Join an open unit."""
        super().__init__(runtime, unit.scope)
        self._unit = unit
        self._verbs = verbs

    def run(self, work: Callable[[Unit], T], *, write: bool) -> T:
        """Do a piece of work in the open transaction; one after the other if several threads ask."""
        with self._verbs.lock:
            if self._verbs.ended:
                raise UnitError(ENDED)
            with dropping_events(self._unit.effects):
                return work(self._unit)

    def scoped(self, tenant: str | None) -> ManagedContext:
        """The same transaction in one tenant's scope."""
        return ManagedContext(self.runtime, replace(self._unit, scope=self.scope.of_tenant(tenant)), self._verbs)


class ExternalContext(TransactionContext):
    """In the host's transaction, which the host ends."""

    def __init__(self, runtime: Runtime[Database], host: object, scope: Scope = DEFAULT_SCOPE) -> None:
        """Join a session or connection of the host's.

        Raises:
            UnitError: It is neither, or of the awaited kind.
        """
        super().__init__(runtime, scope)
        hosts.blocking(host)
        self._host = host

    def run(self, work: Callable[[Unit], T], *, write: bool) -> T:
        """Do a piece of work in the host's transaction."""
        return self._joined(lambda unit, attached: work(unit))

    def run_chunks(self, verb: Callable[Concatenate[Unit, P], Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of work chunk by chunk; what follows a chunk depends on the savepoint it was made in."""
        return self._joined(lambda unit, attached: _run_to_end(verb(unit, *args, **kwargs), attached))

    def scoped(self, tenant: str | None) -> ExternalContext:
        """The same transaction in one tenant's scope."""
        return ExternalContext(self.runtime, self._host, self.scope.of_tenant(tenant))

    def joining(self, session: object | None) -> TransactionContext:
        """Here, and nowhere else."""
        return self if session is self._host else super().joining(session)

    def _joined(self, work: Callable[[Unit, Callable[[], None]], T]) -> T:
        runtime = self.runtime
        runtime.check_open()
        note_loop(runtime)
        if runtime.database.has_room:
            AutocommitContext(runtime).flush_deferred()
        with Entered(runtime, sys._getframe()):
            host = hosts.blocking(self._host)
            hosts.check_database(runtime, host)
            connection = hosts.connection_of(runtime, host)
            runtime.database.ready(connection)
            hosts.flush(host)
            unit = runtime.unit(connection, self.scope, joined=True)
            forget_undone(runtime, unit)
            attached = partial(attach, runtime, host, connection, unit.effects)
            done = work(unit, attached)
            attached()
            return done


def new_runtime(
    url: str | None,
    bind: sa.Engine | None,
    *,
    integrations: Iterable[Integration],
    migrate: Migrate,
    durability: Durability,
    clock: Clock | None,
) -> Runtime[Database]:
    """The runtime of a new engine; nothing is opened yet.

    Raises:
        ConfigurationError: The URL is wrong, its driver is missing, or `url` and `bind` are both given.
    """
    from notifykit.store.database import Database

    if bind is None:
        database = Database.open(url, durability=durability, migrate=migrate)
    else:
        refuse_both(url)
        database = Database.bound(bind, migrate=migrate)
    return Runtime(database, Signals(awaited=False), False, clock or SystemClock(), integrations=tuple(integrations))


def note_loop(runtime: Runtime[Database]) -> None:
    """Log once that the sync notifier is called on a running event loop; raising would break notebooks."""
    if runtime.noted_loop:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    runtime.noted_loop = True
    logger.warning("the sync notifier was called on a running event loop, which it blocks: use AsyncEngine there")


def _run_to_end(steps: Steps[T], after: Callable[[], None] | None = None) -> T:
    try:
        while True:
            next(steps)
            if after is not None:
                after()
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
