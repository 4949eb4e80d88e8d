"""What each kind of step renders: the templates that it is made of, and the shape that holds their texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, TypeAlias

from pydantic_core import to_json

from notifykit.errors import DefinitionError, InputError, nearest
from notifykit.render.links import TARGETS, is_link, link, may_become_link, redirect_to
from notifykit.render.named import ParsedPart, parse_part
from notifykit.render.sandbox import Sandbox
from notifykit.render.templates import Part, literal_text, text_before
from notifykit.workflow.payload import plain
from notifykit.workflow.steps import Step

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

Texts = Sequence[str]
"""The texts of a step's parts, in their order."""


@dataclass(frozen=True)
class PerMessage:
    """A value that differs from one message to the next: what a function makes of the texts of the parts."""

    make: Callable[[Texts], Any]


Value: TypeAlias = Any
"""A `PerMessage`, or a plain value that is the same for every message."""


def apply(function: Callable[[Any], Any], value: Value) -> Value:
    """What a function makes of a value: now, or for each message."""
    if not isinstance(value, PerMessage):
        return function(value)
    make = value.make
    return PerMessage(lambda texts: function(make(texts)))


def gather(values: dict[str, Value] | list[Value]) -> Value:
    """Values as one: a plain container where all of them are plain, else a copy of it is filled for each message."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    made = [(key, value.make) for key, value in items if isinstance(value, PerMessage)]

    def fill(texts: Texts) -> Any:
        filled: Any = values.copy()
        for key, make in made:
            filled[key] = make(texts)
        return filled

    return PerMessage(fill) if made else values


class StepTemplate:
    """The rendering of one step.

    Attributes:
        parts: The templates that fill something in.
        fill: Makes the content of a message of the texts of the parts.
    """

    def __init__(self, step: Step, place: str, environment: Sandbox) -> None:
        """Read the templates of a channel step.

        Args:
            step: The step.
            place: Where it stands, for errors.
            environment: Of the workflow's templates.

        Raises:
            DefinitionError: A template is refused, or a value has the wrong form; says where.
        """
        self.parts: list[ParsedPart] = []
        self._place = place
        self._environment = environment
        content = CONTENTS[step.kind]
        fields = {name: read(self, getattr(step, name), name) for name, read in content.fields.items()}
        value = content.finish(fields)
        self.fill: Callable[[Texts], Any] = value.make if isinstance(value, PerMessage) else lambda _: value

    def refusal(self, field: str, reason: str) -> DefinitionError:
        """The error that refuses a field."""
        return DefinitionError(f"{self._place}, {field}: {reason}")

    def read(self, source: Any, field: str, *, html: bool = False) -> Value:
        """The text of one template; plain where it fills nothing in."""
        part = parse_part(Part(source, f"{self._place}, {field}", html), self._environment)
        literal = literal_text(part.tree)
        if literal is not None:
            return literal
        self.parts.append(part)
        return PerMessage(itemgetter(len(self.parts) - 1))

    def checked(self, value: Any, field: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
        """A mapping of plain JSON, with no keys but those expected."""
        try:
            found, _ = plain(value, field)
        except InputError as error:
            raise DefinitionError(f"{self._place}, {error}") from error
        for key in found:
            if keys is not None and key not in keys:
                raise self.refusal(field, f"{key!r} is not expected here.{nearest(key, keys)}")
        return found


def text(template: StepTemplate, given: Any, field: str) -> Value:
    """Text into which variables are filled as they are."""
    return template.read(given, field)


def html(template: StepTemplate, given: Any, field: str) -> Value:
    """HTML; what is filled in is escaped."""
    return template.read(given, field, html=True)


def line(template: StepTemplate, given: Any, field: str) -> Value:
    """Text without control characters: a subject."""
    return apply(without_controls, template.read(given, field))


def without_controls(text: str) -> str:
    """A text without its control characters."""
    return text if text.isprintable() else CONTROLS.sub("", text)


def url(template: StepTemplate, given: Any, field: str) -> Value:
    """A link; what cannot become one is refused."""
    value = template.read(given, field)
    if not (may_become_link(text_before(template.parts[-1].tree)) if isinstance(value, PerMessage) else is_link(value)):
        raise template.refusal(field, f"{given!r} is no link; write an absolute http(s) URL or one rooted at '/'")
    return apply(link, value)


def redirect(template: StepTemplate, given: Any, field: str) -> Value:
    """Where a click leads, and the window that it opens in."""
    options = {"url": given} if isinstance(given, str) else template.checked(given, field, ("url", "target"))
    target = options.get("target")
    if target is not None and target not in TARGETS:
        raise template.refusal(f"{field}.target", f"{target!r} is no target.{nearest(str(target), TARGETS)}")
    if not options.get("url"):
        raise template.refusal(field, "a redirect needs a url")
    return apply(partial(redirect_to, target=target), url(template, options["url"], field))


def button(template: StepTemplate, given: Any, field: str) -> Value:
    """A label and a link."""
    options = template.checked(given, field, ("label", "url"))
    for key in ("label", "url"):
        if not options.get(key):
            raise template.refusal(field, f"a button needs a label and a url, and {key!r} is missing")
    link = url(template, options["url"], f"{field}.url")
    return gather({"label": template.read(options["label"], f"{field}.label"), "url": link})


def data(template: StepTemplate, given: Any, field: str) -> Value:
    """Nested plain data, whose texts are templates."""
    return _tree(template, template.checked(given, field), field)


def _tree(template: StepTemplate, value: Any, field: str) -> Value:
    if isinstance(value, str):
        return template.read(value, field)
    if isinstance(value, Mapping):
        return gather({key: _tree(template, item, f"{field}.{key}") for key, item in value.items()})
    if isinstance(value, list):
        return gather([_tree(template, item, f"{field}.{at}") for at, item in enumerate(value)])
    return value


FieldReader = Callable[[StepTemplate, Any, str], Value]
"""Reads one field of a step: the step's template, what was given, the field's name."""


def optional(read: FieldReader) -> FieldReader:
    """A field that may be None."""
    return lambda template, given, field: None if given is None else read(template, given, field)


def as_row(fields: dict[str, Value]) -> Value:
    """The columns of an in-app message: subject, body, call to action and data as JSON texts."""
    actions = {name: fields[name] for name in ("redirect", "primary", "secondary") if fields[name] is not None}
    columns = [fields["subject"], fields["body"], _json(gather(actions)), _json(fields["data"])]
    return apply(tuple, gather(columns))


def _json(value: Value) -> Value:
    """The JSON text of a value; None for what is empty."""
    return apply(lambda content: to_json(content).decode() if content else None, value)


@dataclass(frozen=True)
class Content:
    """What a kind of step renders.

    Attributes:
        fields: The options of the step that are made of templates, each with what reads it.
        finish: Makes the content of a message of them.
    """

    fields: Mapping[str, FieldReader]
    finish: Callable[[dict[str, Value]], Value] = gather


ONLY_BODY = Content({"body": text})
CONTENTS: Mapping[str, Content] = {
    "in_app": Content(
        {
            "subject": optional(line),
            "body": text,
            "redirect": optional(redirect),
            "primary": optional(button),
            "secondary": optional(button),
            "data": optional(data),
        },
        as_row,
    ),
    "email": Content({"subject": line, "body": text, "html": optional(html)}),
    "sms": ONLY_BODY,
    "push": Content({"title": line, "body": text, "data": optional(data)}),
    "chat": ONLY_BODY,
}
"""By kind of step: named fields for what goes outside, four columns of the message's row for in-app."""
