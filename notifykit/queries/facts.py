"""Facts about the subscribers of a chunk, loaded once for all its groups. Code after this point runs no SQL."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from notifykit.queries import addresses, preferences
from notifykit.queries.addresses import DEVICE_CHANNELS, Addresses
from notifykit.queries.preferences import Preferences
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow


@dataclass(slots=True)
class Facts:
    """What is known of the subscribers of a chunk.

    Attributes:
        preferences: What they, and their tenants, have chosen.
        addresses: Where they are reached.
    """

    preferences: Preferences = field(default_factory=Preferences)
    addresses: Addresses = field(default_factory=Addresses)


def load(
    unit: Unit,
    environment: int,
    subscribers: Collection[int],
    workflows: Collection[Workflow[Any, ...]],
    tenants: Collection[int] = (),
) -> Facts:
    """Load the facts of a chunk: one query for preferences, one for devices where a workflow asks for them.

    Args:
        unit: Any unit.
        environment: Of the runs.
        subscribers: Ids of the subscribers' rows.
        workflows: What goes to them.
        tenants: Ids of the rows of the tenants that they are told for.
    """
    uses_devices = any(step.channel in DEVICE_CHANNELS for workflow in workflows for step in workflow.steps)
    return Facts(
        preferences.load(unit, environment, {*subscribers, *tenants}, workflows),
        addresses.load(unit, subscribers if uses_devices else ()),
    )
