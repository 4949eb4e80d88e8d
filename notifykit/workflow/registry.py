"""The workflows of one engine, and what is known of their stored versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from notifykit.errors import ConfigurationError
from notifykit.workflow.definition import Workflow
from notifykit.workflow.serialization import UnknownStep, lacks_function, read
from notifykit.workflow.steps import function_name


@dataclass(frozen=True)
class StoredVersion:
    """One definition as the database holds it.

    Attributes:
        newer: Why this library cannot work on it, where a newer one stored it: of its steps only the ids are known.
    """

    workflow_id: int
    version_id: int
    workflow: Workflow[Any, ...]
    hash: str
    newer: str = ""


@dataclass
class Registry:
    """The workflows that this process has as code, and the stored versions that it has seen.

    Attributes:
        registered: By key.
        stored: The current version of a key in an environment, once it is known to be committed.
        versions: By version id.
    """

    registered: dict[str, Workflow[Any, ...]] = field(default_factory=dict)
    stored: dict[tuple[int, str], StoredVersion] = field(default_factory=dict)
    versions: dict[int, StoredVersion] = field(default_factory=dict)
    _functions: frozenset[str] | None = field(default=None, repr=False)

    def add(self, workflow: Workflow[Any, ...]) -> None:
        """Register a checked workflow; the same key again replaces, the same object changes nothing."""
        if self.registered.get(workflow.key) is workflow:
            return
        self.registered = self.registered | {workflow.key: workflow}
        self._functions = None
        self._forget(workflow)

    def _forget(self, workflow: Workflow[Any, ...]) -> None:
        """Drop what holds the code that was registered before; versions with the same content hold the new code."""
        self.stored = {
            place: replace(known, workflow=workflow) if known.workflow.key == workflow.key else known
            for place, known in self.stored.items()
            if known.workflow.key != workflow.key or known.hash == workflow.hash
        }
        self.versions = {
            number: replace(known, workflow=workflow) if known.workflow.key == workflow.key else known
            for number, known in self.versions.items()
            if known.workflow.key != workflow.key or known.hash == workflow.hash
        }

    def get(self, key: str) -> Workflow[Any, ...] | None:
        """The registered workflow of a key, or None."""
        return self.registered.get(key)

    def load(self, key: str, definition: Mapping[str, Any]) -> Workflow[Any, ...]:
        """A workflow as it was stored, with the host's functions that this process has.

        Args:
            key: The workflow's key.
            definition: `Workflow.definition` as it was.

        Raises:
            ConfigurationError: A newer version of the library stored it.
        """
        code = self.registered.get(key)
        arguments, refusals = read(
            {**definition, "key": key}, lambda step, option: getattr(code and code.step(step), option, None)
        )
        if refusals:
            first = refusals[0]
            step = "" if first.step is None else f", step {definition['steps'][first.step].get('id')!r}"
            raise ConfigurationError(
                f"workflow {key!r}{step}: {first.name!r} was stored by a newer notifykit; upgrade this process"
            )
        return Workflow(**arguments)

    def functions(self) -> frozenset[str]:
        """The names (`workflow/step`) of the host functions that this process has."""
        if self._functions is None:
            self._functions = frozenset(
                function_name(key, step.id)
                for key, workflow in self.registered.items()
                for step in workflow.steps
                if step.calls_host and not lacks_function(step)
            )
        return self._functions

    def fork(self) -> Registry:
        """A registry with the same workflows and nothing stored: for the sandbox."""
        return Registry(registered=self.registered)


def only_ids(key: str, definition: Mapping[str, Any]) -> Workflow[Any, ...]:
    """What can be known of a definition that a newer notifykit stored: enough to show what became of its messages.

    Args:
        key: The workflow's key.
        definition: What the newer one made.
    """
    steps = [UnknownStep(step["id"]) for step in definition["steps"]]
    return Workflow(key, steps=steps, name=definition.get("name", ""), tags=definition.get("tags", ()))
