"""Blinker signals that keep the order of registration, refuse coroutines where nothing awaits, and guard hooks.

Blinker's traps are handled here once: weak references, no order, the first exception stops the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSet
from itertools import count
from typing import Any

from blinker import ANY, NamedSignal

from notifykit.errors import ConfigurationError
from notifykit.model.codes import Channel
from notifykit.signals.functions import F, name_of, refuse_coroutine


class InOrder(MutableSet[Any]):
    """A set that is iterated in the order in which its members were first added, unions included."""

    _numbers = count()

    def __init__(self) -> None:
        """An empty set."""
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
        """A signal that nobody receives yet."""
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
