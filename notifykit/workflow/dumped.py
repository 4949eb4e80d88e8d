"""Steps as they are stored: plain JSON, told apart by their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from notifykit.workflow.payload import plain
from notifykit.workflow.steps import Step, function_name

FUNCTION = "function"
"""The key under which a stored step refers to a function of the host."""


def dumped(workflow: str, step: Step) -> dict[str, Any]:
    """A step as plain JSON; options that have their default are left out.

    Args:
        workflow: The workflow's key.
        step: A step of it.
    """
    stored: dict[str, Any] = {"kind": step.kind}
    for option in fields(step):
        value = getattr(step, option.name)
        if option.default is MISSING or value != option.default:
            stored[option.name] = _value(value, function_name(workflow, step.id))
    return stored


def _value(value: Any, function: str) -> Any:
    if callable(value):
        return {FUNCTION: function}
    return plain(value, "data")[0] if isinstance(value, Mapping) else value
