"""What the rendering of each kind of step is made of: templates, constants, and the shape that holds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes
from pydantic_core import to_json

from notifykit.errors import DefinitionError, InputError, nearest
from notifykit.render.links import TARGETS, is_link, link, may_become_link, redirect
from notifykit.render.templates import Part, constant, parse
from notifykit.workflow.payload import plain
from notifykit.workflow.steps import Step

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def strip_controls(text: str) -> str:
    """A text without control characters: what a subject may be."""
    return CONTROLS.sub("", text)


def json_text(value: Any) -> str:
    """A plain value as JSON text."""
    return to_json(value).decode()


NAMES: dict[str, Any] = {"strip": strip_controls, "json": json_text, "link": link, "redirect": redirect}
"""What the expression of a layout may call."""


@dataclass(frozen=True)
class Known:
    """A value that is the same for every message."""

    value: Any

    @property
    def code(self) -> tuple[str | int, ...]:
        """The value as Python source."""
        return (repr(self.value),)


@dataclass(frozen=True)
class Made:
    """A value that is made for each message: Python source in which a number stands for the text of that part."""

    code: tuple[str | int, ...]


Value = Known | Made


class Layout:
    """The rendering of one step: parts, and the expression that puts their texts together.

    Attributes:
        parts: The templates that fill something in.
        trees: Their syntax trees.
    """

    def __init__(self, step: Step, place: str) -> None:
        """Lay out one channel step.

        Raises:
            DefinitionError: A template does not parse, or a value has the wrong form; says where.
        """
        self.place = place
        self.parts: list[Part] = []
        self.trees: list[nodes.Template] = []
        self._result = LAYOUTS[step.kind](self, step)

    def expression(self, text: Callable[[int], str]) -> str:
        """The result as Python source.

        Args:
            text: The source that stands for the text of a part.
        """
        return "".join(text(token) if isinstance(token, int) else token for token in self._result.code)

    def text(self, source: Any, field: str, *, html: bool = False) -> Value:
        """One template; one that fills nothing in is known at once."""
        part = Part(source, f"{self.place}, {field}", html)
        tree = parse(part)
        known = constant(tree)
        if known is not None:
            return Known(known)
        self.parts.append(part)
        self.trees.append(tree)
        return Made((len(self.parts) - 1,))

    def line(self, source: Any, field: str) -> Value:
        """A template whose text loses its control characters: a subject."""
        value = self.text(source, field)
        if isinstance(value, Known):
            return Known(strip_controls(value.value))
        return Made(("(t if (t := ", *value.code, ").isprintable() else strip(t))"))

    def url(self, source: Any, field: str) -> Value:
        """A template whose text is a link; what cannot become one is refused."""
        value = self.text(source, field)
        head = value.value if isinstance(value, Known) else _head(self.trees[-1])
        if not (is_link(head) if isinstance(value, Known) else may_become_link(head)):
            raise DefinitionError(
                f"{self.place}, {field}: {source!r} is no link; write an absolute http(s) URL or one rooted at '/'"
            )
        return value

    def tree(self, value: Any, field: str) -> Value:
        """Nested plain data, whose texts are templates."""
        if isinstance(value, str):
            return self.text(value, field)
        if isinstance(value, Mapping):
            return mapping({key: self.tree(item, f"{field}.{key}") for key, item in value.items()})
        if isinstance(value, list | tuple):
            return _list([self.tree(item, f"{field}.{at}") for at, item in enumerate(value)])
        return Known(value)

    def data(self, value: Any, field: str = "data") -> Value:
        """A step's own data."""
        return Known(None) if value is None else self.tree(self.checked(value, field), field)

    def checked(self, value: Any, field: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
        """A mapping of plain JSON, with no keys but those expected."""
        try:
            found, _ = plain(value, field)
        except InputError as error:
            raise DefinitionError(f"{self.place}, {error}") from error
        for key in found:
            if keys is not None and key not in keys:
                raise DefinitionError(f"{self.place}, {field}: {key!r} is not expected here.{nearest(key, keys)}")
        return found


def mapping(items: Mapping[str, Value]) -> Value:
    """A mapping of values."""
    if all(isinstance(item, Known) for item in items.values()):
        return Known({key: item.value for key, item in items.items() if isinstance(item, Known)})
    code: list[str | int] = ["{"]
    for key, item in items.items():
        code += [f"{key!r}: ", *item.code, ", "]
    return Made((*code, "}"))


def _list(items: list[Value]) -> Value:
    if all(isinstance(item, Known) for item in items):
        return Known([item.value for item in items if isinstance(item, Known)])
    code: list[str | int] = ["["]
    for item in items:
        code += [*item.code, ", "]
    return Made((*code, "]"))


def _as_json(value: Value) -> Value:
    """The JSON text of a value; None and an empty mapping stay away."""
    if isinstance(value, Known):
        return Known(json_text(value.value) if value.value else None)
    return Made(("json(", *value.code, ")"))


def _head(tree: nodes.Template) -> str:
    """The text before the first thing that is filled in."""
    first = tree.body[0].nodes[0] if isinstance(tree.body[0], nodes.Output) else None
    return first.data if isinstance(first, nodes.TemplateData) else ""


def _redirect(layout: Layout, given: Any) -> Value:
    options = {"url": given} if isinstance(given, str) else layout.checked(given, "redirect", ("url", "target"))
    target = options.get("target")
    if target is not None and target not in TARGETS:
        raise DefinitionError(
            f"{layout.place}, redirect.target: {target!r} is no target.{nearest(str(target), TARGETS)}"
        )
    if not options.get("url"):
        raise DefinitionError(f"{layout.place}, redirect: a redirect needs a url")
    url = layout.url(options["url"], "redirect")
    if isinstance(url, Known):
        return Known(redirect(url.value, target))
    return Made(("redirect(", *url.code, f", {target!r})"))


def _button(layout: Layout, given: Any, field: str) -> Value:
    options = layout.checked(given, field, ("label", "url"))
    for key in ("label", "url"):
        if not options.get(key):
            raise DefinitionError(f"{layout.place}, {field}: a button needs a label and a url, and {key!r} is missing")
    url = layout.url(options["url"], f"{field}.url")
    if isinstance(url, Made):
        url = Made(("link(", *url.code, ")"))
    return mapping({"label": layout.text(options["label"], f"{field}.label"), "url": url})


def _in_app(layout: Layout, step: Any) -> Value:
    subject = Known(None) if step.subject is None else layout.line(step.subject, "subject")
    body = layout.text(step.body, "body")
    actions: dict[str, Value] = {}
    if step.redirect is not None:
        actions["redirect"] = _redirect(layout, step.redirect)
    for field in ("primary", "secondary"):
        if (button := getattr(step, field)) is not None:
            actions[field] = _button(layout, button, field)
    parts = (subject, body, _as_json(mapping(actions)), _as_json(layout.data(step.data)))
    code: list[str | int] = ["("]
    for part in parts:
        code += [*part.code, ", "]
    return Made((*code, ")"))


def _email(layout: Layout, step: Any) -> Value:
    html = Known(None) if step.html is None else layout.text(step.html, "html", html=True)
    return mapping(
        {"subject": layout.line(step.subject, "subject"), "text": layout.text(step.body, "body"), "html": html}
    )


def _push(layout: Layout, step: Any) -> Value:
    texts = {"title": layout.line(step.title, "title"), "body": layout.text(step.body, "body")}
    return mapping(texts | {"data": layout.data(step.data)})


def _body(layout: Layout, step: Any) -> Value:
    return mapping({"body": layout.text(step.body, "body")})


LAYOUTS: dict[str, Callable[[Layout, Any], Value]] = {
    "in_app": _in_app,
    "email": _email,
    "sms": _body,
    "push": _push,
    "chat": _body,
}
"""What each kind's rendering is: four columns of the message's row for in-app, named fields for the outside."""
