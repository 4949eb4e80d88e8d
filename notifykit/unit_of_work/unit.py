"""A unit: one transaction of work, and the verbs that run in it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, Protocol, Self, TypeVar

from sqlalchemy import Connection

from notifykit.clock import Clock
from notifykit.errors import UnitError
from notifykit.model.scope import DEFAULT_SCOPE, Scope
from notifykit.settings import CHUNK
from notifykit.store.dialect import Dialect
from notifykit.store.statement import Statement
from notifykit.unit_of_work.stops import Stops
from notifykit.workflow.registry import Registry, StoredVersion

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(slots=True)
class Effects:
    """What follows the commit of a unit, and is dropped with its rollback.

    Attributes:
        events: Events for observers, in order.
        on_commit: Called after the commit, before any observer: caches that may believe now what was written.
        commit_probes: Queries that find a row if, and only if, what was done is really there; asked where nobody tells
            how a host's transaction ended.
        due: When the earliest job made here is due.
    """

    events: list[Any] = field(default_factory=list)
    on_commit: list[Callable[[], None]] = field(default_factory=list)
    commit_probes: list[tuple[Statement, dict[str, Any]]] = field(default_factory=list)
    due: datetime | None = None

    def __bool__(self) -> bool:
        """Whether anything follows."""
        return bool(self.events or self.on_commit or self.due)


@dataclass(slots=True)
class Unit:
    """One transaction of work: what every verb below a notifier gets.

    Attributes:
        connection: Joined or our own; nothing below a notifier commits, rolls back, sleeps or sends.
        dialect: What is special about this database.
        now: The instant of the unit.
        registry: The workflows of the engine and what is known of their stored versions.
        listens: Whether anybody observes a signal, by name; no event is built for nobody.
        scope: What it sees of the tables: one environment, maybe one tenant.
        chunk: Runs a chunk.
        is_external: The transaction is the host's.
        dry: Nothing is written: a rehearsal.
        stored: What this unit has learnt of stored workflows by (environment, key); believed after the commit.
        versions: The same by version id.
        stops: Hears whom this unit stops.
    """

    connection: Connection
    dialect: Dialect
    clock: Clock
    registry: Registry
    now: datetime
    listens: Callable[[str], bool] = lambda name: False
    scope: Scope = DEFAULT_SCOPE
    chunk: int = CHUNK
    is_external: bool = False
    dry: bool = False
    effects: Effects = field(default_factory=Effects)
    stored: dict[tuple[int, str], StoredVersion] = field(default_factory=dict)
    versions: dict[int, StoredVersion] = field(default_factory=dict)
    stops: Stops = field(default_factory=Stops)

    @property
    def environment(self) -> int:
        """The id of the scope's environment."""
        return self.scope.environment

    @property
    def tenant(self) -> str | None:
        """The identifier of the scope's tenant, or None."""
        return self.scope.tenant

    def within_environment(self, environment: int) -> Unit:
        """The same unit in the scope of a whole environment: due work is found in all, and done in its own."""
        scope = Scope(environment)
        return self if scope == self.scope else replace(self, scope=scope)

    def timestamp(self, value: datetime | None) -> Any:
        """A time as this database stores it, for rows that go to `insert_rows`."""
        return self.dialect.timestamp(value)

    def ids(self, count: int) -> list[int]:
        """That many new ids, ascending."""
        return self.dialect.ids(self, count)

    def emit(self, event: object) -> None:
        """Tell observers after the commit."""
        self.effects.events.append(event)

    def publish_cache(self) -> None:
        """Tell the engine what this unit has learnt of workflows; to be called once it has committed."""
        self.registry.stored.update(self.stored)
        self.registry.versions.update(self.versions)

    def stop(self, *, runs: Collection[int] = (), subscribers: Collection[int] = ()) -> None:
        """Runs or subscribers were stopped: no call of this process begins for them once that is committed."""
        self.effects.on_commit.append(partial(self.stops.add, runs, subscribers))

    def schedule(self, due_at: datetime) -> None:
        """A job was made: observers of `work_scheduled` hear of the earliest."""
        if self.effects.due is None or due_at < self.effects.due:
            self.effects.due = due_at


@dataclass(frozen=True, slots=True)
class Repeatable(Generic[T]):
    """A piece of work that may be done again, in a new unit, where the database gave the first one up.

    Attributes:
        work: Changes nothing but its unit.
        given: What the caller handed in for it: not done again where that could be read only once.
    """

    work: Callable[[Unit], T]
    given: object = ()

    def __call__(self, unit: Unit) -> T:
        """Do it."""
        return self.work(unit)


class UnitSource(Protocol):
    """Where units come from: opened for a piece of work, or the one that is open."""

    def run(self, work: Callable[[Unit], T], *, write: bool) -> T:
        """Do the work in a unit."""
        ...


class Namespace:
    """Verbs on one noun. A method decorated with `verb` or `query` finds its unit in `self.unit`."""

    def __init__(self, context: UnitSource | None) -> None:
        """Belong to a context; None for the core of an awaited twin, which is only ever joined."""
        self._context = context
        self._unit: Unit | None = None

    @property
    def unit(self) -> Unit:
        """The unit that the running verb is in."""
        if self._unit is None:
            raise UnitError("this method runs inside a verb only")
        return self._unit

    def in_unit(self, unit: Unit) -> Self:
        """The same namespace inside a unit."""
        twin = copy.copy(self)
        twin._unit = unit
        return twin


def verb(method: F) -> F:
    """Run a method in a unit that may write: its own, or the one that its notifier was opened in."""
    return _in_unit(method, write=True)


def query(method: F) -> F:
    """Run a method in a unit that only reads."""
    return _in_unit(method, write=False)


def _in_unit(method: F, *, write: bool) -> F:
    @functools.wraps(method)
    def call(self: Namespace, *args: Any, **kwargs: Any) -> Any:
        if self._unit is not None:
            return method(self, *args, **kwargs)
        if self._context is None:
            raise UnitError("this namespace belongs to no notifier")
        work = Repeatable(lambda unit: method(self.in_unit(unit), *args, **kwargs), (args, kwargs))
        return self._context.run(work, write=write)

    call.write = write  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]
