"""Work done again: where the database has rolled a unit of ours back for the sake of another transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from itertools import count
from typing import Any

from pydantic import BaseModel

from notifykit.errors import StorageError
from notifykit.settings import RETRIES, RETRY_PAUSE
from notifykit.store.error_mapping import is_given_up
from notifykit.unit_of_work.unit import Repeatable
from notifykit.workflow.definition import BoundWorkflow, Trigger, Workflow

_turns = count()


class RetryPolicy:
    """The tries at one piece of work of an engine's own; both notifiers ask it, one sleeps and one awaits."""

    def __init__(self, owner: str, work: object) -> None:
        """None yet.

        Args:
            owner: The engine's: two processes that met shall not meet again.
            work: The work; only what is `Repeatable` is done again.
        """
        self._owner = owner
        self._work = work
        self._failed = 0

    def pause(self, error: StorageError) -> float:
        """How many seconds to wait before the work is done again.

        Args:
            error: What the unit failed with; its transaction is rolled back.

        Raises:
            StorageError: The error, where the work may not be done again, or has been too often.
        """
        self._failed += 1
        if self._failed > RETRIES or not is_given_up(error) or not self._is_repeatable():
            raise error
        return RETRY_PAUSE.total_seconds() * self._failed * (0.25 + 0.75 * jitter(f"{self._owner}:{next(_turns)}"))

    def _is_repeatable(self) -> bool:
        return isinstance(self._work, Repeatable) and is_repeatable(self._work.given)


def is_repeatable(given: object) -> bool:
    """Whether what a caller handed in reads the same once more: not where an iterator or a function is in it."""
    if isinstance(given, Iterator) or (callable(given) and not isinstance(given, Workflow)):
        return False
    return all(map(is_repeatable, _parts(given)))


def _parts(given: Any) -> Iterable[object]:
    if isinstance(given, Mapping):
        return given.values()
    if isinstance(given, (list, tuple, set, frozenset)):
        return given
    if isinstance(given, Trigger):
        return (given.workflow, given.to, given.payload, given.options)
    if isinstance(given, BoundWorkflow):
        return (given.payload,)
    if isinstance(given, BaseModel):
        return vars(given).values()
    if is_dataclass(given):
        return [getattr(given, each.name) for each in fields(given)]
    return ()


def jitter(seed: str) -> float:
    """A number from 0 up to 1, spread by a hash: the same one for the same seed, so that tests see it again."""
    digest = blake2b(seed.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
