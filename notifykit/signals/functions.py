"""Functions of the host that are called: observers and delivery hooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from notifykit.errors import ConfigurationError
from notifykit.model.codes import Channel
from notifykit.texts import name_of as name_of_function

F = TypeVar("F", bound=Callable[..., Any])


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
