"""Definitions as they are stored: plain JSON, told apart by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn

from notifykit.errors import ConfigurationError
from notifykit.workflow.payload import plain
from notifykit.workflow.registry import function_name
from notifykit.workflow.shape import Outline
from notifykit.workflow.steps import KINDS, Custom, Step

if TYPE_CHECKING:
    from notifykit.workflow.definition import Workflow
    from notifykit.workflow.registry import Registry

FUNCTION = "function"
"""The key under which a stored step refers to a function of the host."""


OPTIONS = frozenset({"name", "group", "tags", "active", "critical", "preferences", "payload", "steps"})
NEWER = "{!r} was stored by a newer notifykit; upgrade this process"


class Missing:
    """Stands for a function that this process does not have; work that needs it waits for a process that does."""

    def __init__(self, name: str) -> None:
        """Keep the function's name, `workflow/step`."""
        self.name = name

    def __call__(self, *args: object) -> NoReturn:
        """Refuse.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(f"this process has no function {self.name!r}: register the workflow's code here")

    def __repr__(self) -> str:
        """The name of what is missing."""
        return f"Missing({self.name!r})"


@dataclass(frozen=True)
class Foreign(Step):
    """Stands for a step of a definition that a newer notifykit stored: only its id is known here."""


def dump(workflow: Workflow[Any, ...]) -> dict[str, Any]:
    """A definition as plain JSON: everything but the key. Options that have their default are left out."""
    return {
        "name": workflow.name,
        "group": workflow.group,
        "tags": list(workflow.tags),
        "active": workflow.active,
        "critical": workflow.critical,
        "preferences": dict(workflow.preferences),
        "payload": payload_schema(workflow),
        "steps": [_dump_step(workflow.key, step) for step in workflow.steps],
    }


def payload_schema(workflow: Workflow[Any, ...]) -> dict[str, Any] | None:
    """The JSON Schema of a workflow's payload, or None where any mapping will do."""
    return workflow.shape.schema


def content_hash(workflow: Workflow[Any, ...]) -> str:
    """SHA-256 over the definition, its payload's schema included: the same in every process and on every start."""
    return hashlib.sha256(json.dumps(dump(workflow), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load(key: str, definition: Mapping[str, Any], registry: Registry) -> Workflow[Any, ...]:
    """A workflow as it was stored.

    Args:
        key: The workflow's key.
        definition: What `dump` made.
        registry: Where the host's functions are looked up, by workflow and step; those it lacks become `Missing`.

    Raises:
        ConfigurationError: A newer version of the library stored it.
    """
    from notifykit.workflow.definition import Workflow

    if unknown := definition.keys() - OPTIONS:
        raise ConfigurationError(f"workflow {key!r}: {NEWER.format(min(unknown))}")
    code = registry.get(key)
    workflow: Workflow[Any, ...] = Workflow(
        key,
        steps=[_load_step(key, step, code) for step in definition["steps"]],
        name=definition["name"],
        group=definition["group"],
        tags=definition["tags"],
        active=definition["active"],
        critical=definition["critical"],
        preferences=definition["preferences"],
    )
    if definition["payload"] is not None:
        workflow.shape = Outline(definition["payload"])
    return workflow


def outline(key: str, definition: Mapping[str, Any]) -> Workflow[Any, ...]:
    """What can be known of a definition that a newer notifykit stored: enough to show what became of its messages.

    Args:
        key: The workflow's key.
        definition: What the newer one made.
    """
    from notifykit.workflow.definition import Workflow

    steps = [Foreign(step["id"]) for step in definition["steps"]]
    return Workflow(key, steps=steps, name=definition.get("name", ""), tags=definition.get("tags", ()))


def _dump_step(workflow: str, step: Step) -> dict[str, Any]:
    stored: dict[str, Any] = {"kind": step.kind}
    for option in fields(step):
        value = getattr(step, option.name)
        if option.default is MISSING or value != option.default:
            stored[option.name] = _dump_value(value, function_name(workflow, step.id))
    return stored


def _dump_value(value: Any, function: str) -> Any:
    if callable(value):
        return {FUNCTION: function}
    return plain(value, "data")[0] if isinstance(value, Mapping) else value


def _load_step(workflow: str, stored: Mapping[str, Any], code: Workflow[Any, ...] | None) -> Step:
    options = dict(stored)
    kind = options.pop("kind")
    made = KINDS.get(kind)
    unknown = options.keys() - {option.name for option in fields(made)} if made else {kind}
    if made is None or unknown:
        raise ConfigurationError(f"workflow {workflow!r}, step {stored.get('id')!r}: {NEWER.format(min(unknown))}")
    twin = code.step(options["id"]) if code else None
    for option in ("when", "run"):
        if option in options and isinstance(options[option], Mapping):
            found = getattr(twin, option, None)
            options[option] = found if callable(found) else Missing(options[option][FUNCTION])
    if made is Custom:
        return Custom(options.pop("id"), options.pop("run"), **options)
    return made(**options)
