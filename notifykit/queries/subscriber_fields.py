"""What is known of a subscriber: each field checked, wire names understood, and merged over what is stored.

Everything here is pure; `subscriber_rows` writes what comes out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any
from zoneinfo import available_timezones

from notifykit.errors import InputError, nearest
from notifykit.model.subscriber import EPHEMERAL
from notifykit.model.values import UNSET
from notifykit.queries.references import key_text
from notifykit.results import Problem
from notifykit.texts import EMAIL_BYTES, UNSTORABLE, is_email_address, label, quoted, unstorable
from notifykit.workflow.payload import plain

Row = tuple[Any, ...]
"""A subscriber as the statements of the hot way read it; the data decoded."""
FIELDS = ("email", "phone", "first_name", "last_name", "avatar", "locale", "timezone", "data")
ROW = ("id", "subscriber_id", *FIELDS)
PLACES = {name: at for at, name in enumerate(ROW)}
NOTHING: Row = (None,) * len(FIELDS)

WIRE_NAMES = {
    **{name: name for name in (*FIELDS, "channels")},
    "firstName": "first_name",
    "lastName": "last_name",
}
ID_NAMES = ("subscriber_id", "subscriberId")
PROVIDER_NAMES = ("provider", "providerId", "provider_id")
INTEGRATION_NAMES = ("integration", "integrationIdentifier", "integration_identifier")
CREDENTIAL_NAMES = {"webhookUrl": "webhook_url", "deviceTokens": "device_tokens"}
CHANNEL_NAMES = (*PROVIDER_NAMES, *INTEGRATION_NAMES, "credentials")
TOKENS = "device_tokens"

TEXT_LENGTH = 1000
TOKEN_LENGTH = 4096
LOCALE = re.compile(
    r"[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|\d{3}))?([-_]([A-Za-z0-9]{5,8}|\d[A-Za-z0-9]{3}))*", re.ASCII
)
EMPTIED = frozenset({"email", "phone", "locale", "timezone"})
"""Fields in which an empty text is none."""
KEPT_BY_NULL = frozenset(FIELDS) - {"email"}
"""Fields that a null on the wire leaves alone."""


@dataclass(frozen=True, slots=True)
class GivenChannel:
    """One push or chat address as given.

    Attributes:
        integration: `''` where none is named.
        credentials: All but the device tokens.
        tokens: Device tokens, without repetitions; None where none are named, empty to clear them.
    """

    provider: str
    integration: str
    credentials: Mapping[str, Any] = field(repr=False)
    tokens: tuple[str, ...] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class GivenSubscriber:
    """What one call says of a subscriber, checked: only the fields that change something."""

    subscriber_id: str
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    channels: tuple[GivenChannel, ...] = ()

    @property
    def is_bare(self) -> bool:
        """Nothing but the id is given: an existing subscriber stays as it is."""
        return not self.fields and not self.channels


def parse(subscriber_id: Any, facts: Mapping[str, Any]) -> GivenSubscriber:
    """The fields of a Python call: `UNSET` keeps, None clears.

    Raises:
        InputError: A value is refused.
    """
    key = key_text(subscriber_id, "subscriber_id")
    given = {name: checked(name, value, name) for name, value in facts.items() if value is not UNSET}
    return GivenSubscriber(key, given, given.pop("channels", None) or ())


def parse_many(wires: Sequence[Any]) -> list[GivenSubscriber | list[Problem]]:
    """Subscribers as they come on the wire: null clears `email` and keeps every other field.

    Both spellings of each name are understood; what else a dictionary holds is refused.

    Args:
        wires: Mappings with a `subscriberId`.

    Returns:
        In the same order what is given, or what is wrong with it.
    """
    return [_parsed(wire) for wire in wires]


def read_facts(facts: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[GivenChannel, ...], list[Problem]]:
    """The fields and channels of one dictionary by the rules of the wire, and every problem with them."""
    given: dict[str, Any] = {}
    channels: tuple[GivenChannel, ...] = ()
    problems: list[Problem] = []
    for written, value in facts.items():
        name = WIRE_NAMES.get(written)
        if name is None and written not in ID_NAMES:
            problems.append(
                Problem(label(written), f"a subscriber has no such field.{nearest(label(written), WIRE_NAMES)}")
            )
        if name is None or (value is None and name in KEPT_BY_NULL):
            continue
        try:
            if name == "channels":
                channels = checked(name, value, written) or ()
            else:
                given[name] = checked(name, value, written)
        except InputError as error:
            problems.append(_problem(error))
    return given, channels, problems


def checked(name: str, value: Any, path: str) -> Any:
    """One field's value as it is stored.

    Args:
        name: The field.
        value: What was given; None is none, for every field.
        path: What errors call it.

    Raises:
        InputError: The value is refused.
    """
    if value is None or (value == "" and name in EMPTIED):
        return None
    return RULES[name](value, path)


def merge(stored: Row | None, given: GivenSubscriber) -> Row:
    """A subscriber's row with what was given laid over what is stored; `data` is replaced as a whole.

    Args:
        stored: In the order of `ROW`, or None for a new subscriber.
        given: What a call says.

    Returns:
        The row; its id is 0 as long as it has none.
    """
    row = (0, given.subscriber_id, *NOTHING) if stored is None else stored
    if not given.fields:
        return row
    cells = list(row)
    for name, value in given.fields.items():
        cells[PLACES[name]] = value
    return tuple(cells)


def view(row: Row) -> dict[str, Any]:
    """A subscriber as templates and conditions see it; the id of an address without a subscriber is `''`."""
    _, key, email, phone, first_name, last_name, avatar, locale, timezone, data = row
    return {
        "subscriber_id": "" if key[0] == EPHEMERAL else key,
        "email": email,
        "phone": phone,
        "first_name": first_name,
        "last_name": last_name,
        "avatar": avatar,
        "locale": locale,
        "timezone": timezone,
        "data": data or {},
    }


def token_hash(token: str) -> str:
    """What a device token is found by: a key has room for 255 characters, a token may need more."""
    return sha256(token.encode()).hexdigest()


def _parsed(wire: Any) -> GivenSubscriber | list[Problem]:
    if not isinstance(wire, Mapping):
        return [Problem("", f"a mapping with a subscriberId is expected, not {type(wire).__name__}")]
    fields, channels, problems = read_facts(wire)
    try:
        key = _wire_key(wire)
    except InputError as error:
        return [_problem(error), *problems]
    return problems or GivenSubscriber(key, fields, channels)


def _wire_key(wire: Mapping[str, Any]) -> str:
    name = next((name for name in ID_NAMES if name in wire), "subscriberId")
    value = wire.get(name)
    return key_text(str(value) if type(value) is int and abs(value) < 2**63 else value, name)


def _problem(error: InputError) -> Problem:
    return Problem(error.field, str(error).removeprefix(f"{error.field}: "))


def checked_text(value: Any, path: str) -> str:
    """A text that can be stored, of at most 1,000 characters.

    Raises:
        InputError: It is none.
    """
    if not isinstance(value, str):
        raise InputError(f"{path}: a text is expected, not {type(value).__name__}", field=path)
    text = str.__str__(value)
    if len(text) > TEXT_LENGTH:
        raise InputError(f"{path}: at most {TEXT_LENGTH} characters are kept, not {len(text)}", field=path)
    if unstorable(text):
        raise InputError(f"{path}: NUL and half surrogate pairs cannot be stored", field=path)
    return text


def checked_email(value: Any, path: str) -> str:
    """An e-mail address.

    Raises:
        InputError: It is not one `local@domain` without space, comma or control character, of at most 254 bytes.
    """
    if not is_email_address(value):
        raise InputError(
            f"{path}: one local@domain without space, comma or control character, of at most {EMAIL_BYTES} bytes, "
            f"is expected, not {quoted(value)}",
            field=path,
        )
    return value


def _phone(value: Any, path: str) -> str:
    number = checked_text(value, path)
    if UNSTORABLE.search(number):
        raise InputError(f"{path}: control characters are not allowed", field=path)
    return number


def _locale(value: Any, path: str) -> str:
    if not isinstance(value, str) or not LOCALE.fullmatch(value):
        raise InputError(
            f"{path}: a locale such as 'en', 'en_GB', 'zh-Hans-CN' is expected, not {quoted(value)}", field=path
        )
    return value


def _timezone(value: Any, path: str) -> str:
    if not isinstance(value, str) or value not in _timezones():
        hint = nearest(value, _timezones()) if isinstance(value, str) and len(value) < 80 else ""
        raise InputError(f"{path}: {quoted(value)} is not the name of a timezone.{hint}", field=path)
    return value


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def checked_data(value: Any, path: str) -> dict[str, Any]:
    """Facts of the host's own as plain JSON.

    Raises:
        InputError: It is no mapping, or holds what JSON cannot.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{path}: a mapping is expected, not {type(value).__name__}", field=path)
    return plain(value, path)[0]


def _channels(value: Any, path: str) -> tuple[GivenChannel, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InputError(f"{path}: a list of channels is expected, not {type(value).__name__}", field=path)
    return tuple(_channel(item, f"{path}.{at}") for at, item in enumerate(value))


def _channel(item: Any, path: str) -> GivenChannel:
    if not isinstance(item, Mapping):
        raise InputError(f"{path}: a mapping with a provider is expected, not {type(item).__name__}", field=path)
    for name in item:
        if name not in CHANNEL_NAMES:
            raise InputError(
                f"{path}.{label(name)}: a channel has no such field.{nearest(label(name), CHANNEL_NAMES)}",
                field=f"{path}.{label(name)}",
            )
    provider = _named(item, PROVIDER_NAMES)
    integration = _named(item, INTEGRATION_NAMES)
    credentials = item.get("credentials")
    where = f"{path}.credentials"
    given = {CREDENTIAL_NAMES.get(name, name): value for name, value in checked_data(credentials or {}, where).items()}
    tokens = given.pop(TOKENS, None)
    for name in ("webhook_url", "channel"):
        if given.get(name) is not None:
            _phone(given[name], f"{where}.{name}")
    return GivenChannel(
        provider=key_text(provider, f"{path}.provider"),
        integration="" if integration is None else key_text(integration, f"{path}.integration"),
        credentials=given,
        tokens=None if tokens is None else _tokens(tokens, f"{where}.{TOKENS}"),
    )


def _tokens(value: Any, path: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InputError(f"{path}: a list of device tokens is expected, not {type(value).__name__}", field=path)
    for at, token in enumerate(value):
        if not isinstance(token, str) or not 1 <= len(token) <= TOKEN_LENGTH or UNSTORABLE.search(token):
            raise InputError(
                f"{path}.{at}: a text of 1 to {TOKEN_LENGTH} characters without control characters is expected",
                field=f"{path}.{at}",
            )
    return tuple(dict.fromkeys(value))


def _named(item: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


RULES: Mapping[str, Callable[[Any, str], Any]] = {
    "email": checked_email,
    "phone": _phone,
    "first_name": checked_text,
    "last_name": checked_text,
    "avatar": checked_text,
    "locale": _locale,
    "timezone": _timezone,
    "data": checked_data,
    "channels": _channels,
}
"""How each field is checked."""
