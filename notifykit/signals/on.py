"""The signals of an engine as typed decorators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from notifykit.errors import nearest
from notifykit.events import (
    EVENTS,
    BulkFinished,
    HookFailed,
    MessageCreated,
    MessageFailed,
    MessageQueued,
    MessageRead,
    MessageSeen,
    MessageSent,
    MessageSkipped,
    RunFinished,
    TriggerProcessed,
    WorkScheduled,
)
from notifykit.model.codes import Channel
from notifykit.model.values import R
from notifykit.outgoing import Receipt
from notifykit.signals.signals import Signals
from notifykit.workflow.definition import Workflow

E = TypeVar("E")
F = TypeVar("F", bound=Callable[..., Any])
Sent: TypeAlias = Receipt | str | None
Hook: TypeAlias = Callable[[R], Sent]
AsyncHook: TypeAlias = Callable[[R], Sent | Awaitable[Sent]]


class Signal(Generic[E]):
    """A decorator that observes one signal: `@engine.on.message_sent` or `@engine.on.message_sent(channel="email")`.

    Observers are called after the commit, in registration order; one that raises breaks nothing.
    """

    def __init__(self, signals: Signals, name: str) -> None:
        """The signal of that name in one engine."""
        self._signals = signals
        self._name = name

    @overload
    def __call__(self, fn: Callable[[E], None], /) -> Callable[[E], None]: ...
    @overload
    def __call__(
        self, /, *, channel: Channel | None = None, workflow: str | Workflow[Any, ...] | None = None
    ) -> Callable[[Callable[[E], None]], Callable[[E], None]]: ...
    def __call__(self, fn: Any = None, /, *, channel: Any = None, workflow: Any = None) -> Any:
        """Observe every event, or those of a channel or workflow.

        Args:
            fn: Called with the event; without it a decorator is returned.
            channel: Only events of this channel.
            workflow: Only events of this workflow, given by its key or itself.

        Returns:
            The function, unchanged.

        Raises:
            ConfigurationError: A coroutine function on the sync notifier, or a filter that the events cannot meet.
        """
        return _observed(self._signals, self._name, fn, channel, workflow)


class AsyncSignal(Generic[E]):
    """As `Signal`; observers may be coroutine functions, which are awaited one after the other."""

    def __init__(self, signals: Signals, name: str) -> None:
        """The signal of that name in one engine."""
        self._signals = signals
        self._name = name

    @overload
    def __call__(self, fn: Callable[[E], Awaitable[None] | None], /) -> Callable[[E], Awaitable[None] | None]: ...
    @overload
    def __call__(
        self, /, *, channel: Channel | None = None, workflow: str | Workflow[Any, ...] | None = None
    ) -> Callable[[Callable[[E], Awaitable[None] | None]], Callable[[E], Awaitable[None] | None]]: ...
    def __call__(self, fn: Any = None, /, *, channel: Any = None, workflow: Any = None) -> Any:
        """Observe every event, or those of a channel or workflow.

        Args:
            fn: Called with the event, and awaited if it is a coroutine function; without it a decorator is returned.
            channel: Only events of this channel.
            workflow: Only events of this workflow, given by its key or itself.

        Returns:
            The function, unchanged.

        Raises:
            ConfigurationError: A filter that the events cannot meet.
        """
        return _observed(self._signals, self._name, fn, channel, workflow)


class On:
    """The signals of an engine as typed decorators."""

    trigger_processed: Signal[TriggerProcessed]
    bulk_finished: Signal[BulkFinished]
    message_created: Signal[MessageCreated]
    message_queued: Signal[MessageQueued]
    message_sent: Signal[MessageSent]
    message_failed: Signal[MessageFailed]
    message_skipped: Signal[MessageSkipped]
    message_seen: Signal[MessageSeen]
    message_read: Signal[MessageRead]
    run_finished: Signal[RunFinished]
    work_scheduled: Signal[WorkScheduled]
    hook_failed: Signal[HookFailed]

    def __init__(self, signals: Signals) -> None:
        """The signals of one engine."""
        vars(self).update({name: Signal[Any](signals, name) for name in EVENTS})

    if not TYPE_CHECKING:  # checkers would let every name pass

        def __getattr__(self, name: str) -> Any:
            """Propose the nearest signal."""
            raise AttributeError(f"no signal {name!r}.{nearest(name, EVENTS)}")


class AsyncOn:
    """The signals of an awaited engine as typed decorators."""

    trigger_processed: AsyncSignal[TriggerProcessed]
    bulk_finished: AsyncSignal[BulkFinished]
    message_created: AsyncSignal[MessageCreated]
    message_queued: AsyncSignal[MessageQueued]
    message_sent: AsyncSignal[MessageSent]
    message_failed: AsyncSignal[MessageFailed]
    message_skipped: AsyncSignal[MessageSkipped]
    message_seen: AsyncSignal[MessageSeen]
    message_read: AsyncSignal[MessageRead]
    run_finished: AsyncSignal[RunFinished]
    work_scheduled: AsyncSignal[WorkScheduled]
    hook_failed: AsyncSignal[HookFailed]

    def __init__(self, signals: Signals) -> None:
        """The signals of one engine."""
        vars(self).update({name: AsyncSignal[Any](signals, name) for name in EVENTS})

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Propose the nearest signal."""
            raise AttributeError(f"no signal {name!r}.{nearest(name, EVENTS)}")


def _observed(signals: Signals, name: str, fn: Any, channel: Any, workflow: Any) -> Any:
    def decorate(fn: F) -> F:
        return signals.observe(name, fn, channel=channel, workflow=workflow)

    return decorate if fn is None else decorate(fn)
