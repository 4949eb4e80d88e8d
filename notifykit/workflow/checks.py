"""What registration refuses about a workflow's form; what its templates say is checked in `render.lint`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from notifykit.errors import ConfigurationError, DefinitionError, nearest
from notifykit.model.codes import CHANNELS
from notifykit.settings import KEY_LENGTH, STEPS_LIMIT
from notifykit.texts import unstorable
from notifykit.workflow.definition import Workflow
from notifykit.workflow.secret_fields import secret_fields
from notifykit.workflow.serialization import read
from notifykit.workflow.steps import Step, function_name

NEEDS_LENGTH = 300
"""Characters that a job keeps of the name of the function it needs."""


def problems(workflow: Workflow[Any, ...]) -> Iterator[str]:
    """Everything that is wrong with a workflow's form, a sentence each.

    Raises:
        ConfigurationError: Its payload needs an extra that is not there.
    """
    where = f"workflow {workflow.key!r}"
    yield from (f"{where}: {found}" for found in _options(workflow))
    if len(workflow.steps) > STEPS_LIMIT:
        yield f"{where}: {len(workflow.steps)} steps; at most {STEPS_LIMIT} are possible"
    seen: set[Any] = set()
    steps: tuple[Any, ...] = workflow.steps
    for at, step in enumerate(steps):
        if not isinstance(step, Step) or type(step) is not Step.kinds.get(step.kind):
            names = ", ".join(kind.__name__ for kind in Step.kinds.values())
            yield f"{where}, step {at}: a step is expected ({names}), not {step!r}"
            continue
        place = f"{where}, step {step.id!r}"
        if bad := key_problem(step.id):
            yield f"{where}, step {at}: the id {bad}"
        elif step.id in seen:
            yield f"{place}: another step before it has this id; give each step its own"
        else:
            seen.add(step.id)
            yield from (f"{place}: {found}" for found in _step(workflow.key, step))


def unreadable(workflow: Workflow[Any, ...]) -> Iterator[str]:
    """What could not be read back of a definition once it is stored: values of a type that its fields do not have."""
    _, refusals = read({"key": workflow.key, **workflow.definition}, lambda step, option: None)
    yield from (f"workflow {workflow.key!r}: {refusal}" for refusal in refusals)


def key_problem(key: Any) -> str | None:
    """What is wrong with an id or key, as the end of a sentence, or None."""
    if not isinstance(key, str) or not key.strip():
        return f"must be a text that is not empty, not {key!r}"
    if key != key.strip():
        return f"must not begin or end with blanks: {key!r}"
    if len(key) > KEY_LENGTH:
        return f"has {len(key)} characters; at most {KEY_LENGTH} are possible"
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in key):
        return f"must not hold control characters: {key!r}"
    return unstorable(key)


def _options(workflow: Workflow[Any, ...]) -> Iterator[str]:
    if bad := key_problem(workflow.key):
        yield f"the key {bad}"
    for name in ("name", "group"):
        value = getattr(workflow, name)
        if not isinstance(value, str) or (value and key_problem(value)):
            yield f"{name} {key_problem(value) or 'must be a text'}"
    for tag in workflow.tags:
        if bad := key_problem(tag):
            yield f"a tag {bad}"
    for flag in ("active", "critical"):
        if not isinstance(getattr(workflow, flag), bool):
            yield f"{flag} must be True or False, not {getattr(workflow, flag)!r}"
    yield from _preferences(workflow.preferences)
    yield from _payload(workflow)


def _preferences(preferences: Mapping[Any, Any]) -> Iterator[str]:
    for channel, enabled in preferences.items():
        if channel not in CHANNELS:
            yield f"preferences: no channel is named {channel!r}.{nearest(str(channel), CHANNELS)}"
        elif not isinstance(enabled, bool):
            yield f"preferences: {channel} must be True or False, not {enabled!r}"


def _payload(workflow: Workflow[Any, ...]) -> Iterator[str]:
    try:
        model = workflow.model
    except ConfigurationError as error:
        raise ConfigurationError(f"workflow {workflow.key!r}: {error}") from error
    except DefinitionError as error:
        yield str(error)
        return
    for field in secret_fields(model) if model else ():
        yield (
            f"payload.{field}: a secret's JSON form is asterisks, and so would be the link that is mailed; "
            "declare it as str until payloads can be sensitive"
        )


def _step(workflow: str, step: Step) -> Iterator[str]:
    yield from step.problems()
    if step.calls_host and len(function_name(workflow, step.id)) > NEEDS_LENGTH:
        yield f"the workflow's key and the id of a step with a function may have {NEEDS_LENGTH - 1} characters together"
