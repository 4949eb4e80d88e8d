"""Cursor pages: newest first, never skipping or repeating a row that stays, however many come meanwhile."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, FromClause, Integer, Select, and_, bindparam, func, or_, select

from notifykit.clock import from_micros, micros
from notifykit.errors import InputError
from notifykit.results import Page
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit

R = TypeVar("R")

LIMIT = 1000
"""Rows of the largest page."""
EACH = 500
"""Rows of the pages that an iterator reads."""


class Listing:
    """Which rows are on a page: the ids only, from the fewest tables; what they say is loaded by those ids."""

    def __init__(
        self,
        source: FromClause,
        order: Sequence[Column[Any]],
        filters: Mapping[str, ColumnElement[bool]],
        *,
        through: Mapping[str, FromClause] | None = None,
    ) -> None:
        """Describe a list.

        Args:
            source: The table.
            order: Its columns that order the list, the id last; descending.
            filters: Conditions by name, each with a parameter of that name or none.
            through: For filters that start elsewhere, the join to read from instead.
        """
        self.source, self.order, self.filters, self.through = source, tuple(order), filters, through or {}
        self.kind = order[-1].table.name.removeprefix("notifykit_")
        self._made: dict[tuple[str, frozenset[str]], Statement] = {}

    def page(
        self,
        unit: Unit,
        load: Callable[[list[int]], Iterable[R]],
        *,
        limit: int,
        after: str | None,
        total: bool = False,
        **filters: Any,
    ) -> Page[R]:
        """Read one page.

        Args:
            unit: Any unit.
            load: Gives the items for ids, in the order of the ids.
            limit: Rows of the page, 1 to 1000.
            after: A cursor of an earlier page, or None for the first.
            total: Count the rows of all pages too.
            **filters: Values of the filters; those that are None are left out.

        Raises:
            InputError: The limit or the cursor is bad.
        """
        size = checked_limit(limit)
        given = {name: value for name, value in filters.items() if value is not None}
        names = frozenset(given)
        if after is None:
            found = self._statement("first", names).rows(unit, limit=size + 1, **given)
        else:
            given |= {f"place{at}": cell for at, cell in enumerate(self._place(after))}
            found = self._statement("next", names).rows(unit, limit=size + 1, **given)
        rows, more = found[:size], len(found) > size
        return Page(
            items=list(load([row[-1] for row in rows])) if rows else [],
            next=self._cursor(rows[-1]) if more else None,
            previous=self._previous(unit, size, names, given) if after is not None else None,
            has_more=more,
            total=self._statement("total", names).rows(unit, **given)[0][0] if total else None,
        )

    def _previous(self, unit: Unit, size: int, names: frozenset[str], given: Mapping[str, Any]) -> str | None:
        rows = self._statement("back", names).rows(unit, limit=size + 1, **given)
        return self._cursor(rows[-1]) if len(rows) > size else None

    def _statement(self, purpose: str, names: frozenset[str]) -> Statement:
        key = (purpose, names)
        if key not in self._made:
            self._made[key] = Statement(self._core(purpose, names))
        return self._made[key]

    def _core(self, purpose: str, names: frozenset[str]) -> Select[Any]:
        columns: list[Any] = [func.count()] if purpose == "total" else list(self.order)
        source = next((self.through[name] for name in sorted(names) if name in self.through), self.source)
        core = select(*columns).select_from(source).where(*(self.filters[name] for name in sorted(names)))
        if purpose == "total":
            return core
        if purpose != "first":
            core = core.where(_beyond(self.order, back=purpose == "back"))
        order = [column.asc() if purpose == "back" else column.desc() for column in self.order]
        return core.order_by(*order).limit(bindparam("limit", type_=Integer))

    def _cursor(self, row: Sequence[Any]) -> str:
        cells = (micros(cell) if isinstance(cell, datetime) else cell for cell in row)
        return urlsafe_b64encode(":".join(map(str, (self.kind, *cells))).encode()).decode().rstrip("=")

    def _place(self, cursor: str) -> list[Any]:
        try:
            kind, *cells = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").split(":")
            numbers = [int(cell) for cell in cells]
            fits = kind == self.kind and len(numbers) == len(self.order)
            if not fits or not all(0 <= number < 2**63 for number in numbers):
                raise ValueError(kind)
            return [from_micros(number) for number in numbers[:-1]] + numbers[-1:]
        except (ValueError, TypeError, OverflowError):
            raise InputError(
                f"after: {cursor!r} is not a cursor of this list; pass `next` or `previous` of one of its pages",
                field="after",
            ) from None


def _beyond(order: Sequence[Column[Any]], *, back: bool) -> ColumnElement[bool]:
    """Rows after a place, or, looking back, from the place itself on; in a form whose first half every index serves."""
    *times, number = order
    place = bindparam(f"place{len(times)}", type_=number.type)
    there = number >= place if back else number < place
    if not times:
        return there
    at, when = times[0], bindparam("place0", type_=times[0].type)
    return and_(at >= when, or_(at > when, there)) if back else and_(at <= when, or_(at < when, there))


def checked_limit(limit: Any) -> int:
    """The limit of a page.

    Raises:
        InputError: It is not a number from 1 to 1000.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= LIMIT:
        raise InputError(f"limit: a number from 1 to {LIMIT} is expected, not {limit!r}", field="limit")
    return int(limit)


def in_order(ids: Iterable[int], found: Mapping[int, R]) -> list[R]:
    """What was found for ids, in their order; a row may be gone since its id was read."""
    return [found[number] for number in ids if number in found]


def pages(page: Callable[..., Page[R]], **filters: Any) -> Iterator[R]:
    """Every item of a list, read page by page.

    Args:
        page: A verb that takes `limit=` and `after=`.
        **filters: Its other arguments.
    """
    after: str | None = None
    while True:
        found = page(limit=EACH, after=after, **filters)
        yield from found
        if (after := found.next) is None:
            return


async def async_pages(page: Callable[..., Awaitable[Page[R]]], **filters: Any) -> AsyncIterator[R]:
    """Every item of a list of the awaited notifier, read page by page."""
    after: str | None = None
    while True:
        found = await page(limit=EACH, after=after, **filters)
        for item in found:
            yield item
        if (after := found.next) is None:
            return
