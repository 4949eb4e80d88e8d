"""What follows a commit: caches learn what was written, observers hear of it. Nothing follows a rollback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_only

from notifykit.events import WorkScheduled
from notifykit.unit_of_work.pending import Pending
from notifykit.unit_of_work.runtime import Runtime
from notifykit.unit_of_work.unit import Effects, Unit

logger = logging.getLogger("notifykit.unit_of_work")

T = TypeVar("T")


def follow(runtime: Runtime[Any], effects: Effects) -> None:
    """Run the effects of what was committed."""
    if effects:
        runtime.signals.send(_publish_caches(runtime, effects))


async def follow_awaited(runtime: Runtime[Any], effects: Effects) -> None:
    """The same where observers may be coroutine functions; to the end, even if the caller is cancelled meanwhile."""
    if effects and (events := _publish_caches(runtime, effects)):
        await finished(runtime.signals.send_awaited(events))


def attach(runtime: Runtime[Any], host: Session | Connection, connection: Connection, effects: Effects) -> None:
    """Let effects follow the commit of a host's transaction; they are taken out of the unit's."""
    taken = _taken(effects)
    if not taken:
        return
    if isinstance(host, Session) and _tells_its_end(host, connection):
        SessionAfterCommit.of(runtime, host).add(host, taken)
    else:
        runtime.pending.append(Pending.of(runtime.database, connection, taken))


def ended(runtime: Runtime[Any]) -> list[Pending]:
    """Take out the pending effects whose transactions are over; they are the caller's to run or drop."""
    mine = []
    for pending in [each for each in runtime.pending if each.database is runtime.database and each.has_ended()]:
        try:
            runtime.pending.remove(pending)
        except ValueError:
            continue  # another thread was faster
        mine.append(pending)
    return mine


def forget_undone(runtime: Runtime[Any], unit: Unit) -> None:
    """Drop the effects of savepoints of this transaction that were rolled back: their ids may be handed out again.

    Args:
        runtime: The engine's.
        unit: A unit in the host's transaction that has not done anything yet.
    """
    for pending in [each for each in runtime.pending if each.connection() is unit.connection]:
        if pending.savepoint is None or pending.savepoint.is_active or pending.has_ended():
            continue
        if pending.happened(unit):
            pending.savepoint = unit.connection.get_nested_transaction()
        else:
            runtime.pending.remove(pending)


class SessionAfterCommit:
    """The effects of one host session, each with the savepoint or root transaction that it depends on."""

    def __init__(self, runtime: Runtime[Any]) -> None:
        """Effects by the savepoint they were made in; nothing was done yet."""
        self._runtime = runtime
        self._made: list[tuple[SessionTransaction, Effects]] = []
        self._committed: set[SessionTransaction] = set()

    @classmethod
    def of(cls, runtime: Runtime[Any], session: Session) -> SessionAfterCommit:
        """Those of a session; from its first use on it is listened to."""
        there: SessionAfterCommit | None = session.info.get(runtime)
        if there is None:
            there = session.info[runtime] = cls(runtime)
            event.listen(session, "after_commit", there._after_commit)
            event.listen(session, "after_transaction_end", there._after_transaction_end)
        return there

    def add(self, session: Session, effects: Effects) -> None:
        """Remember effects of what was just done in the session."""
        transaction = _innermost(session)
        if self._made and self._made[-1][0] is transaction:
            absorb(self._made[-1][1], effects)
        else:
            self._made.append((transaction, effects))

    def _after_commit(self, session: Session) -> None:
        self._committed.add(_innermost(session))

    def _after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        is_committed = transaction in self._committed
        self._committed.discard(transaction)
        if not any(made is transaction for made, _ in self._made):
            return
        if not is_committed:
            self._made = [(made, effects) for made, effects in self._made if made is not transaction]
        elif parent := _enclosing(transaction):
            self._made = [(parent if made is transaction else made, effects) for made, effects in self._made]
        else:
            effects = merged(effects for _, effects in self._made)
            self._made = []
            self._run(effects)

    def _run(self, effects: Effects) -> None:
        if self._runtime.awaited:
            await_only(follow_awaited(self._runtime, effects))
        else:
            follow(self._runtime, effects)


def merged(several: Iterable[Effects]) -> Effects:
    """The effects of several pieces of work in one transaction, in order."""
    whole = Effects()
    for effects in several:
        absorb(whole, effects)
    return whole


def absorb(whole: Effects, effects: Effects) -> None:
    """Add effects of later work."""
    whole.events += effects.events
    whole.on_commit += effects.on_commit
    whole.commit_probes += effects.commit_probes
    whole.due = min(filter(None, (whole.due, effects.due)), default=None)


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Await something to its end; a cancellation meanwhile is raised after it."""
    task = asyncio.ensure_future(work)
    cancelled = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except Exception:  # raised below
            break
    if cancelled is not None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            logger.error("failed while it was being cancelled", exc_info=failure)
        raise cancelled
    return task.result()


def _publish_caches(runtime: Runtime[Any], effects: Effects) -> list[object]:
    for commit in effects.on_commit:
        commit()
    scheduled = [WorkScheduled(effects.due)] if effects.due and runtime.signals.listens("work_scheduled") else []
    return [*effects.events, *scheduled]


def _taken(effects: Effects) -> Effects:
    taken = merged([effects])
    effects.events, effects.on_commit, effects.due = [], [], None
    effects.commit_probes = effects.commit_probes[-1:]  # what a later chunk only reports about is as true as this one
    return taken


def _tells_its_end(session: Session, connection: Connection) -> bool:
    """Whether a session tells how it ends: not where it is bound to a Connection, or in a savepoint of another."""
    foreign_savepoint = connection.in_nested_transaction() and not session.in_nested_transaction()
    return not isinstance(session.get_bind(), Connection) and not foreign_savepoint


def _innermost(session: Session) -> SessionTransaction:
    transaction = session.get_nested_transaction() or session.get_transaction()
    assert transaction is not None
    return transaction


def _enclosing(transaction: SessionTransaction) -> SessionTransaction | None:
    """The savepoint or root that a savepoint was made in; None for the root."""
    parent = transaction.parent
    while parent is not None and not parent.nested and parent.parent is not None:
        parent = parent.parent
    return parent
