"""Overrides: what one trigger changes of its steps.

Those of a channel that a delivery understands are checked, as a bad one would only be noticed when the message fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from notifykit.errors import InputError, nearest
from notifykit.model.values import Json
from notifykit.texts import is_email_address, label, quoted
from notifykit.workflow.definition import Workflow
from notifykit.workflow.payload import plain
from notifykit.workflow.span import UNITS, problem
from notifykit.workflow.steps import Step

Check = Callable[[Any, str], Any]
"""Takes a value and its path, gives what is kept of it, raises InputError."""

HEADER_NAME = re.compile(r"[!-9;-~]+")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
HEADER_BYTES = 998
STEPS = "steps"


def refuse(path: str, message: str) -> InputError:
    """The error for a refused override."""
    return InputError(f"{path}: {message}", field=path)


def text(value: Any, path: str) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise refuse(path, f"a text is expected, not {type(value).__name__}")
    return value


def one_line(value: Any, path: str) -> str:
    """A text that may stand in a header."""
    if CONTROLS.search(text(value, path)):
        raise refuse(path, "control characters and line breaks are not allowed")
    return str(value)


def headline(value: Any, path: str) -> str:
    """A subject or title; as in templates, its control characters are left out."""
    return CONTROLS.sub("", text(value, path))


def address(value: Any, path: str) -> str:
    """One e-mail address."""
    if not is_email_address(value):
        wanted = "one local@domain without space, comma or control character is expected"
        raise refuse(path, f"{wanted}, not {quoted(value)}")
    return value


def addresses(value: Any, path: str) -> list[str]:
    """One e-mail address, or a list of them."""
    if isinstance(value, str):
        return [address(value, path)]
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise refuse(path, f"an address or a list of them is expected, not {type(value).__name__}")
    return [address(one, f"{path}.{at}") for at, one in enumerate(value)]


def mapping(value: Any, path: str) -> dict[str, Any]:
    """A mapping of plain JSON."""
    if not isinstance(value, Mapping):
        raise refuse(path, f"a mapping is expected, not {type(value).__name__}")
    return plain(value, path)[0]


def headers(value: Any, path: str) -> dict[str, str]:
    """E-mail headers: names and values that cannot smuggle others in."""
    found = mapping(value, path)
    for name, content in found.items():
        if not HEADER_NAME.fullmatch(name):
            raise refuse(f"{path}.{quoted(name)}", "a header's name has only printable ASCII characters and no colon")
        if len(one_line(content, f"{path}.{name}").encode()) > HEADER_BYTES:
            raise refuse(f"{path}.{name}", f"a header has at most {HEADER_BYTES} bytes")
    return found


def number(value: Any, path: str) -> float:
    """An amount of time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(path, f"a number is expected, not {type(value).__name__}")
    return value


def unit(value: Any, path: str) -> str:
    """A unit of time."""
    if value not in UNITS:
        raise refuse(path, f"{quoted(value)} is no unit of time.{nearest(label(value), UNITS)}")
    return str(value)


CHANGEABLE: Mapping[str, Mapping[str, Check]] = {
    "email": {
        "to": addresses,
        "cc": addresses,
        "bcc": addresses,
        "from": one_line,
        "reply_to": address,
        "subject": headline,
        "html": text,
        "text": text,
        "headers": headers,
    },
    "sms": {"body": text},
    "chat": {"body": text},
    "push": {"title": headline, "body": text, "data": mapping},
    "delay": {"amount": number, "unit": unit},
}
"""What a trigger can change, by kind of step. Other keys name providers and are kept for the delivery."""
PASSED_ON: Mapping[str, frozenset[str]] = {
    "email": frozenset({"senderName", "customData", "ipPoolName", "integrationIdentifier"}),
    "sms": frozenset({"to", "from", "customData", "integrationIdentifier"}),
    "chat": frozenset({"customData", "integrationIdentifier"}),
    "push": frozenset({"deviceTokens", "customData", "integrationIdentifier"}),
}
"""What the reference API knows besides; passed on to the providers, which are what obeys it."""
ALIASES = {"replyTo": "reply_to", "content": "body"}


def check(overrides: Any, workflow: Workflow[Any, ...]) -> Json | None:
    """Overrides in the form in which they are kept; a wrong value under a known key is refused, never ignored.

    Args:
        overrides: Of a trigger: `{"email": {...}, "delay": {...}, "steps": {"mail": {...}}}`.
        workflow: Whose steps they may name.

    Raises:
        InputError: A value is refused; names its path.
    """
    if overrides is None:
        return None
    kept: dict[str, Any] = {}
    for name, value in mapping(overrides, "overrides").items():
        path = f"overrides.{name}"
        if name == STEPS:
            kept[name] = _check_steps(value, path, workflow)
        else:
            kept[name] = _check_kind(name, value, path) if name in CHANGEABLE else value
    return kept or None


def for_step(overrides: Json | None, step: Step) -> Json:
    """What overrides change of one step: those of its kind, and over them those of its own.

    A delay that waits for a time keeps it, unless its own step is named.

    Args:
        overrides: As `check` kept them, or None.
        step: The step.
    """
    if not overrides:
        return {}
    general, own = overrides.get(step.kind), (overrides.get(STEPS) or {}).get(step.id)
    if not step.takes_general_overrides:
        general = None
    return {**(general or {}), **(own or {})}


def _check_steps(value: Any, path: str, workflow: Workflow[Any, ...]) -> dict[str, Any]:
    kept = {}
    for id, changes in mapping(value, path).items():
        step = workflow.step(id)
        if step is None:
            raise refuse(f"{path}.{id}", f"there is no such step.{nearest(id, [each.id for each in workflow.steps])}")
        kept[id] = _check_kind(step.kind, changes, f"{path}.{id}") if step.kind in CHANGEABLE else changes
    return kept


def _check_kind(kind: str, value: Any, path: str) -> dict[str, Any]:
    checks = CHANGEABLE[kind]
    kept: dict[str, Any] = {}
    for written, content in mapping(value, path).items():
        name = written if written in checks else ALIASES.get(written, written)
        if written in PASSED_ON.get(kind, ()):
            kept[written] = content
            continue
        if name not in checks:
            raise refuse(f"{path}.{written}", f"nothing of this name can be changed.{nearest(name, checks)}")
        kept[name] = checks[name](content, f"{path}.{written}")
    if kind == "delay":
        _check_span(kept, path)
    return kept


def _check_span(kept: dict[str, Any], path: str) -> None:
    """A delay is changed as a whole: an amount and its unit."""
    for name in ("amount", "unit"):
        if name not in kept:
            raise refuse(f"{path}.{name}", "amount and unit belong together")
    if wrong := problem({kept["unit"]: kept["amount"]}):
        raise refuse(f"{path}.amount", wrong)
