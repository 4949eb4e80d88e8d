"""Texts from outside, and exceptions, as text that can be kept.

What databases, JSON and logs all take is narrower than `str`: no NUL, no half of a surrogate pair, an end to its
length. And no text of a host's can be trusted to be had at all: `str(error)` runs the host's code.
"""

from __future__ import annotations

import logging
import re
import traceback
from functools import partial
from typing import Any, TypeGuard

from notifykit.errors import NotifyKitError

LONGEST = 2000
"""Characters that are kept of an error."""
VALUE_LONGEST = 80
"""Characters of a refused value that a message shows."""
TRACEBACK_LONGEST = 100_000
"""Characters of a traceback that a log takes."""
EMAIL_BYTES = 254
"""What SMTP servers take of an address."""

BREAKS = re.compile("[\t-\r\x1c-\x1e\x85\u2028\u2029]+")
UNSTORABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
REPLACEMENT = "\ufffd"
EMAIL = re.compile(r"[^\s,@\x00-\x1f\x7f-\x9f\ud800-\udfff]+@[^\s,@\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def sanitize(text: str, limit: int = LONGEST) -> str:
    r"""A text from outside as one line that every database, JSON and every log takes.

    Tabs and line breaks, however many in a row, become one blank; any other control character and each half of a
    surrogate pair becomes U+FFFD. Of a long text only the part that is kept is ever copied.

    Args:
        text: Any text; methods of a subclass are not called.
        limit: How many characters to keep; what is cut ends in an ellipsis.

    Example:
        >>> sanitize("cannot read:\n\tcaf\udce9.txt") == "cannot read: caf\ufffd.txt"
        True
    """
    kept = str.__getitem__(text, slice(limit + 1))
    if len(kept) > limit:
        kept = kept[: limit - 1] + "\u2026"
    return kept if kept.isprintable() else UNSTORABLE.sub(REPLACEMENT, BREAKS.sub(" ", kept))


def unstorable(text: str) -> str | None:
    """Why a text cannot be stored, as the end of a sentence, or None."""
    if "\0" in text:
        return "NUL characters cannot be stored"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half of a surrogate pair cannot be stored"
    return None


def is_email_address(value: object) -> TypeGuard[str]:
    """Whether a value is one `local@domain` without space, comma or control character, of at most 254 bytes.

    Whether anybody reads what is sent there only a delivery can say.
    """
    return isinstance(value, str) and EMAIL.fullmatch(value) is not None and len(value.encode()) <= EMAIL_BYTES


def error_text(error: BaseException, limit: int = LONGEST) -> str:
    """An exception as text to keep: our own errors speak for themselves, others name their class.

    Args:
        error: Any exception; where its text is empty or cannot be had, its class's name is the text.
        limit: How many characters to keep.
    """
    kind = type(error)
    try:
        text = sanitize(str(error), limit).strip()
    except Exception:  # the host's `__str__`: that it fails says nothing that the class does not
        text = ""
    if text and issubclass(kind, NotifyKitError):
        return text
    name = kind_of(error)
    return sanitize(f"{name}: {text}", limit) if text else name


def kind_of(value: object) -> str:
    """The name of a value's class, whatever the class or its metaclass say of themselves."""
    name: str = type.__dict__["__name__"].__get__(type(value))
    return sanitize(name, VALUE_LONGEST)


def quoted(value: object, limit: int = VALUE_LONGEST) -> str:
    """A refused value as a message may show it: its `repr`, cut; its class's name where that cannot be had."""
    if issubclass(type(value), str):
        value = str.__getitem__(value, slice(limit))  # type: ignore[index]  # a text, whatever `__class__` says
    try:
        return sanitize(repr(value), limit)
    except Exception:  # the host's `__repr__`, or a number with more digits than Python writes
        return f"<{kind_of(value)}>"


def label(key: object) -> str:
    """A key of a mapping as a message names it: a text as it stands, anything else as `shown` shows it."""
    return sanitize(key, VALUE_LONGEST) if isinstance(key, str) else quoted(key)


def name_of(function: Any) -> str:
    """How a function of the host's is called in messages: its module and name, else its class's."""
    try:
        function = function.func if isinstance(function, partial) else function
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return sanitize(f"{getattr(function, '__module__', '?')}.{name}")
    except Exception:  # a callable object may answer anything, or nothing, when it is asked
        return kind_of(function)


def log(logger: logging.Logger, level: int, message: str, *args: object, error: BaseException) -> None:
    """Log an exception of the host's with its traceback; where that cannot be written, its words and where it stood.

    Args:
        logger: Where to.
        level: Such as `logging.ERROR`.
        message: As the logger takes it.
        *args: What is put into the message.
        error: What was raised.
    """
    if not logger.isEnabledFor(level):
        return
    stood = BaseException.__dict__["__traceback__"].__get__(error)
    if _can_be_written(error):
        logger.log(level, message, *args, exc_info=(type(error), error, stood))
        return
    lines = [sanitize(line) for frame in traceback.format_tb(stood) for line in frame.splitlines()]
    logger.log(level, f"{message}: %s\n%s", *args, error_text(error), "\n".join(lines))


def _can_be_written(error: BaseException) -> bool:
    """Whether every handler can write an exception: logs are files too, and tracebacks quote what they are told."""
    try:
        if len(str(error)) > TRACEBACK_LONGEST:
            return False
        text = "".join(traceback.format_exception(error))
        text.encode()
    except Exception:  # the host's own texts, notes and class names
        return False
    return len(text) <= TRACEBACK_LONGEST
