"""Facts about the subscribers of a chunk, loaded once for all its groups. Code after this point runs no SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from notifykit.queries import addresses, preferences
from notifykit.queries.addresses import DEVICE_CHANNELS, Addresses
from notifykit.queries.preferences import Preferences
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whose facts are wanted, and for what.

    Attributes:
        environment: Of the runs; not necessarily the unit's own.
        subscribers: Ids of the subscribers' rows.
        tenants: Ids of the rows of the tenants that they are told for; 0 is none.
        workflows: What goes to them.
    """

    environment: int
    subscribers: Collection[int]
    tenants: Collection[int]
    workflows: Collection[Workflow[Any, ...]]


@dataclass(slots=True)
class Facts:
    """What is known of the subscribers of a chunk.

    Attributes:
        preferences: What they, and their tenants, have chosen.
        addresses: Where they are reached.
    """

    preferences: Preferences = field(default_factory=Preferences)
    addresses: Addresses = field(default_factory=Addresses)


Loader = Callable[[Unit, Chunk, Facts], None]
"""Reads one kind of facts for a chunk, by one statement."""


def load_preferences(unit: Unit, chunk: Chunk, facts: Facts) -> None:
    """What subscribers and tenants have chosen; of critical workflows nobody is asked."""
    subjects = {*chunk.subscribers, *chunk.tenants}
    facts.preferences = preferences.load(unit, chunk.environment, subjects, chunk.workflows)


def load_devices(unit: Unit, chunk: Chunk, facts: Facts) -> None:
    """Who has a device or a webhook, where a workflow asks for them."""
    if any(step.channel in DEVICE_CHANNELS for workflow in chunk.workflows for step in workflow.steps):
        facts.addresses = addresses.load(unit, chunk.subscribers)
