"""Every error, one tree. A message says what, which field or key, and what to do.

```
NotifyKitError
├── DefinitionError              a workflow is refused at registration
├── ConfigurationError           a URL, extra, provider or option is missing or wrong
│   └── SchemaError              the database is older or newer than the library
├── InputError (ValueError)      a value is refused
│   └── PayloadError             a payload does not fit its workflow
├── NotFoundError (LookupError)  no such workflow, subscriber, message and so on
├── ConflictError                a key that must be new exists, or a choice meets a lock
├── TriggerError                 `raise_for_status` on a result that is not `processed`
├── UnitError                    a transaction is used in the wrong way
├── StorageError                 the database is locked, full, read-only, corrupt or gone
└── DeliveryError                raised by hooks and providers
    ├── PermanentDeliveryError   not tried again
    └── TransientDeliveryError   tried again
```
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

RetryAfter: TypeAlias = float | Decimal | str | timedelta | datetime | None
"""When another attempt makes sense: seconds as a number or text, a span, an aware time, or an HTTP date."""


class NotifyKitError(Exception):
    """The root of every error that notifykit raises."""


class DefinitionError(NotifyKitError):
    """A workflow is refused at registration: step, template, place, nearest valid name."""


class RenderError(NotifyKitError):
    """A template met something it cannot render; the message names the variable.

    Attributes:
        variable: The path of the variable that is undefined, or None where that is not the reason.
    """

    def __init__(self, message: str, *, variable: str | None = None) -> None:
        super().__init__(message)
        self.variable = variable


class ConfigurationError(NotifyKitError):
    """A URL, extra, provider or option is missing or wrong."""


class SchemaError(ConfigurationError):
    """The database is older or newer than the library; names the command."""


class InputError(NotifyKitError, ValueError):
    """A value is refused; names the field.

    Attributes:
        field: The path of the refused value, such as `payload.order` or `to.0.email`; `''` where there is none.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class PayloadError(InputError):
    """A payload does not fit its workflow; every bad field is named.

    Attributes:
        problems: The path of every bad field with what is wrong with it.
    """

    def __init__(self, message: str, *, field: str = "", problems: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, field=field)
        self.problems = problems


class NotFoundError(NotifyKitError, LookupError):
    """No such workflow, subscriber, message and so on."""


class ConflictError(NotifyKitError):
    """A key that must be new exists, or a choice meets a lock."""


class TriggerError(NotifyKitError):
    """`raise_for_status` on a result that is not `processed`."""


class UnitError(NotifyKitError):
    """A transaction is used in the wrong way: re-entry, a closed session, another notifier's kind."""


class StorageError(NotifyKitError):
    """The database is locked, full, read-only, corrupt or gone."""


class DeliveryError(NotifyKitError):
    """Raised by hooks and providers.

    Attributes:
        status_code: What the outside answered with, kept with the attempt; None where it did not answer.
    """

    def __init__(self, *args: object, status_code: int | None = None) -> None:
        super().__init__(*args)
        self.status_code = status_code


class PermanentDeliveryError(DeliveryError):
    """Not tried again."""


class TransientDeliveryError(DeliveryError):
    """Tried again, not before `retry_after`.

    Attributes:
        retry_after: Before which the next attempt makes no sense: seconds as a number or as text, a timedelta, an
            aware datetime, the text of an HTTP date, or None. More than an hour means an hour; what is negative, NaN
            or not understood means the usual back-off, and the attempt's error says so.
    """

    def __init__(self, message: str = "", *, retry_after: RetryAfter = None, status_code: int | None = None) -> None:
        super().__init__(message, status_code=status_code)
        self.retry_after = retry_after


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of a sentence that proposes the nearest valid name, or lists what there is.

    Args:
        name: What was written.
        valid: What could have been written.

    Returns:
        A text that starts with a blank and ends a sentence, or `''` where nothing is valid.
    """
    from difflib import get_close_matches  # needed by mistakes only

    names = sorted(valid)
    if close := get_close_matches(name, names, n=1):
        return f" Did you mean {close[0]!r}?"
    return f" There is {', '.join(map(repr, names[:12]))}." if names else ""
