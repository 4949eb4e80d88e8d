"""What a chunk of runs needs to know of its subscribers, read once for all kinds of steps in it."""

from __future__ import annotations

from collections.abc import Sequence

from notifykit.flow.run_columns import RunColumns
from notifykit.flow.steps import behaviour_of
from notifykit.queries.facts import Chunk, Facts
from notifykit.unit_of_work.unit import Unit


def prefetch(unit: Unit, groups: Sequence[RunColumns]) -> Facts:
    """Load the facts of a chunk: the same statements for one run and for a thousand. Code after this runs no SQL.

    Args:
        unit: Any unit.
        groups: All runs of the chunk, whatever their workflows.
    """
    facts = Facts()
    workflows = {runs.version.version_id: runs.version.workflow for runs in groups}.values()
    chunk = Chunk(
        unit.environment,
        subscribers={person[0] for runs in groups for person in runs.subscribers},
        tenants={event.tenant_id for runs in groups for event in runs.events},
        workflows=workflows,
    )
    kinds = {type(step): behaviour_of(step) for workflow in workflows for step in workflow.steps}
    for loader in dict.fromkeys(loader for behaviour in kinds.values() for loader in behaviour.loaders()):
        loader(unit, chunk, facts)
    return facts
