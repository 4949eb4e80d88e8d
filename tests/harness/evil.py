"""Exceptions and texts of a host that nobody would write on purpose, and that happen all the same."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, NoReturn

import notifykit as nk

HALF = "caf\udce9"
LARGE = 20_000_000


def broken(*args: Any, **kwargs: Any) -> NoReturn:
    """A method that always raises."""
    raise ZeroDivisionError("broken")


class BrokenText(str):
    """A text whose methods all raise."""

    __slots__ = ()
    __len__ = __getitem__ = __eq__ = __format__ = __iter__ = __contains__ = __str__ = broken
    __hash__ = str.__hash__
    strip = encode = replace = isascii = isprintable = broken


class Unprintable(Exception):
    """Neither its text nor its repr can be had."""

    __str__ = __repr__ = broken


class Recursive(Exception):
    """Its text asks for itself."""

    def __str__(self) -> str:
        return str(self)


class Subclassed(Exception):
    """Its text is a text with broken methods."""

    def __str__(self) -> str:
        return BrokenText("subclassed")


class NoText(Exception):
    """Its text is none."""

    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class Disguised(Exception):
    """It does not say what it is."""

    __class__ = property(broken)  # type: ignore[assignment]


class Argued(Exception):
    """Its arguments and notes cannot be had."""

    args = property(broken)  # type: ignore[assignment]
    __notes__ = property(broken)  # type: ignore[assignment]
    __str__ = broken


class Nameless(type):
    """Classes that do not tell their names."""

    def __getattribute__(cls, name: str) -> Any:
        return broken() if name in {"__name__", "__qualname__", "__module__"} else super().__getattribute__(name)


class Anonymous(Exception, metaclass=Nameless):
    """Its class does not tell its name."""


class Unfinished(nk.TransientDeliveryError):
    """Its constructor forgets the one above it."""

    def __init__(self) -> None:
        self.reason = "unfinished"


def nested(levels: int) -> Exception:
    """A group in a group in a group."""
    error: Exception = ValueError("innermost")
    for _ in range(levels):
        error = ExceptionGroup("group", [error])
    return error


def chained(levels: int) -> Exception:
    """An exception that is the argument of one that is the argument of one."""
    error = ValueError("innermost")
    for _ in range(levels):
        error = ValueError(error)
    return error


EXCEPTIONS: dict[str, Callable[[], Exception]] = {
    "unprintable": Unprintable,
    "recursive": Recursive,
    "subclassed": Subclassed,
    "no text": NoText,
    "disguised": lambda: Disguised("disguised"),
    "argued": Argued,
    "anonymous": lambda: Anonymous("anonymous"),
    "unfinished": Unfinished,
    "stop": lambda: StopIteration("stop"),
    "async stop": lambda: StopAsyncIteration("stop"),
    "generator": lambda: RuntimeError("generator raised StopIteration"),
    "cancelled elsewhere": lambda: concurrent.futures.CancelledError("elsewhere"),
    "late": TimeoutError,
    "empty": lambda: ValueError(" \n"),
    "surrogates": lambda: OSError(f"cannot read {HALF}.txt"),
    "nul": lambda: ValueError("a\0b\x1b[31m"),
    "line breaks": lambda: ValueError("first\r\n\tsecond\u2028third"),
    "large": lambda: ValueError("x" * LARGE),
    "large repr": lambda: KeyError("\0" * 1_000_000),
    "nested": lambda: nested(200),
    "chained": lambda: chained(5000),
    "huge number": lambda: ValueError(10**5000),
    "ours, half": lambda: nk.PermanentDeliveryError(f"no {HALF}"),
    "ours, broken": lambda: type("Ours", (nk.InputError,), {"__str__": broken})("never"),
    "ours, not configured": lambda: nk.ConfigurationError("a\0" + "x" * 10_000),
}
"""What a function of the host's may raise."""
