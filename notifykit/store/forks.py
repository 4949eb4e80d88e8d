"""After a fork: a child must not use its parent's connections, locks, threads and names.

`os.fork` says so; a server that forks behind Python's back (uWSGI) does not, so whoever is about to use what a process
may not share looks first whether it is still in the process that made it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class Forked:
    """Something that a fork must not tear."""

    def before_fork(self) -> None:
        """Come to rest: another thread that is in the middle of something is not there in the child."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork(self) -> None:
        """Start anew in a child process."""


class Family:
    """What forks must not tear, and the process that it was made in."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._pid = os.getpid()
        self._members: weakref.WeakSet[Forked] = weakref.WeakSet()
        self._looking: dict[int, threading.RLock] = {}
        self._parents: list[Any] = []

    def watch(self, member: Forked) -> None:
        """Let something start anew in each child process, for as long as it lives."""
        self._members.add(member)

    def look(self) -> None:
        """Let all start anew where this process is a child of the one in which they were last used."""
        if os.getpid() != self._pid:
            self._start_anew(os.getpid())

    def leave_to_parent(self, thing: Any) -> None:
        """Keep a parent's connection for ever: to close it, or to let it be collected, would reach the parent's."""
        self._parents.append(thing)

    def before(self) -> None:
        """Let all come to rest."""
        self.look()
        for member in list(self._members):
            member.before_fork()

    def after_in_parent(self) -> None:
        """Let all go on."""
        for member in list(self._members):
            member.after_fork_in_parent()

    def _start_anew(self, pid: int) -> None:
        # One lock for each process: the parent's may be held by a thread that is not here.
        with self._looking.setdefault(pid, threading.RLock()):
            if self._pid != pid:
                for member in list(self._members):
                    member.after_fork()
                self._pid = pid


_family = Family()
watch, look, leave_to_parent = _family.watch, _family.look, _family.leave_to_parent

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_family.before, after_in_parent=_family.after_in_parent, after_in_child=_family.look)
