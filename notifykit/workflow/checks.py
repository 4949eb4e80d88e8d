"""What registration refuses about a workflow's form; what its templates say is checked in `render.lint`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from notifykit.errors import ConfigurationError, DefinitionError, nearest
from notifykit.model.codes import CHANNELS
from notifykit.settings import KEY_LENGTH, STEPS_LIMIT
from notifykit.workflow.definition import Workflow
from notifykit.workflow.paths import Path
from notifykit.workflow.payload import check_text
from notifykit.workflow.secret_fields import secret_fields
from notifykit.workflow.serialization import read
from notifykit.workflow.span import problem as span_problem
from notifykit.workflow.steps import KINDS, Delay, Email, Step, function_name, function_of

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
        if not isinstance(step, Step) or type(step) is not KINDS.get(step.kind):
            names = ", ".join(kind.__name__ for kind in KINDS.values())
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
    return check_text(key)


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
    for flag in ("active", "stop_on_fail"):
        if not isinstance(getattr(step, flag), bool):
            yield f"{flag} must be True or False, not {getattr(step, flag)!r}"
    yield from _when(step.when)
    if function_of(step) and len(function_name(workflow, step.id)) > NEEDS_LENGTH:
        yield f"the workflow's key and the id of a step with a function may have {NEEDS_LENGTH - 1} characters together"
    yield from CHECKS.get(step.kind, lambda _: ())(step)


def _when(when: Any) -> Iterator[str]:
    if isinstance(when, str):
        if not when.strip():
            yield "when: the condition is empty; leave it out for none"
    elif when is not None and not callable(when):
        yield f"when: an expression or a function is expected, not {when!r}"
    elif inspect.iscoroutinefunction(when):
        yield "when: a condition must be a plain function, not a coroutine"


def _email(step: Email) -> Iterator[str]:
    subject: Any = step.subject
    if not isinstance(subject, str) or not subject.strip():
        yield "subject: an e-mail needs one"


def _delay(step: Delay) -> Iterator[str]:
    if step.until is None and not step.span:
        yield "a delay needs a span, such as minutes=10, or until='payload.send_at'"
    elif step.until is not None and step.span:
        yield "a delay has a span or `until`, not both"
    elif step.until is None:
        if found := span_problem(step.span):
            yield found
    else:
        try:
            Path.read(step.until)
        except DefinitionError as error:
            yield f"until: {error}"


def _custom(step: Any) -> Iterator[str]:
    if not callable(step.run):
        yield f"run: a function is expected, not {step.run!r}"
    if not isinstance(step.pure, bool):
        yield f"pure must be True or False, not {step.pure!r}"


CHECKS: dict[str, Callable[[Any], Iterator[str]]] = {"email": _email, "delay": _delay, "custom": _custom}
"""What registration asks of the options of each kind of step, by the name of the kind."""
