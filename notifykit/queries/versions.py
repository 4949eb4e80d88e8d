"""Which stored version a workflow has: definitions are stored once, by content hash, and never change there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import bindparam, select, update

from notifykit.errors import ConfigurationError, StorageError
from notifykit.model import Workflow as WorkflowRow
from notifykit.model import WorkflowVersion
from notifykit.model.tables import workflow, workflow_version
from notifykit.store.rows import ensure_rows
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import Registry, StoredVersion, only_ids

FIND_WORKFLOWS = Statement(
    select(workflow.c.key, workflow.c.id, workflow.c.current_version).where(
        workflow.c.environment == bindparam("environment"), any_of(workflow.c.key, "keys")
    )
)
FIND_VERSIONS = Statement(
    select(workflow_version.c.workflow, workflow_version.c.hash, workflow_version.c.id).where(
        any_of(workflow_version.c.workflow, "workflows"), any_of(workflow_version.c.hash, "hashes")
    )
)
_LOADED = (
    select(
        workflow_version.c.id,
        workflow_version.c.workflow,
        workflow_version.c.hash,
        workflow_version.c.definition,
        workflow.c.key,
    )
    .join_from(workflow_version, workflow, workflow.c.id == workflow_version.c.workflow)
    .where(any_of(workflow_version.c.id, "ids"))
)
LOAD_VERSIONS = Statement(_LOADED)
LOAD_VERSIONS_NOW = Statement(_LOADED.with_for_update(read=True))
"""A host's snapshot may be older than a version that this process knew when it triggered there."""
MAKE_CURRENT = Statement(
    update(workflow)
    .where(workflow.c.id == bindparam("row"))
    .values(
        current_version=bindparam("version"),
        name=bindparam("name"),
        group=bindparam("group_name"),
        tags=bindparam("tags"),
        active=bindparam("active"),
        critical=bindparam("critical"),
    )
)
LATER = "{where} does not show this transaction a workflow that was stored since it began: run it again."


def by_key(unit: Unit, keys: Iterable[str]) -> dict[str, StoredVersion]:
    """The version that each workflow has now: this process's own code, else what the database holds.

    Args:
        unit: A unit that may write: definitions registered since are stored first.
        keys: Workflow keys.

    Returns:
        A version for each key that is known.

    Raises:
        ConfigurationError: A newer version of the library stored one.
    """
    wanted = set(keys)
    registry = unit.registry
    stored = {key: found for key in registry.registered if (found := _known(unit, key)) is not None}
    if new := [workflow for key, workflow in registry.registered.items() if key not in stored]:
        stored |= _provisional(new) if unit.dry else store(unit, new)
    foreign = wanted - registry.registered.keys()
    if foreign:
        rows = FIND_WORKFLOWS.rows(unit, environment=unit.environment, keys=foreign)
        versions = by_id(unit, [current for _, _, current in rows])
        stored |= {key: usable(versions[current]) for key, _, current in rows}
    return {key: stored[key] for key in wanted if key in stored}


def _provisional(workflows: Sequence[Workflow[Any, ...]]) -> dict[str, StoredVersion]:
    """Versions for a rehearsal; ids below 0 are nobody's."""
    return {workflow.key: StoredVersion(0, -at, workflow, workflow.hash) for at, workflow in enumerate(workflows, 1)}


def by_id(unit: Unit, ids: Collection[int]) -> dict[int, StoredVersion]:
    """Versions by their ids, definitions loaded where this process does not hold them yet.

    Args:
        unit: Any unit.
        ids: Ids of `workflow_version` rows.

    Returns:
        A version for each id; one that a newer library stored is there, and says that it is `newer`.

    Raises:
        StorageError: A host's transaction began before one of them was stored.
    """
    known = {number: found for number in set(ids) if (found := _version(unit, number)) is not None}
    for statement in (LOAD_VERSIONS, LOAD_VERSIONS_NOW):
        if missing := sorted(set(ids) - known.keys()):
            for number, workflow, digest, definition, key in statement.rows(unit, ids=missing):
                loaded, problem = _loaded(unit.registry, key, digest, definition)
                known[number] = StoredVersion(workflow, number, loaded, digest, problem)
                _learn(unit, [known[number]])
    if not known.keys() >= set(ids):
        raise StorageError(LATER.format(where=unit.dialect.where))
    return known


def _loaded(registry: Registry, key: str, digest: str, definition: Any) -> tuple[Workflow[Any, ...], str]:
    """A definition, and why this library cannot work on it."""
    code = registry.registered.get(key)
    if code is not None and code.hash == digest:
        return code, ""
    try:
        return registry.load(key, definition), ""
    except ConfigurationError as error:
        return only_ids(key, definition), str(error)


def usable(version: StoredVersion) -> StoredVersion:
    """A version that this library can work on.

    Raises:
        ConfigurationError: A newer version of the library stored it.
    """
    if version.newer:
        raise ConfigurationError(version.newer)
    return version


def newer(unit: Unit) -> list[int]:
    """The ids of those versions, among all met so far, that only a newer library can work on."""
    known = (unit.registry.versions, unit.versions)
    return sorted({number for each in known for number, version in each.items() if version.newer})


def store(unit: Unit, workflows: Sequence[Workflow[Any, ...]]) -> dict[str, StoredVersion]:
    """Store definitions whose content is new, and make those current that are not.

    What is current is what processes without the code trigger: its steps, and whether it is active. Whoever first
    triggers with registered code makes that current, so the last deploy counts, one that goes back to what was stored
    before too. It does so once for each registration, at that first trigger: from its commit on the registry knows
    the version, and old and new processes that work side by side do not take turns at every trigger.

    The statements are the same for one workflow and for a hundred; without anything new they only read.
    """
    by_name = {workflow.key: workflow for workflow in workflows}
    rows = _workflow_rows(unit, by_name)
    wanted = {(rows[key][0], workflow.hash): workflow for key, workflow in sorted(by_name.items())}
    found = _version_ids(unit, wanted)
    if fresh := {pair: workflow for pair, workflow in wanted.items() if pair not in found}:
        _insert_versions(unit, fresh)
        found = _version_ids(unit, wanted)
    stored = [StoredVersion(row, found[row, digest], workflow, digest) for (row, digest), workflow in wanted.items()]
    changed = [version for version in stored if rows[version.workflow.key][1] != version.version_id]
    if changed:
        MAKE_CURRENT.many(unit, [_current(version) for version in changed])
    _learn(unit, stored)
    unit.stored.update(((unit.environment, version.workflow.key), version) for version in stored)
    return {version.workflow.key: version for version in stored}


def _workflow_rows(unit: Unit, workflows: dict[str, Workflow[Any, ...]]) -> dict[str, tuple[int, int]]:
    """By key the id of each workflow's row and of the version that is current; rows that are missing are made."""
    found = _find_rows(unit, workflows)
    new = sorted(workflows.keys() - found.keys())
    if new:
        columns = ("id", "environment", "key", "name", "group", "tags", "active", "critical", "current_version")
        ensure_rows(
            unit,
            WorkflowRow,
            columns,
            [
                (number, unit.environment, key, w.name, w.group, _json(list(w.tags)), w.active, w.critical, 0)
                for number, key in zip(unit.ids(len(new)), new, strict=True)
                for w in (workflows[key],)
            ],
            key=("environment", "key"),
        )
        found = _find_rows(unit, workflows)
    return found


def _find_rows(unit: Unit, keys: Iterable[str]) -> dict[str, tuple[int, int]]:
    rows = FIND_WORKFLOWS.rows(unit, environment=unit.environment, keys=keys)
    return {key: (row, current) for key, row, current in rows}


def _insert_versions(unit: Unit, workflows: dict[tuple[int, str], Workflow[Any, ...]]) -> None:
    """Store definitions by their workflow's row and their hash."""
    now, numbers = unit.timestamp(unit.now), unit.ids(len(workflows))
    ensure_rows(
        unit,
        WorkflowVersion,
        ("id", "workflow", "hash", "definition", "payload_schema", "created_at"),
        [
            (number, row, digest, _json(workflow.definition), _json(workflow.adapter.schema), now)
            for number, ((row, digest), workflow) in zip(numbers, workflows.items(), strict=True)
        ],
        key=("workflow", "hash"),
    )


def _version_ids(unit: Unit, wanted: dict[tuple[int, str], Workflow[Any, ...]]) -> dict[tuple[int, str], int]:
    rows = FIND_VERSIONS.rows(unit, workflows=[row for row, _ in wanted], hashes=[digest for _, digest in wanted])
    return {(row, digest): number for row, digest, number in rows}


def _current(version: StoredVersion) -> dict[str, Any]:
    workflow = version.workflow
    return {
        "row": version.workflow_id,
        "version": version.version_id,
        "name": workflow.name,
        "group_name": workflow.group,
        "tags": list(workflow.tags),
        "active": workflow.active,
        "critical": workflow.critical,
    }


def _known(unit: Unit, key: str) -> StoredVersion | None:
    place = (unit.environment, key)
    found = unit.stored.get(place) or unit.registry.stored.get(place)
    return found if found is not None and found.hash == unit.registry.registered[key].hash else None


def _version(unit: Unit, number: int) -> StoredVersion | None:
    return unit.versions.get(number) or unit.registry.versions.get(number)


def _learn(unit: Unit, versions: Sequence[StoredVersion]) -> None:
    """Know versions in this unit, and in the engine once it has committed: a rolled-back id is handed out again."""
    unit.versions.update((version.version_id, version) for version in versions)
    if unit.publish_cache not in unit.effects.on_commit:
        unit.effects.on_commit.append(unit.publish_cache)


def _json(value: Any) -> str | None:
    return None if value is None else to_json(value).decode()
