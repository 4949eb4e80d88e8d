"""Whether a verb is called from inside an open unit of the same engine: it would wait for itself for ever."""

from __future__ import annotations

from types import FrameType, TracebackType
from typing import Any

from notifykit.errors import UnitError
from notifykit.store.writer_lock import LockHolder, current_owner
from notifykit.unit_of_work.runtime import Runtime

INSIDE = (
    "this engine has a unit open here already, and a second one would wait for it for ever: inside `transaction()` "
    "call the verbs of the notifier it gave; a generator or callback passed to a verb may not call the engine"
)


def enter(runtime: Runtime[Any], hold: LockHolder) -> None:
    """Be inside a unit of an engine; what a unit left open that was interrupted here before is the new one's to undo.

    Args:
        runtime: The engine's.
        hold: What the unit holds.

    Raises:
        UnitError: This thread or task has one open.
    """
    there = runtime.inside.get(hold.owner)
    if there is not None:
        if not there.is_left():
            raise UnitError(INSIDE)
        hold.left.append(there)
    runtime.inside[hold.owner] = hold


def leave(runtime: Runtime[Any], hold: LockHolder) -> None:
    """Be outside again."""
    if runtime.inside.get(hold.owner) is hold:
        del runtime.inside[hold.owner]


def check(runtime: Runtime[Any]) -> None:
    """Refuse what may not be done inside a unit of the same engine.

    Raises:
        UnitError: This thread or task has one open.
    """
    there = runtime.inside.get(current_owner())
    if there is not None and not there.is_left():
        raise UnitError(INSIDE)


class Entered:
    """Inside a unit of an engine, for as long as a block lasts."""

    def __init__(self, runtime: Runtime[Any], frame: FrameType | None = None) -> None:
        """Prefer `with`.

        Args:
            runtime: The engine's.
            frame: The running function that the block is in, where it is a plain one.
        """
        self._runtime = runtime
        self._hold = LockHolder(self, frame)

    def __enter__(self) -> None:
        """Be inside.

        Raises:
            UnitError: We are inside one already.
        """
        enter(self._runtime, self._hold)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Be outside again."""
        leave(self._runtime, self._hold)
