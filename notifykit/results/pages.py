"""A page of a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic

from notifykit.model.values import R, Value


@dataclass(frozen=True, eq=False, repr=False)
class Page(Value, Generic[R]):
    """One page of a list; iterating and `len` speak of its items.

    Attributes:
        items: The rows of this page.
        next: What to pass as `after` for the next page, or None.
        previous: What to pass as `after` for the page before; None on the first two pages (the first needs no cursor).
        has_more: There is a next page.
        total: How many there are on all pages, where it was asked for.
    """

    items: list[R]
    next: str | None = None
    previous: str | None = None
    has_more: bool = False
    total: int | None = None

    def __iter__(self) -> Iterator[R]:
        """The items."""
        return iter(self.items)

    def __len__(self) -> int:
        """How many items this page has."""
        return len(self.items)
