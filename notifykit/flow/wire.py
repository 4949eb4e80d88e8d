"""What comes in: wire dictionaries and `Trigger` objects, brought to one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, cast

from pydantic import AliasChoices, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from notifykit.ids import is_generated
from notifykit.resources.references import UNSTORABLE
from notifykit.results import Problem
from notifykit.settings import KEY_LENGTH
from notifykit.workflow.definition import Notice, Trigger, Workflow

Key = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=KEY_LENGTH)]


class Wire(TypedDict):
    """A trigger request of the reference API, snake case and its own spelling alike."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    workflow: Annotated[Key, Field(validation_alias=AliasChoices("name", "workflow_id", "workflowId", "workflow"))]
    to: NotRequired[Any]
    payload: NotRequired[dict[str, Any] | None]
    overrides: NotRequired[dict[str, Any] | None]
    actor: NotRequired[Any]
    tenant: NotRequired[Any]
    transaction_id: NotRequired[
        Annotated[Key | None, Field(validation_alias=AliasChoices("transaction_id", "transactionId"))]
    ]


WIRES: TypeAdapter[list[Wire]] = TypeAdapter(list[Wire])
OPTIONS: frozenset[str] = frozenset({"actor", "tenant", "overrides", "transaction_id"})


@dataclass(slots=True)
class Asked:
    """One trigger as it was asked for: nothing resolved, only its form known to be right.

    Attributes:
        workflow: The key.
        code: The definition, where the caller holds it.
        payload: A mapping, a model's or dataclass's instance, or None.
    """

    workflow: Any
    code: Workflow[Any, ...] | None
    to: Any
    payload: Any
    overrides: Any = None
    actor: Any = None
    tenant: Any = None
    transaction_id: str | None = None


def asked(workflow: str | Notice[Any] | Workflow[Any, ...], to: Any, payload: Any, options: Mapping[str, Any]) -> Asked:
    """One trigger of the typed call."""
    if isinstance(workflow, Notice):
        return Asked(workflow.workflow.key, workflow.workflow, to, workflow.payload, **options)
    if isinstance(workflow, Workflow):
        return Asked(workflow.key, workflow, to, payload, **options)
    return Asked(workflow, None, to, payload, **options)


def read(items: Sequence[Any]) -> list[Asked | list[Problem]]:
    """Read a chunk of triggers of any form, all wire dictionaries in one call of the validator.

    Args:
        items: Mappings and `Trigger` objects.

    Returns:
        For each item what it asks for, or what is wrong with its form.
    """
    places = [at for at, item in enumerate(items) if not isinstance(item, Trigger)]
    out: list[Asked | list[Problem]] = [_of_trigger(item) if isinstance(item, Trigger) else [] for item in items]
    for at, wire in zip(places, _validated([items[at] for at in places]), strict=True):
        out[at] = wire if isinstance(wire, list) else _of_wire(wire)
    return out


def form_problem(one: Asked) -> Problem | None:
    """What is wrong with the transaction id, or None."""
    given = one.transaction_id
    if not isinstance(given, str):
        return Problem("transaction_id", f"a text is expected, not {type(given).__name__}")
    if is_generated(given.strip()):
        return Problem(
            "transaction_id", "ids that start with 'txn_' are generated here; give one of your own or leave it out"
        )
    found = text_problem(given.strip())
    return Problem("transaction_id", found) if found else None


def text_problem(text: str) -> str | None:
    """What is wrong with an id or key, or None."""
    if not 1 <= len(text) <= KEY_LENGTH:
        return f"a text of 1 to {KEY_LENGTH} characters is expected"
    if text.isascii() and text.isprintable():
        return None
    return "control characters and half surrogate pairs are not allowed" if UNSTORABLE.search(text) else None


def _of_trigger(one: Trigger) -> Asked:
    return asked(one.workflow, one.to, one.payload, one.options)


def _of_wire(wire: Wire) -> Asked:
    return Asked(
        wire["workflow"],
        None,
        wire.get("to"),
        wire.get("payload"),
        wire.get("overrides"),
        wire.get("actor"),
        wire.get("tenant"),
        wire.get("transaction_id"),
    )


def _validated(items: list[Any]) -> list[Wire | list[Problem]]:
    """Each item's wire form or problems; the good ones of a mixed chunk are validated once more without the bad."""
    try:
        return cast("list[Wire | list[Problem]]", WIRES.validate_python(items))
    except ValidationError as error:
        bad: dict[int, list[Problem]] = {}
        for found in error.errors(include_url=False, include_context=False, include_input=False):
            at, *path = found["loc"]
            bad.setdefault(cast("int", at), []).append(Problem(".".join(map(str, path)), _sentence(found["msg"])))
    except (UnicodeError, RecursionError) as error:
        if len(items) == 1:
            return [[Problem("", f"this trigger cannot be read: {error}")]]
        return [each for item in items for each in _validated([item])]
    good = iter(WIRES.validate_python([item for at, item in enumerate(items) if at not in bad]))
    return [bad[at] if at in bad else next(good) for at in range(len(items))]


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]
