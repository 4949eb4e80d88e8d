"""The steps of a workflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, TypeAlias

from notifykit.model.codes import Channel
from notifykit.model.values import Json, Value
from notifykit.workflow.context import Context
from notifykit.workflow.span import UNITS

Condition: TypeAlias = str | Callable[[Context[Any]], bool]
"""A Jinja expression (stored, checked at registration), or a function of the host."""


@dataclass(frozen=True, eq=False, repr=False)
class Step(Value):
    """What every step has. Not generic: with `Sequence[Step[M]]` mypy would infer `Workflow[Any]` and check nothing.

    Attributes:
        id: The name by which templates and conditions speak of it: `steps.<id>`.
        when: The step is skipped where this is not true; it may name payload, subscriber, actor, tenant, steps.
        active: False leaves the step out.
        stop_on_fail: A failure ends the run; the run waits for the outcome of the step's message.
    """

    kind: ClassVar[str] = ""
    channel: ClassVar[Channel | None] = None

    id: str
    _: KW_ONLY
    when: Condition | None = None
    active: bool = True
    stop_on_fail: bool = False


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class InApp(Step):
    """A message in the subscriber's inbox.

    Attributes:
        body: A template.
        subject: A template, or None.
        redirect: Where a click leads: a URL, or `{"url": ..., "target": "_blank"}`.
        primary: A button: `{"label": ..., "url": ...}`.
        secondary: The other button.
        data: Facts for the host's own front end; texts in it are templates.

    Example:
        >>> InApp("bell", subject="Shipped", body="Order {{ payload.order }} is on its way", redirect="/orders").id
        'bell'
    """

    kind: ClassVar[str] = "in_app"
    channel: ClassVar[Channel | None] = "in_app"

    body: str = ""
    subject: str | None = None
    redirect: str | Json | None = None
    primary: Json | None = None
    secondary: Json | None = None
    data: Json | None = None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Email(Step):
    """An e-mail.

    Attributes:
        subject: A template; an e-mail needs one.
        body: The text, a template.
        html: The same as HTML, a template; the only text in which what is filled in is escaped.
    """

    kind: ClassVar[str] = "email"
    channel: ClassVar[Channel | None] = "email"

    subject: str = ""
    body: str = ""
    html: str | None = None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sms(Step):
    """A text message; `body` is a template."""

    kind: ClassVar[str] = "sms"
    channel: ClassVar[Channel | None] = "sms"

    body: str = ""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Push(Step):
    """A push notification; `title`, `body` and the texts in `data` are templates."""

    kind: ClassVar[str] = "push"
    channel: ClassVar[Channel | None] = "push"

    title: str = ""
    body: str = ""
    data: Json | None = None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Chat(Step):
    """A chat message; `body` is a template."""

    kind: ClassVar[str] = "chat"
    channel: ClassVar[Channel | None] = "chat"

    body: str = ""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Delay(Step):
    """A pause: for a span, or until a time that stands in the payload.

    Attributes:
        until: A path from a root of templates to an ISO 8601 time, such as `payload.send_at`; instead of a span.
        seconds: The units add up: `Delay("wait", hours=1, minutes=30)`.
        months: Those of the calendar.
    """

    kind: ClassVar[str] = "delay"

    until: str | None = None
    seconds: float | None = None
    minutes: float | None = None
    hours: float | None = None
    days: float | None = None
    weeks: float | None = None
    months: int | None = None

    @property
    def span(self) -> dict[str, float]:
        """The units that were given, with their amounts."""
        return {unit: amount for unit in UNITS if (amount := getattr(self, unit)) is not None}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Custom(Step):
    """A function of the host.

    It runs outside any transaction, at least once, with a stable key; what it returns is in `steps.<id>`.

    Attributes:
        run: Gets a `Context`, returns fields for the step's record or None.
        pure: It only computes: it is called inline, and may be called again with the same data.
    """

    kind: ClassVar[str] = "custom"

    run: Callable[[Context[Any]], Json | None] = field(kw_only=False)
    pure: bool = False


KINDS: dict[str, type[Step]] = {step.kind: step for step in (InApp, Email, Sms, Push, Chat, Delay, Custom)}
"""Every kind of step by the name it is stored under."""


RECORD = ("status", "reason", "at")
"""Fields that the record of every finished step has."""
CHANNEL_RECORD = (*RECORD, "delivery", "seen", "read")
DELAY_RECORD = (*RECORD, "until", "duration")


def record_fields(step: Step) -> tuple[str, ...] | None:
    """The fields of `steps.<id>` once a step has finished; None for a `Custom`, whose function decides."""
    if isinstance(step, Custom):
        return None
    return DELAY_RECORD if isinstance(step, Delay) else CHANNEL_RECORD


def function_of(step: Step) -> bool:
    """Whether a step calls the host: its condition is a function, or it is a `Custom`."""
    return isinstance(step, Custom) or callable(step.when)


def function_name(workflow: str, step: str) -> str:
    """The name under which a step's function is referenced, such as `order-shipped/mail`."""
    return f"{workflow}/{step}"
