"""Definitions that were stored, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from notifykit.errors import ConfigurationError
from notifykit.workflow.definition import Workflow
from notifykit.workflow.dumped import FUNCTION
from notifykit.workflow.registry import Registry
from notifykit.workflow.shape import Outline
from notifykit.workflow.steps import Step

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


def load(key: str, definition: Mapping[str, Any], registry: Registry) -> Workflow[Any, ...]:
    """A workflow as it was stored.

    Args:
        key: The workflow's key.
        definition: `Workflow.definition` as it was.
        registry: Where the host's functions are looked up, by workflow and step; those it lacks become `Missing`.

    Raises:
        ConfigurationError: A newer version of the library stored it.
    """
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
    steps = [Foreign(step["id"]) for step in definition["steps"]]
    return Workflow(key, steps=steps, name=definition.get("name", ""), tags=definition.get("tags", ()))


def _load_step(workflow: str, stored: Mapping[str, Any], code: Workflow[Any, ...] | None) -> Step:
    options = dict(stored)
    kind = options.pop("kind")
    made = Step.kinds.get(kind)
    unknown = options.keys() - {option.name for option in fields(made)} if made else {kind}
    if made is None or unknown:
        raise ConfigurationError(f"workflow {workflow!r}, step {stored.get('id')!r}: {NEWER.format(min(unknown))}")
    twin = code.step(options["id"]) if code else None
    for option in ("when", "run"):
        if option in options and isinstance(options[option], Mapping):
            found = getattr(twin, option, None)
            options[option] = found if callable(found) else Missing(options[option][FUNCTION])
    return made(**options)
