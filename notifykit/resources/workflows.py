"""Workflows: what this process can trigger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from notifykit.unit_of_work.unit import Namespace, UnitSource
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import Registry


class Workflows(Namespace):
    """The workflows of this process."""

    def __init__(self, context: UnitSource | None, registry: Callable[[], Registry]) -> None:
        """Stand somewhere.

        Args:
            context: Where units come from.
            registry: Gives the engine's registry of now; the sandbox swaps it.
        """
        super().__init__(context)
        self._registry = registry

    def register(self, *workflows: Workflow[Any, ...]) -> None:
        """Check definitions at once; store them with the next trigger if they are new.

        That trigger also makes them current: what processes without this code use. The same definition again changes
        nothing.

        Args:
            *workflows: Definitions. None is registered if one is refused.

        Raises:
            DefinitionError: A definition is refused: the message names step, place and nearest valid name.

        Example:
            ```python
            notify.workflows.register(shipped, welcome)
            ```
        """
        from notifykit.render.lint import check  # Jinja's sandbox and all templates come with it

        for workflow in workflows:
            check(workflow)
        registry = self._registry()
        for workflow in workflows:
            registry.add(workflow)
