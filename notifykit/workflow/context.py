"""What a host's function sees: a condition given as a function, or a custom step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, cast

from pydantic_core import from_json, to_json

from notifykit.errors import InputError
from notifykit.model.values import Json, M
from notifykit.workflow.payload import plain
from notifykit.workflow.payload_adapters import PayloadAdapter


class TemplateScope(TypedDict):
    """What templates, conditions and functions see of one run."""

    payload: Json
    subscriber: Json
    actor: Json | None
    tenant: Json | None
    steps: Mapping[str, Mapping[str, Any]]


ROOTS = tuple(TemplateScope.__annotations__)
"""The names of it."""
RESERVED = ("status", "reason", "at")
"""Fields of a custom step's record that its function may not return."""


@dataclass(frozen=True)
class Context(Generic[M]):
    """What a condition or a custom step sees: plain data, a copy of its own.

    Attributes:
        payload: The payload. Of a workflow with a model it can be read both ways: `payload.order` is the model's
            attribute, `payload["order"]` the JSON form.
        subscriber: The recipient.
        actor: Who caused the event, or None.
        tenant: Whose event it is, or None.
        steps: The records of the steps that this run has finished, by id.
        idempotency_key: The same for every attempt of a custom step; `''` in conditions.
    """

    payload: M
    subscriber: Json
    actor: Json | None
    tenant: Json | None
    steps: Mapping[str, Mapping[str, Any]]
    idempotency_key: str = ""


class ModelPayload(dict[str, Any]):
    """A payload's JSON form whose attributes are those of the model it was made from."""

    def __init__(self, values: Mapping[str, Any], adapter: PayloadAdapter) -> None:
        """The JSON form, and the adapter that knows the model."""
        super().__init__(values)
        self.__dict__["_adapter"] = adapter

    def __getattribute__(self, name: str) -> Any:
        """The model's attribute; the model is made when first asked for."""
        if name.startswith("_") or (not hasattr(self.__dict__["_adapter"].model, name) and name not in self):
            return super().__getattribute__(name)
        stored = self.__dict__
        if "_model" not in stored:
            stored["_model"] = stored["_adapter"].deserialize(dict(self))
        return getattr(stored["_model"], name)


def context_of(adapter: PayloadAdapter, scope: Mapping[str, Any], idempotency_key: str = "") -> Context[Any]:
    """The context of one call.

    Args:
        adapter: The payload's.
        scope: What templates see.
        idempotency_key: For custom steps.
    """
    copy = from_json(to_json({root: scope.get(root) for root in ROOTS}))
    payload = copy["payload"] or {}
    return Context(
        payload=payload if adapter.model is None else cast("Any", ModelPayload(payload, adapter)),
        subscriber=copy["subscriber"] or {},
        actor=copy["actor"],
        tenant=copy["tenant"],
        steps=copy["steps"] or {},
        idempotency_key=idempotency_key,
    )


def fields_returned(step: str, returned: Any) -> dict[str, Any]:
    """The fields that a custom step's function adds to its record, as plain JSON.

    Args:
        step: The step's id.
        returned: What the function returned: a mapping or None.

    Raises:
        InputError: It is neither, is no JSON, or names a field that is taken.
    """
    where = f"steps.{step}"
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise InputError(
            f"{where}: the function must return a mapping or None, not {type(returned).__name__}", field=where
        )
    fields, _ = plain(returned, where)
    if taken := [name for name in RESERVED if name in fields]:
        raise InputError(
            f"{where}.{taken[0]}: this name is taken by the step's own record; return another",
            field=f"{where}.{taken[0]}",
        )
    return fields
