"""What all notifiers of one engine share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Connection

from notifykit.clock import Clock, SystemClock
from notifykit.errors import ConfigurationError, UnitError
from notifykit.ids import new_owner
from notifykit.model.codes import Channel
from notifykit.model.scope import DEFAULT_SCOPE, Scope
from notifykit.providers import Integration
from notifykit.settings import ASYNC_CHUNK, CHUNK
from notifykit.signals import Signals
from notifykit.store import forks
from notifykit.store.writer_lock import LockHolder, Owner
from notifykit.unit_of_work.pending import Pending
from notifykit.unit_of_work.stops import Stops
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.registry import Registry

if TYPE_CHECKING:
    from notifykit.store.async_database import AsyncDatabase
    from notifykit.store.database import Database

D = TypeVar("D", "Database", "AsyncDatabase")


@dataclass(eq=False)
class Runtime(forks.Forked, Generic[D]):
    """What all notifiers of an engine share: the sandbox swaps database, clock, registry and outbox.

    Attributes:
        database: Where units are opened.
        signals: Who hears of what; holds the delivery hooks too.
        integrations: Configured providers, in the order in which they are asked.
        outbox: Takes every outgoing message in the sandbox, before hooks and integrations.
        owner: What the names of this process's claims begin with.
        stops: Whom this process stops.
        chunk: Runs a chunk.
        awaited: The engine is awaited.
        pending: Effects of host transactions whose end nobody tells.
        unrecorded: Calls that have ended, and how, which could not be recorded yet: the next drain does.
        drains: How many drains are under way: the last one closes what was closed meanwhile.
        inside: The unit that each thread or task has open.
    """

    database: D
    signals: Signals
    awaited: bool
    clock: Clock = field(default_factory=SystemClock)
    registry: Registry = field(default_factory=Registry)
    integrations: tuple[Integration, ...] = ()
    outbox: Callable[[Any], Any] | None = None
    owner: str = field(default_factory=new_owner)
    stops: Stops = field(default_factory=Stops)
    chunk: int = 0
    pending: list[Pending] = field(default_factory=list)
    inside: dict[Owner, LockHolder] = field(default_factory=dict)
    unrecorded: list[Any] = field(default_factory=list)
    drains: int = 0
    closed: bool = False
    noted_loop: bool = False
    _claims: Iterator[int] = field(default_factory=count, repr=False)

    @property
    def hooks(self) -> dict[Channel, Callable[[Any], Any]]:
        """The delivery hooks by channel."""
        return self.signals.hooks

    def __post_init__(self) -> None:
        """Look at what the host gave, and size the chunks: on a loop it breathes between two of them.

        Raises:
            ConfigurationError: The clock or an integration is none.
        """
        check_clock(self.clock)
        for each in self.integrations:
            if not isinstance(each, Integration):
                raise ConfigurationError(f"integrations: an Integration is expected, not {type(each).__name__}")
        self.chunk = self.chunk or (ASYNC_CHUNK if self.awaited else CHUNK)
        forks.watch(self)

    def after_fork(self) -> None:
        """In a child: a name of its own to claim by, and nothing that its parent is in the middle of."""
        self.owner = new_owner()
        self.pending = []
        self.unrecorded = []
        self.drains = 0
        self.inside = {}

    def next_claim(self) -> str:
        """The owner of a claim, which no other claim has."""
        return f"{self.owner}-{next(self._claims)}"

    def unit(self, connection: Connection, scope: Scope = DEFAULT_SCOPE, *, joined: bool = False) -> Unit:
        """A unit on a transaction that is open.

        Args:
            connection: The transaction's.
            scope: What it sees.
            joined: The transaction is the host's.
        """
        return Unit(
            connection,
            self.database.dialect,
            self.clock,
            self.registry,
            self.clock.now(),
            self.signals.listens,
            scope=scope,
            chunk=self.chunk,
            is_external=joined,
            stops=self.stops,
        )

    def check_open(self) -> None:
        """Refuse what comes after `close`.

        Raises:
            UnitError: The engine is closed.
        """
        if self.closed:
            raise UnitError("this engine is closed; make a new one")


def check_clock(clock: object) -> None:
    """Refuse what tells no time, or times without a zone: a database would take them for another instant.

    Raises:
        ConfigurationError: It does.
    """
    now = getattr(clock, "now", None)
    present = now() if callable(now) else None
    if not isinstance(present, datetime) or present.utcoffset() is None:
        raise ConfigurationError("clock: an object is expected whose `now()` is an aware datetime in UTC")
