"""Signals: what happened, told to observers after the commit; and the delivery hooks that a host registers."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar

from blinker import NamedSignal, Namespace

from notifykit.errors import ConfigurationError, nearest
from notifykit.events import (
    EVENTS,
    NAMES,
    HookFailed,
)
from notifykit.model.codes import CHANNELS, OUTSIDE, Channel
from notifykit.signals.functions import Observer, name_of, refuse_coroutine
from notifykit.signals.receivers import HookSignal, ObservedSignal
from notifykit.texts import error_text, log
from notifykit.workflow.definition import Workflow

logger = logging.getLogger("notifykit.signals")
F = TypeVar("F", bound=Callable[..., Any])


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
