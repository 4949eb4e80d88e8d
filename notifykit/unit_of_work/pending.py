"""Effects that wait for the end of a host's transaction which nobody tells."""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass

from sqlalchemy import Connection, NestedTransaction

from notifykit.unit_of_work.unit import Effects, Unit

logger = logging.getLogger("notifykit.unit_of_work")


@dataclass(eq=False, slots=True)
class Pending:
    """Effects of a transaction whose end nobody tells: a Connection's own, or that of a Session bound to one.

    A failed commit looks like a commit to every listener, so the rows themselves are asked once it has ended.
    """

    effects: Effects
    database: object
    connection: weakref.ref[Connection]
    transaction: int
    savepoint: NestedTransaction | None

    @classmethod
    def of(cls, database: object, connection: Connection, effects: Effects) -> Pending:
        """What waits for the end of the connection's transaction."""
        transaction, savepoint = id(connection.get_transaction()), connection.get_nested_transaction()
        return cls(effects, database, weakref.ref(connection), transaction, savepoint)

    def has_ended(self) -> bool:
        """Whether the transaction is over; a new one in its very place in memory is taken for it, and asked later."""
        connection = self.connection()
        if connection is None or connection.closed:
            return True
        transaction = connection.get_transaction()
        return transaction is None or not transaction.is_active or id(transaction) != self.transaction

    def happened(self, unit: Unit) -> bool:
        """Whether what was done is really there."""
        witnesses = self.effects.commit_probes
        if not witnesses:
            logger.debug("events of a host's Connection are dropped: nothing tells whether it committed")
        return bool(witnesses) and all(statement.row(unit, **values) is not None for statement, values in witnesses)
