"""Paths to a value, such as the `payload.send_at` that a delay waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifykit.errors import DefinitionError, InputError, nearest
from notifykit.workflow.context import ROOTS
from notifykit.workflow.span import utc_time


@dataclass(frozen=True)
class Path:
    """A root of templates and the keys that lead from it to a value; a number is the place in a list."""

    root: str
    keys: tuple[str | int, ...]

    @classmethod
    def read(cls, text: Any) -> Path:
        """A path as it is written.

        Raises:
            DefinitionError: It is no path, or starts from no root.
        """
        root, *keys = text.split(".") if isinstance(text, str) else [""]
        if root not in ROOTS:
            raise DefinitionError(f"{text!r} is no path from a root of templates.{nearest(root, ROOTS)}")
        if not keys or not all(key == key.strip() and key for key in keys):
            raise DefinitionError(f"{text!r} is no path to a value; write for example 'payload.send_at'")
        return cls(root, tuple(int(key) if key.isdecimal() else key for key in keys))

    def __str__(self) -> str:
        """The path as it is written."""
        return ".".join(map(str, (self.root, *self.keys)))

    def find(self, scope: Mapping[str, Any]) -> Any:
        """The value, or None where there is none.

        Args:
            scope: What templates see.
        """
        value: Any = scope.get(self.root)
        for key in self.keys:
            try:
                value = value[key]
            except (TypeError, LookupError):
                return None
        return value

    def find_time(self, scope: Mapping[str, Any]) -> datetime:
        """The time that stands there, in UTC.

        Raises:
            InputError: There is none, or it is no ISO 8601 time with a time zone.
        """
        value = self.find(scope)
        if value is None:
            raise InputError(f"{self}: an ISO 8601 time is expected and missing", field=str(self))
        return utc_time(value, str(self))
