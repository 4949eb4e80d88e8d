"""Tenants: the host's own customers, data of an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from sqlalchemy import bindparam, select, update

from notifykit.errors import NotFoundError
from notifykit.model import Tenant as TenantRow
from notifykit.model.tables import tenant
from notifykit.model.values import Json
from notifykit.queries.references import key_text
from notifykit.queries.subscriber_fields import checked_data, checked_text
from notifykit.store.rows import ensure_rows, renew_rows
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Namespace, query, verb

_FOUND = select(tenant.c.id, tenant.c.identifier, tenant.c.name, tenant.c.data).where(
    tenant.c.environment == bindparam("environment"), tenant.c.identifier == bindparam("key")
)
FIND = Statement(_FOUND)
LOCK = Statement(_FOUND.with_for_update())
UPDATE = Statement(
    update(tenant)
    .where(tenant.c.id == bindparam("row"))
    .values(
        name=bindparam("new_name", type_=tenant.c.name.type),
        data=bindparam("new_data", type_=tenant.c.data.type),
        updated_at=bindparam("now", type_=tenant.c.updated_at.type),
    )
)


class Tenants(Namespace):
    """The host's own customers."""

    @verb
    def upsert(self, identifier: str, *, name: str | None = None, data: Json | None = None) -> None:
        """Create or update a tenant; None keeps what is stored.

        Args:
            identifier: The host's own id of the tenant: 1 to 255 characters, trimmed.
            name: For people and templates.
            data: Facts for templates; replaces what is stored as a whole.

        Raises:
            InputError: A value is refused; nothing is written.
        """
        unit, key = self.unit, key_text(identifier, "identifier")
        label = None if name is None else checked_text(name, "name")
        facts = None if data is None else checked_data(data, "data")
        number = 0
        shown = FIND.row(unit, environment=unit.environment, key=key)
        if shown is None:
            (number,) = unit.ids(1)
            now, text = unit.timestamp(unit.now), None if facts is None else to_json(facts).decode()
            columns = ("id", "environment", "identifier", "name", "data", "created_at", "updated_at")
            row = (number, unit.environment, key, label, text, now, now)
            ensure_rows(unit, TenantRow, columns, [row], key=("environment", "identifier"))
        found = LOCK.row(unit, environment=unit.environment, key=key)
        if found is not None and found[0] != number:
            new_name, new_data = merge((found[2], found[3]), label, facts)
            if (new_name, new_data) != (found[2], found[3]):
                UPDATE.run(unit, row=found[0], new_name=new_name, new_data=new_data, now=unit.now)
            elif shown and found != shown:
                renew_rows(unit, TenantRow, ("id",), [(found[0],)])

    @query
    def get(self, identifier: str) -> Json:
        """One tenant: `identifier`, `name` and `data`.

        Raises:
            NotFoundError: There is none with this identifier.
        """
        key = key_text(identifier, "identifier")
        found = FIND.row(self.unit, environment=self.unit.environment, key=key)
        if found is None:
            raise NotFoundError(f"there is no tenant {key!r}")
        return view(found)


def merge(
    stored: tuple[str | None, Mapping[str, Any] | None], name: str | None, data: Mapping[str, Any] | None
) -> tuple[str | None, Mapping[str, Any] | None]:
    """A tenant's name and data with what was given laid over what is stored: None keeps."""
    return stored[0] if name is None else name, stored[1] if data is None else data


def view(row: tuple[Any, ...]) -> dict[str, Any]:
    """A tenant as templates see it, from its id, identifier, name and data."""
    _, identifier, name, data = row
    return {"identifier": identifier, "name": name, "data": data or {}}
