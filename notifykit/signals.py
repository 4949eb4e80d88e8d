"""Signals: what happened, told to observers after the commit; and the delivery hooks that a host registers.

Blinker's traps are handled here once: weak references, no order, the first exception stops the rest.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableSet
from dataclasses import dataclass, fields
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from blinker import ANY, NamedSignal, Namespace

from notifykit.errors import ConfigurationError, nearest
from notifykit.events import (
    EVENTS,
    NAMES,
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
from notifykit.model.codes import CHANNELS, OUTSIDE, Channel
from notifykit.model.values import R
from notifykit.outgoing import Receipt
from notifykit.texts import error_text, log
from notifykit.texts import name_of as name_of_function
from notifykit.workflow.definition import Workflow

logger = logging.getLogger("notifykit.signals")

E = TypeVar("E")
F = TypeVar("F", bound=Callable[..., Any])

Sent: TypeAlias = Receipt | str | None
Hook: TypeAlias = Callable[[R], Sent]
AsyncHook: TypeAlias = Callable[[R], Sent | Awaitable[Sent]]


class InOrder(MutableSet[Any]):
    """A set that is iterated in the order in which its members were first added, unions included."""

    _numbers = count()

    def __init__(self) -> None:
        """No members."""
        self._places: dict[Any, int] = {}

    def add(self, value: Any) -> None:
        """Add a member; one that is there keeps its place."""
        self._places.setdefault(value, next(self._numbers))

    def discard(self, value: Any) -> None:
        """Take a member out."""
        self._places.pop(value, None)

    def copy(self) -> InOrder:
        """The same members in the same places."""
        return self | ()

    def __or__(self, other: Iterable[Any]) -> InOrder:
        """The members of both, in the order in which they were added."""
        union = InOrder()
        places = dict(other._places) if isinstance(other, InOrder) else {}
        for value, place in self._places.items():
            places[value] = min(place, places.get(value, place))
        union._places = dict(sorted(places.items(), key=lambda member: member[1]))
        return union

    def __contains__(self, value: object) -> bool:
        """Whether it is a member."""
        return value in self._places

    def __iter__(self) -> Iterator[Any]:
        """The members, in order."""
        return iter(list(self._places))

    def __len__(self) -> int:
        """How many members there are."""
        return len(self._places)


class ObservedSignal(NamedSignal):
    """A blinker signal with receivers in registration order, which refuses coroutine functions on the sync notifier."""

    set_class = InOrder  # type: ignore[assignment]  # blinker asks for the methods of a set only

    def __init__(self, name: str, doc: str | None, *, awaited: bool) -> None:
        """No receivers."""
        super().__init__(name, doc)
        self._awaited = awaited

    def connect(self, receiver: F, sender: Any = ANY, weak: bool = True) -> F:
        """Connect `receiver(sender, event)`, weakly unless told otherwise, as everywhere in blinker."""
        refuse_coroutine(receiver, awaited=self._awaited)
        return super().connect(receiver, sender, weak)


class HookSignal(NamedSignal):
    """Where a channel's delivery hook can be seen; it is registered by `engine.deliver`."""

    def __init__(self, channel: Channel, hooks: dict[Channel, Any]) -> None:
        """No hook yet.

        Args:
            channel: The channel.
            hooks: The hooks of all channels, kept up to date here.
        """
        super().__init__(f"deliver_{channel}", f"The delivery hook of the channel {channel}.")
        self._channel = channel
        self._hooks = hooks

    def connect(self, receiver: F, sender: Any = ANY, weak: bool = True) -> F:
        """Refuse: a hook gets a message, not a sender and an event."""
        raise ConfigurationError(
            f"a delivery hook is registered by `@engine.deliver({self._channel!r})`, not connected"
        )

    def serve(self, hook: F) -> F:
        """Let a function send this channel.

        Raises:
            ConfigurationError: The channel has a hook already.
        """
        if there := self._hooks.get(self._channel):
            raise ConfigurationError(
                f"the channel {self._channel!r} has a delivery hook already, {name_of(there)}: one hook serves it"
            )
        self._hooks[self._channel] = super().connect(hook, weak=False)
        return hook

    def disconnect(self, receiver: Callable[..., Any], sender: Any = ANY) -> None:
        """Take the channel's hook out."""
        super().disconnect(receiver, sender)
        if not self.receivers:
            self._hooks.pop(self._channel, None)


class Signals(Namespace):
    """The signals of one engine: a blinker namespace, and the way events take to its receivers.

    Attributes:
        sender: What receivers get as `sender`: the engine.
        hooks: The delivery hooks by channel.
    """

    def __init__(self, *, awaited: bool) -> None:
        """No receivers yet.

        Args:
            awaited: Receivers and hooks may be coroutine functions.
        """
        super().__init__()
        self.sender: Any = None
        self.hooks: dict[Channel, Callable[[Any], Any]] = {}
        self._awaited = awaited
        for name, event in EVENTS.items():
            self[name] = ObservedSignal(name, event.__doc__, awaited=awaited)
        self._hook_signals = {channel: HookSignal(channel, self.hooks) for channel in OUTSIDE}
        self.update({signal.name: signal for signal in self._hook_signals.values()})

    def __missing__(self, name: str) -> NamedSignal:
        """Propose the nearest signal."""
        raise KeyError(f"no signal {name!r}.{nearest(name, self)}")

    def listens(self, name: str) -> bool:
        """Whether anybody observes a signal."""
        return bool(self[name].receivers)

    def observe(self, name: str, fn: F, *, channel: Any = None, workflow: Any = None) -> F:
        """Call `fn(event)` for every event of a signal that fits; the reference to it is strong.

        Raises:
            ConfigurationError: It cannot be called so, or the signal's events have nothing that the filter asks for.
        """
        refuse_coroutine(fn, awaited=self._awaited)
        key = workflow.key if isinstance(workflow, Workflow) else workflow
        _check_filter(name, channel, key)
        self[name].connect(Observer(fn, channel, key), weak=False)
        return fn

    def hook(self, channel: str) -> Callable[[F], F]:
        """A decorator that lets a function send a channel.

        Raises:
            ConfigurationError: There is no such channel, it has a hook, or the function cannot be called so.
        """
        if not isinstance(channel, str):
            raise ConfigurationError('write `@engine.deliver("email")`: the decorator takes the channel')
        if channel == "in_app":
            raise ConfigurationError("in_app has no delivery hook: a message of it is delivered by being written")
        if channel not in OUTSIDE:
            raise ConfigurationError(f"no channel {channel!r}.{nearest(channel, OUTSIDE)}")
        signal = self._hook_signals[channel]

        def decorate(fn: F) -> F:
            refuse_coroutine(fn, awaited=self._awaited)
            return signal.serve(fn)

        return decorate

    def send(self, events: Iterable[object]) -> None:
        """Tell every receiver, in order; one that raises is logged and reported, and stops nobody."""
        for event in events:
            for receiver in self._receivers(event):
                try:
                    _refuse_awaitable(receiver(self.sender, event=event))
                except Exception as error:  # a function of the host must not break what has been committed
                    self.send(_reported(event, receiver, error))

    async def send_awaited(self, events: Iterable[object]) -> None:
        """The same where receivers may be coroutine functions; one after the other."""
        for event in events:
            for receiver in self._receivers(event):
                try:
                    answer = receiver(self.sender, event=event)
                    if inspect.isawaitable(answer):
                        await answer
                except (Exception, asyncio.CancelledError) as error:  # as above
                    if issubclass(type(error), asyncio.CancelledError) and _is_cancelled():
                        raise
                    await self.send_awaited(_reported(event, receiver, error))

    def _receivers(self, event: object) -> list[Callable[..., Any]]:
        signal = self[NAMES[type(event)]]
        return [] if signal.is_muted else list(signal.receivers_for(self.sender))


@dataclass(frozen=True, slots=True, eq=False)
class Observer:
    """A function of the host's, with what it wants to hear of."""

    fn: Callable[[Any], Any]
    channel: Channel | None
    workflow: str | None

    def __call__(self, sender: Any, event: Any) -> Any:
        """Pass the event on if it fits."""
        about = getattr(event, "message", None) or event
        if self.channel is not None and about.channel != self.channel:
            return None
        if self.workflow is not None and about.workflow != self.workflow:
            return None
        return self.fn(event)


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


def refuse_coroutine(fn: Any, *, awaited: bool) -> None:
    """Check that a function of the host's can be called on this notifier.

    Raises:
        ConfigurationError: It is not callable, or a coroutine function on the sync notifier.
    """
    if not callable(fn):
        raise ConfigurationError(f"a function is expected, not {fn!r}")
    if not awaited and is_coroutine_function(fn):
        raise ConfigurationError(
            f"{name_of(fn)} is a coroutine function, which this engine cannot await: use AsyncEngine"
        )


def is_coroutine_function(fn: Any) -> bool:
    """Whether calling it gives a coroutine; objects with an async `__call__` included."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def name_of(fn: Any) -> str:
    """How a function of the host's is called in messages."""
    return name_of_function(fn.fn if type(fn) is Observer else fn)


def _check_filter(name: str, channel: Any, workflow: Any) -> None:
    has = {field.name for field in fields(EVENTS[name])}
    has |= {"channel", "workflow"} if "message" in has else set()
    for what, value in (("channel", channel), ("workflow", workflow)):
        if value is not None and what not in has:
            raise ConfigurationError(f"{name} cannot be filtered by {what}: its events have none")
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{what} is a text{' or a workflow' if what == 'workflow' else ''}, not {value!r}")
    if channel is not None and channel not in CHANNELS:
        raise ConfigurationError(f"no channel {channel!r}.{nearest(channel, CHANNELS)}")


def _refuse_awaitable(answer: Any) -> None:
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError("it returned a coroutine, and this engine awaits nothing: use AsyncEngine")


def _reported(event: object, receiver: Any, error: BaseException) -> list[HookFailed]:
    name = name_of(receiver)
    log(logger, logging.ERROR, "%s failed as an observer of %s", name, NAMES[type(event)], error=error)
    return [] if isinstance(event, HookFailed) else [HookFailed(name, error_text(error))]


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
