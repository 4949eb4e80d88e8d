"""How triggers from an async iterable reach the synchronous core of a bulk trigger."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any


@dataclass(slots=True)
class PullBuffer:
    """A hatch between the loop and the core: the core yields it when it is hungry, the driver fills it.

    Attributes:
        wanted: How many items the core would take now.
        items: What the driver has put in.
        done: The source has ended.
    """

    wanted: int = 0
    items: list[Any] = field(default_factory=list)
    done: bool = False


def next_batch(source: Iterator[Any] | PullBuffer, size: int) -> Generator[PullBuffer | None, None, list[Any]]:
    """The next items of a source, at most `size`; none at its end.

    Args:
        source: An iterator, pulled here, or a `PullBuffer`, which is yielded until the driver has filled it.
        size: Items wanted.

    Returns:
        A list; empty when the source has ended.
    """
    if not isinstance(source, PullBuffer):
        return list(islice(source, size))
    source.wanted = size
    while len(source.items) < size and not source.done:
        yield source
    taken, source.items = source.items[:size], source.items[size:]
    return taken
