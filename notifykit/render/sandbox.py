"""The Jinja environment of templates: immutable, strict, without anything that reads clocks, dice or files.

Templates are the developer's, what is filled in is anybody's: growth that data could cause is bounded before it
happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

from jinja2 import DictLoader, StrictUndefined
from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import BlockReference, Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace

GLOBALS = ("range", "dict", "namespace", "cycler", "joiner")

TEXT_LIMIT = 1_000_000
"""Characters that one rendering may have."""
NUMBER_LIMIT = 100_000
"""The largest width or count that a filter takes."""
BITS_LIMIT = 4096

LEFT_OUT = {"random", "pprint", "attr", "xmlattr", "filesizeformat", "wordwrap", "urlize"}
"""Filters that templates do not have: dice, private state, markup."""
WIDE = re.compile(r"%[^a-zA-Z%]*(?:\d{4,}|\*)")
GROWING = {"center", "encode", "expandtabs", "format", "format_map", "join", "ljust", "maketrans", "replace", "rjust"}
"""Methods of text that make much out of little, or something that is no text."""
TEXT_METHODS = frozenset(name for name in dir(str) if name[0] != "_") - GROWING - {"translate", "zfill"}
METHODS: dict[type, frozenset[str]] = {
    str: TEXT_METHODS,
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
}
"""The methods that a template may call on plain data."""
OF_JINJA = (LoopContext, TemplateModule, BlockReference, Cycler, Joiner, Namespace)
"""What else has attributes that a template may see: loops, imported templates, blocks, and what its globals make."""


class Absent(StrictUndefined):
    """An undefined value whose error says the bare name: whoever catches it knows the path."""

    @property
    def _undefined_message(self) -> str:
        return self._undefined_hint or str(self._undefined_name)


class Sandbox(ImmutableSandboxedEnvironment):
    """Templates see plain data: items before attributes, and few methods."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, templates: Mapping[str, str] | None = None) -> None:
        """Make an environment.

        Args:
            templates: Named templates, which others may include, import and extend.
        """
        self.templates = templates or {}
        super().__init__(
            autoescape=False,
            undefined=Absent,
            keep_trailing_newline=True,
            optimized=False,
            loader=DictLoader(self.templates),
            cache_size=-1,
            auto_reload=False,
        )
        self.filters = {name: _guarded(name, FILTERS[name]) for name in FILTERS if name not in LEFT_OUT}
        self.globals = {name: self.globals[name] for name in GLOBALS}

    @cached_property
    def html(self) -> Sandbox:
        """The same environment for templates in which what is filled in is HTML-escaped."""
        return self.overlay(autoescape=True)

    def of(self, *, html: bool) -> Sandbox:
        """The environment of a template.

        Args:
            html: What is filled in is HTML-escaped.
        """
        return self.html if html else self

    def getattr(self, obj: Any, attribute: str) -> Any:
        """An item, else an attribute: `payload.items` is the payload's; four times as fast as the other order."""
        try:
            return obj[attribute]
        except (TypeError, LookupError, AttributeError):
            return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may see an attribute."""
        methods = METHODS.get(type(obj))
        if methods is not None:
            return attr in methods
        return isinstance(obj, OF_JINJA) and not attr.startswith("_")

    def wrap_str_format(self, value: Any) -> None:
        """No `format`: a width in it makes gigabytes of nothing; `%` and the filter are bounded."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute, unless the result would be huge."""
        if _grows_too_much(operator, left, right):
            _refuse(f"the result of `{operator}` would be too large")
        return super().call_binop(context, operator, left, right)


def _grows_too_much(operator: str, left: Any, right: Any) -> bool:
    if operator == "%":
        return isinstance(left, str) and WIDE.search(left) is not None
    for value, times in ((left, right), (right, left)):
        if isinstance(value, str | list | tuple) and isinstance(times, int):
            return len(value) * times > TEXT_LIMIT
    if isinstance(left, int) and isinstance(right, int):
        times = right if operator == "**" else 1
        return abs(times) > BITS_LIMIT or left.bit_length() * max(times, 1) > BITS_LIMIT
    return False


def _refuse(reason: str) -> NoReturn:
    raise SecurityError(reason)


def _guarded(name: str, filter: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at the size of its result before it makes it."""
    size = SIZES.get(name)
    if size is None:
        return filter
    look: Callable[..., int] = size
    passes = hasattr(filter, "jinja_pass_arg")

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if look(*args[1:] if passes else args, **kwargs) > TEXT_LIMIT:
            _refuse(f"the result of the filter {name!r} would be too large")
        return filter(*args, **kwargs)

    if passes:
        guarded.jinja_pass_arg = filter.jinja_pass_arg  # type: ignore[attr-defined]
    guarded.__name__ = name
    return guarded


def _size_of_replace(text: Any, old: Any, new: Any, count: int | None = None) -> int:
    text, old, new = str(text), str(old), str(new)
    found: int = text.count(old)
    return len(text) + len(new) * (found if count is None else min(found, int(count)))


def _size_of_join(values: Any, d: Any = "", attribute: Any = None) -> int:
    return len(values) * len(str(d)) if isinstance(values, Sequence | Mapping) else 0


def _size_of_numbers(*args: Any, **kwargs: Any) -> int:
    numbers = [one for one in (*args[1:], *kwargs.values()) if isinstance(one, int | float)]
    texts = [one for one in args[:2] if isinstance(one, str)]
    lines = texts[0].count("\n") + 1 if texts else 1
    widest = max((abs(one) for one in numbers), default=0)
    if len(texts) > 1:
        widest = max(widest, len(texts[1]))
    return TEXT_LIMIT + 1 if widest > NUMBER_LIMIT else int(widest) * lines


def _size_of_format(text: Any, *args: Any, **kwargs: Any) -> int:
    return TEXT_LIMIT + 1 if WIDE.search(str(text)) else 0


SIZES: dict[str, Callable[..., int]] = {
    "replace": _size_of_replace,
    "join": _size_of_join,
    "format": _size_of_format,
    **dict.fromkeys(("center", "indent", "batch", "slice", "truncate", "round"), _size_of_numbers),
}
"""How large the results of filters would be that can make much out of little."""

SANDBOX = Sandbox()
"""The environment of workflows without named templates."""
