"""What the transaction contexts of both notifiers have in common."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeAlias, TypeVar, cast

from notifykit.errors import ConfigurationError, UnitError
from notifykit.model.scope import DEFAULT_SCOPE, Scope
from notifykit.unit_of_work.pull_buffer import PullBuffer
from notifykit.unit_of_work.runtime import D, Runtime
from notifykit.unit_of_work.unit import Effects
from notifykit.workflow.registry import Registry

S = TypeVar("S", bound="TransactionContextBase[Any, Any]")
T = TypeVar("T")

Steps: TypeAlias = Generator[PullBuffer | None, None, T]
IN_TRANSACTION = "this notifier stands in a transaction already: call its verbs, or the engine's outside of it"
ENDED = "the transaction of this notifier has ended: open another with `engine.transaction()`"


class TransactionContextBase(Generic[D, S]):
    """Where units come from: opened for a piece of work, or the one that is open."""

    def __init__(self, runtime: Runtime[D], scope: Scope = DEFAULT_SCOPE) -> None:
        """Belong to one engine and scope."""
        self.runtime: Runtime[D] = runtime
        self.scope = scope

    @property
    def registry(self) -> Registry:
        """The engine's workflows."""
        return self.runtime.registry

    def scoped(self, tenant: str | None) -> S:
        """The same place in one tenant's scope.

        Raises:
            InputError: It is no tenant's identifier, or another than the one this scope has.
        """
        raise NotImplementedError

    def within(self, host: object) -> S:
        """Inside the host's transaction."""
        raise UnitError(IN_TRANSACTION)

    def joining(self, session: object | None) -> S:
        """Inside the host's transaction if there is one, else here."""
        return cast("S", self) if session is None else self.within(session)


@contextmanager
def dropping_events(effects: Effects) -> Iterator[None]:
    """Forget the events of a verb that raises: the transaction may be committed without it."""
    before = len(effects.events)
    try:
        yield
    except BaseException:
        del effects.events[before:]
        raise


def refuse_both(url: str | None) -> None:
    """Refuse a URL beside the host's engine.

    Raises:
        ConfigurationError: There is one.
    """
    if url is not None:
        raise ConfigurationError(
            "url and bind are both given: pass `bind=` to share the host's engine, or a URL, not both"
        )
