"""What all steps of a workflow have. The kinds themselves are files of their own in `notifykit/flow/steps/`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, TypeAlias

from notifykit.model.codes import Channel
from notifykit.model.values import Json, Value
from notifykit.workflow.context import Context
from notifykit.workflow.paths import Path

Condition: TypeAlias = str | Callable[[Context[Any]], bool]
"""A Jinja expression (stored, checked at registration), or a function of the host."""
RECORD = ("status", "reason", "at")
"""Fields that the record of every finished step has."""
NOT_DELIVERED = '{"delivery":null,"seen":false,"read":false}'


@dataclass(frozen=True, eq=False, repr=False)
class Step(Value):
    """What every step has. Not generic: with `Sequence[Step[M]]` mypy would infer `Workflow[Any]` and check nothing.

    A kind of step is a subclass with a `kind` of its own; its behaviour stands in the table of `notifykit.flow.steps`.

    Attributes:
        id: The name by which templates and conditions speak of it: `steps.<id>`.
        when: The step is skipped where this is not true; it may name payload, subscriber, actor, tenant, steps.
        active: False leaves the step out.
        stop_on_fail: A failure ends the run; the run waits for the outcome of the step's message.
    """

    kind: ClassVar[str] = ""
    channel: ClassVar[Channel | None] = None
    kinds: ClassVar[dict[str, type[Step]]] = {}
    """Every kind of step by the name it is stored under."""
    record: ClassVar[tuple[str, ...] | None] = ()
    """The fields of `steps.<id>` besides status, reason and at; None: a function decides."""
    empty_record: ClassVar[str] = "{}"
    """What they are where the step did nothing, as JSON."""
    skipped: ClassVar[str] = "step_skipped"
    """The trace's word for a step that did nothing."""
    failed: ClassVar[str] = "step_failed"
    """The trace's word for a step that failed."""

    id: str
    _: KW_ONLY
    when: Condition | None = None
    active: bool = True
    stop_on_fail: bool = False

    def __init_subclass__(cls) -> None:
        """Know the kind."""
        if cls.kind:
            Step.kinds.setdefault(cls.kind, cls)

    @property
    def function(self) -> Callable[[Context[Any]], Json | None] | None:
        """The function of the host that the step calls, besides its condition."""
        return None

    @property
    def calls_host(self) -> bool:
        """Whether the step calls a function of the host: its own, or its condition."""
        return self.function is not None or callable(self.when)

    @property
    def paths(self) -> Mapping[str, Path]:
        """By option, where the times stand that the step waits for."""
        return {}

    @property
    def takes_general_overrides(self) -> bool:
        """Whether a trigger's overrides of the whole kind change this step too."""
        return True

    def problems(self) -> Iterator[str]:
        """What registration refuses about the step itself, a sentence each."""
        for flag in ("active", "stop_on_fail"):
            if not isinstance(getattr(self, flag), bool):
                yield f"{flag} must be True or False, not {getattr(self, flag)!r}"
        yield from _when(self.when)


class ChannelStep(Step):
    """A step that makes a message."""

    record: ClassVar[tuple[str, ...] | None] = ("delivery", "seen", "read")
    empty_record: ClassVar[str] = NOT_DELIVERED
    skipped: ClassVar[str] = "message_skipped"
    failed: ClassVar[str] = "message_failed"


def record_fields(step: Step) -> tuple[str, ...] | None:
    """The fields of `steps.<id>` once a step has finished; None where a function decides."""
    return None if step.record is None else (*RECORD, *step.record)


def function_name(workflow: str, step: str) -> str:
    """The name under which a step's function is referenced, such as `order-shipped/mail`."""
    return f"{workflow}/{step}"


def _when(when: Any) -> Iterator[str]:
    if isinstance(when, str):
        if not when.strip():
            yield "when: the condition is empty; leave it out for none"
    elif when is not None and not callable(when):
        yield f"when: an expression or a function is expected, not {when!r}"
    elif inspect.iscoroutinefunction(when):
        yield "when: a condition must be a plain function, not a coroutine"
