"""The tenants of a chunk: each as of its event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, func, update

from notifykit.flow.pending_trigger import PendingTrigger
from notifykit.flow.validation import FIND_TENANTS, TenantRow
from notifykit.model.tables import tenant
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit

UPDATE_TENANT = Statement(
    update(tenant)
    .where(tenant.c.id == bindparam("number"))
    .values(
        name=func.coalesce(bindparam("new_name", type_=tenant.c.name.type), tenant.c.name),
        data=func.coalesce(bindparam("new_data", type_=tenant.c.data.type), tenant.c.data),
        updated_at=bindparam("now"),
    )
)


@dataclass(slots=True)
class TenantSet:
    """The tenants of a chunk as they stand in the order of its triggers."""

    rows: dict[str, TenantRow] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, unit: Unit, triggers: Sequence[PendingTrigger]) -> TenantSet:
        """Read the tenants that the triggers name."""
        keys = {pending.tenant[0] for pending in triggers if pending.tenant}
        if not keys:
            return cls()
        rows = FIND_TENANTS.rows(unit, environment=unit.environment, keys=sorted(keys))
        return cls({key: TenantRow(number, key, name, data) for key, number, name, data in rows})

    def of(self, pending: PendingTrigger) -> TenantRow | None:
        """The tenant of an event, what it gives laid over."""
        if pending.tenant is None:
            return None
        identifier, changes = pending.tenant
        row = self.rows[identifier]
        if any(getattr(row, name) != value for name, value in changes.items()):
            row = self.rows[identifier] = TenantRow(
                row.id, identifier, changes.get("name", row.name), changes.get("data", row.data)
            )
            self.changed.setdefault(identifier, {}).update(changes)
        return row

    def save(self, unit: Unit) -> None:
        """Write what was given, and nothing that was only read: it may have changed since."""
        UPDATE_TENANT.many(
            unit,
            [
                {
                    "number": self.rows[key].id,
                    "new_name": given.get("name"),
                    "new_data": given.get("data"),
                    "now": unit.now,
                }
                for key, given in sorted(self.changed.items())
            ],
        )
        self.changed.clear()
