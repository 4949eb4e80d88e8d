"""A workflow: a stable key, steps, and what its payload looks like."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, cast, overload

from typing_extensions import TypedDict, Unpack

from notifykit.errors import InputError, PayloadError
from notifykit.model.codes import Channel
from notifykit.model.values import Json, M, P, Recipients, TriggerOptions
from notifykit.workflow.payload_adapters import PayloadAdapter, adapter_for
from notifykit.workflow.serialization import from_dict, step_to_dict
from notifykit.workflow.steps import Step

STATE = ("key", "payload", "steps", "name", "tags", "group", "active", "critical", "preferences", "templates")


class WorkflowOptions(TypedDict, total=False):
    """What a workflow may have besides key, steps and payload."""

    name: str
    tags: Sequence[str]
    group: str
    active: bool
    critical: bool
    preferences: Mapping[Channel, bool]


class Workflow(Generic[M, P]):
    """A notification: a stable key and the steps it goes through.

    `payload=` a pydantic model or a dataclass makes `workflow(field=...)` typed; None takes any mapping. Nothing is
    checked here: registration does, and says what is wrong.

    Attributes:
        key: The stable key; never a class name.
        payload: The model or dataclass, or None.
        steps: At most 64.
        name: For people; the key where none is given.
        tags: For preferences and filters.
        group: For people.
        active: False refuses triggers with `trigger_not_active`.
        critical: Subscribers' choices are ignored; what `preferences` switches off stays off.
        preferences: Channels that are off (or on) unless a subscriber chooses otherwise.
        templates: Named templates that those of its steps may include, import and extend; no option of hosts yet.

    Example:
        >>> from notifykit import InApp
        >>> welcome = Workflow("welcome", steps=[InApp("bell", body="Hello {{ subscriber.first_name }}")])
        >>> welcome(plan="free").payload
        {'plan': 'free'}
    """

    key: str
    payload: Callable[P, M]

    @overload
    def __init__(
        self: Workflow[Json, ...],
        key: str,
        *,
        steps: Sequence[Step],
        payload: Json | None = None,
        **options: Unpack[WorkflowOptions],
    ) -> None: ...
    @overload
    def __init__(
        self, key: str, *, steps: Sequence[Step], payload: Callable[P, M], **options: Unpack[WorkflowOptions]
    ) -> None: ...
    def __init__(
        self,
        key: str,
        *,
        steps: Sequence[Step],
        payload: Any = None,
        name: str = "",
        tags: Sequence[str] = (),
        group: str = "",
        active: bool = True,
        critical: bool = False,
        preferences: Mapping[Channel, bool] | None = None,
    ) -> None:
        """Describe a workflow; it is checked when it is registered."""
        self.key = key
        self.payload = payload
        self.steps: tuple[Step, ...] = tuple(steps)
        self.name = name or key
        self.tags: tuple[str, ...] = (tags,) if isinstance(tags, str) else tuple(tags)
        self.group = group
        self.active = active
        self.critical = critical
        self.preferences: Mapping[Channel, bool] = dict(preferences or {})
        self.templates: Mapping[str, str] = {}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, key: str | None = None) -> Workflow[Json, ...]:
        """A workflow of plain data: a `definition` with its `key`, out of a file, a request or another database.

        Names are understood in camelCase too, and as the reference API says them (`workflowId`, `stepId`, `type`).
        A condition is `{"expression": "payload.total > 100"}`. A function is only named, `{"function": "order/mail"}`:
        work that needs it waits for a process that has registered that workflow's code. As with `Workflow(...)`,
        whether it could work is checked when it is registered.

        Args:
            data: The mapping.
            key: Instead of the key in the data.

        Raises:
            DefinitionError: A key is missing or unknown, or a value is of the wrong type: a line for each problem.

        Example:
            >>> bell = {"kind": "in_app", "id": "bell", "body": "Hello {{ subscriber.first_name }}"}
            >>> Workflow.from_dict({"key": "welcome", "steps": [bell]}).step("bell").body
            'Hello {{ subscriber.first_name }}'
        """
        return Workflow(**from_dict(data, key))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> BoundWorkflow[M]:
        """This workflow with its payload filled in.

        Raises:
            PayloadError: The model refuses the values; every bad field is named.
        """
        return BoundWorkflow(self, cast("M", self.adapter.make(*args, **kwargs)))

    @functools.cached_property
    def adapter(self) -> PayloadAdapter:
        """What validates its payloads and writes them as JSON."""
        return adapter_for(self.payload)

    @property
    def model(self) -> type[Any] | None:
        """The payload's model or dataclass, or None."""
        return self.adapter.model

    @property
    def definition(self) -> dict[str, Any]:
        """Everything but the key, as plain JSON: what is stored; default options of steps are left out."""
        return {
            "name": self.name,
            "group": self.group,
            "tags": list(self.tags),
            "active": self.active,
            "critical": self.critical,
            "preferences": dict(self.preferences),
            "payload": self.adapter.schema,
            "steps": [step_to_dict(self.key, step) for step in self.steps],
        }

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 over the definition, its payload's schema included: the same in every process and on every start."""
        text = json.dumps(self.definition, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @functools.cached_property
    def positions(self) -> Mapping[str, int]:
        """By id, which of the steps it is."""
        return {step.id: index for index, step in enumerate(self.steps)}

    def step(self, id: str) -> Step | None:
        """The step with an id, or None."""
        return next((step for step in self.steps if step.id == id), None)

    def serialize(self, payload: Any) -> dict[str, Any]:
        """A payload validated, defaults filled in, in its JSON form.

        Args:
            payload: A mapping, an instance of the model, or None for an empty one.

        Raises:
            PayloadError: It does not fit; every bad field is named.
        """
        found = self.serialize_many([payload])[0]
        if isinstance(found, PayloadError):
            raise found
        return found[0]

    def serialize_many(self, payloads: Sequence[Any]) -> list[tuple[dict[str, Any], str] | PayloadError]:
        """The JSON forms of many payloads, each with the text to store; an error stands where one does not fit."""
        return self.adapter.serialize_many(payloads)

    def deserialize(self, payload: Json) -> M:
        """A stored payload as the model or dataclass that it was made from; the mapping itself where there is none.

        Raises:
            PayloadError: It no longer fits the model.
        """
        return cast("M", self.adapter.deserialize(payload))

    def __getstate__(self) -> dict[str, Any]:
        """What it was described with; what was compiled from that has no place in a copy or a pickle."""
        return {name: vars(self)[name] for name in STATE}

    def __repr__(self) -> str:
        """The key."""
        return f"Workflow({self.key!r})"


class BoundWorkflow(Generic[M]):
    """A workflow with its payload: what `workflow(field=...)` makes."""

    __slots__ = ("payload", "workflow")

    def __init__(self, workflow: Workflow[M, ...], payload: M) -> None:
        """Pair a workflow with a payload."""
        self.workflow = workflow
        self.payload = payload

    def to(self, to: Recipients, **options: Unpack[TriggerOptions]) -> Trigger:
        """One element of a bulk trigger.

        Args:
            to: Who gets it.
            **options: `actor`, `tenant`, `overrides`, `transaction_id`.
        """
        return Trigger(self, to=to, **options)

    def __repr__(self) -> str:
        """The workflow's key; payloads are personal data."""
        return f"BoundWorkflow({self.workflow.key!r})"


class Trigger:
    """One element of a bulk trigger.

    Attributes:
        workflow: A key, a workflow, or a workflow with its payload.
        to: Who gets it.
        payload: A mapping or an instance of the workflow's model.
        options: Those of `actor`, `tenant`, `overrides`, `transaction_id` that were given.
    """

    __slots__ = ("options", "payload", "to", "workflow")

    def __init__(
        self,
        workflow: str | BoundWorkflow[Any] | Workflow[M, ...],
        *,
        to: Recipients,
        payload: M | Json | None = None,
        **options: Unpack[TriggerOptions],
    ) -> None:
        """Say what a trigger asks for; it is checked when it is triggered.

        Raises:
            InputError: The payload is given twice, or an option is unknown.
        """
        if isinstance(workflow, BoundWorkflow) and payload is not None:
            raise InputError(f"payload: {workflow!r} has one already; leave `payload=` out", field="payload")
        if unknown := options.keys() - TriggerOptions.__annotations__.keys():
            raise TypeError(f"Trigger() got an unexpected keyword argument {min(unknown)!r}")
        self.workflow = workflow
        self.to = to
        self.payload: Any = payload
        self.options = options

    def __repr__(self) -> str:
        """The workflow's key; payloads and addresses are personal data."""
        named = self.workflow.workflow if isinstance(self.workflow, BoundWorkflow) else self.workflow
        return f"Trigger({named if isinstance(named, str) else named.key!r})"
