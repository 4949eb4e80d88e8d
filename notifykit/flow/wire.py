"""What comes in: wire dictionaries and `Trigger` objects, brought to one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, TypeAlias, cast

from pydantic import AliasChoices, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from notifykit.errors import InputError
from notifykit.ids import is_generated
from notifykit.model.values import TriggerOptions
from notifykit.queries.references import key_problem
from notifykit.results import Problem
from notifykit.settings import KEY_LENGTH
from notifykit.texts import error_text
from notifykit.workflow.definition import BoundWorkflow, Trigger, Workflow

Key = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=KEY_LENGTH)]


@with_config(ConfigDict(extra="forbid"))
class Wire(TypedDict):
    """A trigger request of the reference API in either spelling; only its form is known to be right.

    `payload` may also be an instance of a model or dataclass, where the trigger is an object.
    """

    workflow: Annotated[Key, Field(validation_alias=AliasChoices("name", "workflow_id", "workflowId", "workflow"))]
    to: NotRequired[Any]
    payload: NotRequired[Any]
    overrides: NotRequired[dict[str, Any] | None]
    actor: NotRequired[Any]
    tenant: NotRequired[Any]
    transaction_id: NotRequired[
        Annotated[Key | None, Field(validation_alias=AliasChoices("transaction_id", "transactionId"))]
    ]


TriggerRequest: TypeAlias = Wire
OPTIONS = frozenset(TriggerOptions.__annotations__)
WIRES: TypeAdapter[list[Wire]] = TypeAdapter(list[Wire])


def trigger_request(
    workflow: str | BoundWorkflow[Any] | Workflow[Any, ...], to: Any, payload: Any, options: Mapping[str, Any]
) -> TriggerRequest:
    """One trigger of the typed call.

    Raises:
        InputError: The workflow is no key, no workflow and none with its payload.
    """
    if unknown := options.keys() - OPTIONS:
        raise TypeError(f"got an unexpected keyword argument {min(unknown)!r}")
    if isinstance(workflow, BoundWorkflow):
        workflow, payload = workflow.workflow, workflow.payload
    key = workflow.key if isinstance(workflow, Workflow) else workflow
    if not isinstance(key, str):
        raise InputError(f"workflow: a key or a workflow is expected, not {type(key).__name__}", field="workflow")
    return {"workflow": key, "to": to, "payload": payload, **options}  # type: ignore[typeddict-item]


def read(items: Sequence[Any]) -> list[TriggerRequest | list[Problem]]:
    """Read a chunk of triggers of any form, all wire dictionaries in one call of the validator.

    Args:
        items: Mappings and `Trigger` objects.

    Returns:
        For each item what it asks for, or what is wrong with its form.
    """
    if not any(isinstance(item, Trigger) for item in items):
        return _validated(items)
    wires = iter(_validated([item for item in items if not isinstance(item, Trigger)]))
    return [_of_trigger(item) if isinstance(item, Trigger) else next(wires) for item in items]


def given_id(request: TriggerRequest) -> Any:
    """The transaction id that a trigger gives, trimmed where it is a text; None for none."""
    given = request.get("transaction_id")
    return str.strip(given) if isinstance(given, str) else given


def id_problem(given: Any) -> Problem | None:
    """What is wrong with a transaction id as `given_id` found it, or None."""
    if not isinstance(given, str):
        return Problem("transaction_id", f"a text is expected, not {type(given).__name__}")
    if is_generated(given):
        return Problem(
            "transaction_id", "ids that start with 'txn_' are generated here; give one of your own or leave it out"
        )
    found = key_problem(given)
    return Problem("transaction_id", found) if found else None


def _of_trigger(one: Trigger) -> TriggerRequest | list[Problem]:
    try:
        return trigger_request(one.workflow, one.to, one.payload, one.options)
    except InputError as error:
        return [Problem(error.field, str(error).removeprefix(f"{error.field}: "))]


def _validated(items: Sequence[Any]) -> list[TriggerRequest | list[Problem]]:
    """Each item's wire form or problems; the good ones of a mixed chunk are validated once more without the bad."""
    try:
        return cast("list[TriggerRequest | list[Problem]]", WIRES.validate_python(items))
    except ValidationError as error:
        bad: dict[int, list[Problem]] = {}
        for found in error.errors(include_url=False, include_context=False, include_input=False):
            at, *path = found["loc"]
            bad.setdefault(cast("int", at), []).append(Problem(".".join(map(str, path)), _sentence(found["msg"])))
    except (UnicodeError, RecursionError) as error:
        if len(items) == 1:
            return [[Problem("", f"this trigger cannot be read: {error_text(error)}")]]
        return [each for item in items for each in _validated([item])]
    good = iter(WIRES.validate_python([item for at, item in enumerate(items) if at not in bad]))
    return [bad[at] if at in bad else next(good) for at in range(len(items))]


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]
