"""Rows in bulk: tuples whose values are encoded already, in one call to the driver.

Times are encoded by `Unit.timestamp`, JSON columns are JSON text, truth values are `bool`, and None is NULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol, cast

from sqlalchemy import Table

from notifykit.model.base import Base
from notifykit.store.dialect import Dialect
from notifykit.store.statement import ExecutionContext

Rows = Sequence[tuple[Any, ...]]


class WriteContext(ExecutionContext, Protocol):
    """Where rows are written."""

    @property
    def dialect(self) -> Dialect:
        """The database's."""
        ...

    @property
    def is_external(self) -> bool:
        """Whether the transaction is the host's."""
        ...


@cache
def table_of(model: type[Base]) -> Table:
    """The table behind a class of `notifykit.model`."""
    return cast("Table", model.__table__)  # type: ignore[attr-defined]


def insert_rows(unit: WriteContext, model: type[Base], columns: tuple[str, ...], rows: Rows) -> None:
    """Insert rows.

    Args:
        unit: The unit.
        model: The table's class.
        columns: What each row's values are, in order.
        rows: Tuples of encoded values; none is fine.

    Example:
        ```python
        insert_rows(unit, TopicMember, ("topic", "subscriber"), [(1, 2), (1, 3)])
        ```
    """
    unit.dialect.insert(unit, table_of(model), columns, rows)


def insert_new(unit: WriteContext, model: type[Base], columns: tuple[str, ...], rows: Rows) -> None:
    """Insert those rows that meet no row with the same unique key. Sort them by that key; read again what is there.

    In a host's transaction that reading needs a lock: a snapshot may be older than what was met.
    """
    unit.dialect.insert_new(unit, table_of(model), columns, rows)


def ensure_rows(
    unit: WriteContext, model: type[Base], columns: tuple[str, ...], rows: Rows, *, key: tuple[str, ...]
) -> None:
    """Insert those rows that meet no row with the same unique key; the rest of the transaction sees those met.

    Args:
        unit: The unit.
        model: The table's class.
        columns: What each row's values are, in order.
        rows: Tuples of encoded values, sorted by the key.
        key: The columns of the unique key.
    """
    insert_new(unit, model, columns, rows)
    places = [columns.index(name) for name in key]
    reveal_rows(unit, model, key, [tuple(row[place] for place in places) for row in rows])


def reveal_rows(unit: WriteContext, model: type[Base], key: tuple[str, ...], rows: Rows) -> None:
    """Let the rest of the transaction see rows that a conflict or a lock has met, which its snapshot may not show."""
    if unit.is_external and rows:
        unit.dialect.reveal(unit, table_of(model), key, rows)


def renew_rows(unit: WriteContext, model: type[Base], key: tuple[str, ...], rows: Rows) -> None:
    """Let the rest of the transaction see rows as a lock has found them, which its snapshot shows as they once were."""
    if unit.is_external and rows:
        unit.dialect.renew(unit, table_of(model), key, rows)


def upsert_rows(
    unit: WriteContext,
    model: type[Base],
    columns: tuple[str, ...],
    rows: Rows,
    *,
    key: tuple[str, ...],
    update: tuple[str, ...],
    keep_null: bool = False,
) -> None:
    """Insert rows, or update those that exist.

    Args:
        unit: The unit.
        model: The table's class.
        columns: What each row's values are, in order.
        rows: Tuples of encoded values, in any order; of two with the same key the later one counts.
        key: The columns of the unique key that decides whether a row exists.
        update: The columns to overwrite in a row that exists.
        keep_null: A NULL keeps what is stored.
    """
    unit.dialect.upsert(unit, table_of(model), columns, rows, key=key, update=update, keep_null=keep_null)
