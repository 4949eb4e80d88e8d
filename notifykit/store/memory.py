"""The pool of a private database in memory."""

from __future__ import annotations

from typing import Any

from sqlalchemy import StaticPool


class KeptPool(StaticPool):
    """One connection, in which the database lives: it ends with the pool.

    SQLAlchemy throws a connection away where a statement or a rollback on it was interrupted, for nothing is known of
    its state. Here that would be the end of all tables, so the same connection is given out again, rolled back.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Without a connection."""
        super().__init__(*args, **kwargs)
        self._connect: Any = self._invoke_creator
        self._invoke_creator = self._connected  # type: ignore[assignment]
        self._kept: Any = None
        self._has_ended = False

    def dispose(self) -> None:
        """Close the connection."""
        self._has_ended = True
        super().dispose()
        if self._kept is not None:
            super()._close_connection(self._kept)
            self._kept = None

    def _connected(self, record: Any = None) -> Any:
        if self._kept is None:
            self._kept = self._connect(record)
        else:
            self._kept.rollback()
        return self._kept

    def _close_connection(self, connection: Any, *, terminate: bool = False) -> None:
        if self._has_ended:
            super()._close_connection(connection, terminate=terminate)
            self._kept = None
