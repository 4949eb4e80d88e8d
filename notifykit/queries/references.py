"""What the arguments of verbs refer to: ids and keys from outside, checked and found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import bindparam, select

from notifykit.errors import InputError, NotFoundError, nearest
from notifykit.ids import decode_id, is_generated
from notifykit.model.codes import CHANNELS, ChannelCode
from notifykit.model.tables import event, subscriber, tenant, workflow
from notifykit.model.values import Who
from notifykit.settings import KEY_LENGTH
from notifykit.store.statement import Statement
from notifykit.texts import UNSTORABLE
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow

ABSENT = -1
"""The id of what does not exist: a condition that it is put into finds nothing."""

FIND_SUBSCRIBER = Statement(
    select(subscriber.c.id).where(
        subscriber.c.environment == bindparam("environment"), subscriber.c.subscriber_id == bindparam("key")
    )
)
FIND_TENANT = Statement(
    select(tenant.c.id).where(tenant.c.environment == bindparam("environment"), tenant.c.identifier == bindparam("key"))
)
FIND_WORKFLOW = Statement(
    select(workflow.c.id).where(workflow.c.environment == bindparam("environment"), workflow.c.key == bindparam("key"))
)
FIND_GIVEN_EVENT = Statement(
    select(event.c.id).where(
        event.c.environment == bindparam("environment"), event.c.transaction_id == bindparam("key")
    )
)
FIND_EVENT = Statement(
    select(event.c.id).where(
        event.c.id == bindparam("number"),
        event.c.environment == bindparam("environment"),
        event.c.transaction_id.is_(None),
    )
)


def key_text(value: Any, field: str) -> str:
    """An id or key from outside, trimmed.

    Args:
        value: What was given.
        field: What it is called where it was given.

    Raises:
        InputError: It is not a text of 1 to 255 characters without control characters.
    """
    if not isinstance(value, str):
        raise InputError(f"{field}: a text is expected, not {type(value).__name__}", field=field)
    key = str.strip(value)  # of a subclass only the letters count
    if problem := key_problem(key):
        raise InputError(f"{field}: {problem}", field=field)
    return key


def key_problem(key: str) -> str | None:
    """What is wrong with a trimmed id or key from outside, as the end of a sentence, or None."""
    if not 1 <= len(key) <= KEY_LENGTH:
        return f"a text of 1 to {KEY_LENGTH} characters is expected"
    if key.isascii() and key.isprintable():
        return None
    return "control characters and half surrogate pairs are not allowed" if UNSTORABLE.search(key) else None


def subscriber_key(who: Who, field: str = "subscriber") -> str:
    """The trimmed subscriber id of a text or of a host's row.

    Raises:
        InputError: It is neither, or no valid id.
    """
    found = who if isinstance(who, str) else getattr(who, "subscriber_id", None)
    if not isinstance(found, str):
        raise InputError(
            f"{field}: a subscriber id, or an object with a `subscriber_id`, is expected, not {type(who).__name__}",
            field=field,
        )
    return key_text(found, field)


def as_list(values: Any) -> Iterable[Any]:
    """The values, a lone text or host's row as one of them: iterating a text would give its letters."""
    return values if isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping)) else (values,)


def workflow_key(given: str | Workflow[Any, ...], field: str = "workflow") -> str:
    """The key of a workflow, or of its definition."""
    return given.key if isinstance(given, Workflow) else key_text(given, field)


def subscriber_row(unit: Unit, key: str) -> int:
    """The id of a subscriber's row, or `ABSENT`."""
    return _found(FIND_SUBSCRIBER.row(unit, environment=unit.environment, key=key))


def scope_row(unit: Unit) -> int | None:
    """The id of the tenant that the notifier is scoped to: None without a scope, `ABSENT` for an unknown tenant."""
    return None if unit.tenant is None else _found(FIND_TENANT.row(unit, environment=unit.environment, key=unit.tenant))


def in_scope(unit: Unit, environment: int, tenant: int, scope: int | None) -> bool:
    """Whether a row's environment and tenant are seen by this unit, whose tenant's row is `scope`."""
    return environment == unit.environment and scope in {None, tenant}


def workflow_row(unit: Unit, key: str) -> int:
    """The id of a workflow's row, or `ABSENT` where it was never stored."""
    found = FIND_WORKFLOW.row(unit, environment=unit.environment, key=key)
    if found is None and (known := unit.registry.stored.get((unit.environment, key))):
        return known.workflow_id  # a host's snapshot may be older than what this process knows
    return _found(found)


def event_row(unit: Unit, transaction_id: str) -> int:
    """The id of the event of a transaction id, given or generated, or `ABSENT`."""
    key = key_text(transaction_id, "transaction_id")
    if not is_generated(key):
        return _found(FIND_GIVEN_EVENT.row(unit, environment=unit.environment, key=key))
    try:
        number = decode_id("txn", key)
    except NotFoundError:
        return ABSENT
    return _found(FIND_EVENT.row(unit, environment=unit.environment, number=number))


def channel_code(word: str, field: str = "channel") -> int:
    """The number of a channel's name.

    Raises:
        InputError: There is no such channel.
    """
    if word not in CHANNELS:
        raise InputError(f"{field}: {word!r} is not a channel.{nearest(str(word), CHANNELS)}", field=field)
    return ChannelCode.of(word).value


def status_codes(words: str | Sequence[str], known: type[IntEnum], field: str = "status") -> list[int]:
    """The numbers of the names of statuses.

    Raises:
        InputError: One of them does not exist.
    """
    names = {status.name.lower(): status.value for status in known}
    for word in as_list(words):
        if word not in names:
            raise InputError(f"{field}: {word!r} is not a status.{nearest(str(word), names)}", field=field)
    return sorted({names[word] for word in as_list(words)})


def require_aware(moment: Any, field: str) -> datetime:
    """A time from outside.

    Raises:
        InputError: It is no time, or one without a timezone.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InputError(f"{field}: a datetime with a timezone is expected, not {moment!r}", field=field)
    return moment


def _found(row: tuple[Any, ...] | None) -> int:
    return ABSENT if row is None else int(row[0])
