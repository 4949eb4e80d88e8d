"""Plain JSON: what may be stored, and the one place that refuses what may not.

What every database and every template agrees on is narrower than what JSON writers accept: no NaN, no NUL, no half of a
surrogate pair, no integer beyond 64 bits, no key that is not text, no cycle, an end to depth and size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID  # noqa: TID251 - the type, not a source of ids

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import Url, from_json, to_json, to_jsonable_python

from notifykit.errors import InputError
from notifykit.settings import PAYLOAD_BYTES, PAYLOAD_DEPTH
from notifykit.texts import quoted, unstorable

Problems = list[tuple[str, str]]
"""Refused values: the path of each and the end of a sentence about it."""

DIGITS = bytes.maketrans(b"123456789", b"000000000")
LONG_NUMBER = b"0" * 19
NUL = b"\\u0000"
WRITTEN_BY_PYDANTIC = (date, time, timedelta, UUID, Url)
SECRETS = (SecretStr, SecretBytes)


def encode(value: Any, field: str) -> str:
    """The JSON text of a value.

    Args:
        value: Plain JSON, or what has one obvious JSON form: aware times, dates, UUIDs, decimals, enums, models.
        field: The path of the value, for errors.

    Raises:
        InputError: Something in it cannot be stored; names its path.
    """
    return _plain(value, field)[1]


def plain(value: Mapping[str, Any], field: str) -> tuple[dict[str, Any], str]:
    """A mapping as plain JSON of its own, and its text.

    Args:
        value: A mapping with text keys.
        field: The path of the value, for errors.

    Raises:
        InputError: It is no mapping, or something in it cannot be stored; names its path.
    """
    if type(value) is not dict and not isinstance(value, Mapping):
        raise InputError(f"{field}: a mapping is expected, not {_name(value)}", field=field)
    return _plain(value, field)


def has_suspects(text: bytes) -> bool:
    """Whether JSON text may hold a NUL, a NaN or a number beyond 64 bits; false alarms are fine, oversights are not."""
    return NUL in text or b"NaN" in text or b"Infinity" in text or LONG_NUMBER in text.translate(DIGITS)


def suspicious(text: bytes) -> bool:
    """Whether JSON text may hold anything that cannot be stored, or may be too deep or too large."""
    return has_suspects(text) or (len(text) > 2 * PAYLOAD_DEPTH and (_deep(text) or len(text) > PAYLOAD_BYTES))


def _deep(text: bytes) -> bool:
    return text.count(b"{") + text.count(b"[") > PAYLOAD_DEPTH


def examined(value: Any, field: str, limit: int | None = PAYLOAD_BYTES) -> tuple[Any, str, Problems]:
    """The careful way: a value made plain piece by piece, its text, and everything that is wrong with it.

    Args:
        value: Anything.
        field: The path of the value, for errors.
        limit: How many bytes its text may have; None for any number.
    """
    bad: Problems = []
    found = _Walk(bad).walk(value, field, 1)
    if bad:
        return None, "", bad
    text = to_json(found)
    if limit is not None and len(text) > limit:
        bad.append((field, f"it takes {len(text):,} bytes as JSON; at most {limit:,} are stored"))
    return found, text.decode(), bad


def _plain(value: Any, field: str) -> tuple[Any, str]:
    try:
        text = to_json(value)
        copy = from_json(text)
        # What reads back as it was is plain: a tuple, a bytes value, a number as a key would not.
        if copy == value and not suspicious(text):
            return copy, text.decode()
    except Exception:  # no JSON, or values of the host's that cannot be compared
        pass
    found, written, bad = examined(value, field)
    if bad:
        raise InputError("; ".join(f"{path}: {message}" for path, message in bad), field=bad[0][0])
    return found, written


def _name(value: Any) -> str:
    return "null" if value is None else type(value).__name__


class _Walk:
    """One examination of one value."""

    def __init__(self, bad: Problems) -> None:
        self.bad = bad
        self.above: set[int] = set()

    def walk(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, Enum):
            value = value.value
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, int | float | Decimal):
            return self.number(value, path)
        if isinstance(value, datetime) and value.tzinfo is None:
            return self.refuse(path, f"the time {value} has no time zone")
        if isinstance(value, WRITTEN_BY_PYDANTIC):
            return to_jsonable_python(value)
        return self.container(value, path, depth)

    def refuse(self, path: str, message: str) -> None:
        self.bad.append((path, message))

    def text(self, value: str, path: str) -> str:
        value = str.__str__(value)
        if message := unstorable(value):
            self.refuse(path, message)
        return value

    def number(self, value: float | Decimal, path: str) -> Any:
        if isinstance(value, Decimal):
            return str(value) if value.is_finite() else self.refuse(path, f"{value} is no JSON number")
        if isinstance(value, int):
            fits = -(2**63) <= value < 2**63
            return (
                int(value) if fits else self.refuse(path, "an integer beyond 64 bits cannot be stored; give it as text")
            )
        return float(value) if math.isfinite(value) else self.refuse(path, f"{value} is no JSON number")

    def container(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, SECRETS):
            return self.refuse(path, "a secret has no JSON form; give its value, or leave it out")
        whole = _opened(value)
        if whole is None:
            return self.refuse(path, f"a {_name(value)} has no JSON form; give text, numbers, lists or mappings")
        if id(value) in self.above:
            return self.refuse(path, "it contains itself")
        if depth > PAYLOAD_DEPTH:
            return self.refuse(path[:80] + "...", f"it is nested deeper than {PAYLOAD_DEPTH} levels")
        self.above.add(id(value))
        found = self.mapping(whole, path, depth) if isinstance(whole, Mapping) else self.items(whole, path, depth)
        self.above.discard(id(value))
        return found

    def items(self, value: Sequence[Any], path: str, depth: int) -> list[Any]:
        return [self.walk(item, f"{path}.{at}", depth + 1) for at, item in enumerate(value)]

    def mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        found = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self.refuse(path, f"the key {quoted(key)} is no text")
                continue
            key = str.__str__(key)
            if message := unstorable(key):
                self.refuse(path, f"the key {quoted(key)}: {message}")
            else:
                found[key] = self.walk(item, f"{path}.{key}", depth + 1)
        return found


def _opened(value: Any) -> Mapping[Any, Any] | Sequence[Any] | None:
    """What is inside a container, or None where it is none that JSON knows."""
    if isinstance(value, Mapping | list | tuple):
        return value
    if isinstance(value, BaseModel):
        try:
            dumped: Any = value.model_dump(mode="json", warnings="error")
        except Exception:  # no JSON, or a function of the model that raises
            return None
        return dumped if isinstance(dumped, dict | list) else [dumped]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {option.name: getattr(value, option.name) for option in dataclasses.fields(value)}
    return None
