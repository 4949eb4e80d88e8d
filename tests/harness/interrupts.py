"""Interruptions at every step: an exception where a signal handler might raise one, as often as there are steps."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any


class Interrupter:
    """Raises at one step of a call.

    Attributes:
        at: Where it raised, as `file:line function`; None where the call came to its end before.
    """

    def __init__(self, step: int, parts: Iterable[str], *, opcodes: bool = False, kind: type[BaseException]) -> None:
        """Count the steps of some parts of the program.

        Args:
            step: The number of the step, from 0.
            parts: What the names of the files that are counted end with, or have in them.
            opcodes: Every bytecode is a step, not only every line and call.
            kind: What is raised.
        """
        self.at: str | None = None
        self._left = step
        self._parts = tuple(parts)
        self._opcodes = opcodes
        self._kind = kind
        self._known: dict[str, bool] = {}

    def __enter__(self) -> Interrupter:
        """Start to count, without finalizers: they keep what interrupts them for themselves."""
        gc.collect(0)
        gc.disable()
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *exc: object) -> None:
        """Count no more."""
        sys.settrace(self._before)
        gc.enable()

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        if self.at is not None:
            return None
        name = frame.f_code.co_filename
        counted = self._known.get(name)
        if counted is None:
            counted = self._known[name] = any(part in name for part in self._parts)
        if not counted:
            return None
        if event == "call" and self._opcodes:
            frame.f_trace_opcodes = True
        if event in {"line", "call", "opcode"}:
            self._left -= 1
            if self._left < 0:
                self.at = f"{name}:{frame.f_lineno} {frame.f_code.co_name} {event}"
                raise self._kind(self.at)
        return self._trace
