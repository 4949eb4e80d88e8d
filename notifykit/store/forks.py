"""After a fork: a child must not use its parent's connections, locks and threads."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Something that a child process must look after."""

    def after_fork(self) -> None:
        """Start anew in a child process."""
        ...


_living: weakref.WeakSet[Forked] = weakref.WeakSet()


def watch(thing: Forked) -> None:
    """Let a thing start anew in each child process, for as long as it lives."""
    _living.add(thing)


def _after_fork() -> None:
    for thing in list(_living):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
