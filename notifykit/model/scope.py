"""A scope: the part of the tables that a verb sees."""

from __future__ import annotations

from dataclasses import dataclass, replace

from notifykit.errors import InputError
from notifykit.model.organization import DEFAULT_ID


@dataclass(frozen=True, slots=True)
class Scope:
    """One environment, and maybe one tenant in it.

    Attributes:
        environment: The id of the environment.
        tenant: The identifier of the only tenant that is seen, or None for everything in the environment.
    """

    environment: int = DEFAULT_ID
    tenant: str | None = None

    def of_tenant(self, tenant: object) -> Scope:
        """One tenant's scope inside this one; None leaves it as it is.

        Raises:
            InputError: It is no tenant's identifier, or another than the one this scope has.
        """
        if tenant is None:
            return self
        if not isinstance(tenant, str) or not tenant.strip():
            raise InputError(f"tenant: the identifier of a tenant is expected, not {tenant!r}", field="tenant")
        wanted = tenant.strip()
        if self.tenant not in {None, wanted}:
            raise InputError(
                f"tenant: this notifier is scoped to {self.tenant!r} and cannot see {wanted!r}", field="tenant"
            )
        return replace(self, tenant=wanted)


DEFAULT_SCOPE = Scope()
"""What a new engine's notifier sees: all of the default environment."""
