"""The value types of the public surface that more than one room speaks: recipients, payloads, spans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from enum import Enum
from typing import Any, ClassVar, Protocol, TypeAlias, TypedDict

from pydantic import BaseModel
from sqlalchemy import SelectBase
from typing_extensions import ParamSpec, TypeVar

Json: TypeAlias = Mapping[str, Any]


class IsDataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


M = TypeVar("M", bound=BaseModel | IsDataclass | Mapping[str, Any], default=Json)
"""The payload. Bounded, or `payload="x"` would pass."""
P = ParamSpec("P", default=...)
"""The payload model's own arguments."""
R = TypeVar("R")


@dataclass(frozen=True, eq=False, repr=False)
class Value:
    """A frozen dataclass whose comparison, hash and text are written here once.

    `dataclass` would compile new ones for each class; with fifty classes that is a tenth of what an import may cost.
    """

    def __eq__(self, other: object) -> bool:
        """Of the same class, with equal fields."""
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        """That of the fields."""
        return hash(tuple(map(_hashable, _compared(self))))

    def __repr__(self) -> str:
        """How it is made, but for hidden fields."""
        shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
        return f"{type(self).__qualname__}({shown})"


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple([getattr(value, each.name) for each in fields(value) if each.compare])


def _hashable(value: Any) -> Any:
    """Something that can be hashed, equal for equal values: lists and mappings stand in many fields."""
    if isinstance(value, Mapping):
        return frozenset([(key, _hashable(each)) for key, each in value.items()])
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    if isinstance(value, BaseModel):
        return _hashable(vars(value))
    try:
        hash(value)
    except TypeError:
        return type(value)
    return value


class Unset(Enum):
    """The type of an argument left out, where None means something."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        """The name to import."""
        return "UNSET"


UNSET = Unset.UNSET


class HasSubscriberId(Protocol):
    """A host's own row that stands for a subscriber."""

    @property
    def subscriber_id(self) -> str:
        """The subscriber's id."""
        ...


Who: TypeAlias = str | HasSubscriberId


@dataclass(frozen=True, eq=False, repr=False)
class Topic(Value):
    """Everybody in a topic, but for those excluded.

    Attributes:
        key: The topic's key.
        exclude: Subscriber ids left out of this topic; a member of another topic in the same trigger is served.
    """

    key: str
    exclude: Sequence[str] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Everyone(Value):
    """Every subscriber of the scope: a broadcast."""


@dataclass(frozen=True, eq=False, repr=False)
class Recipient(Value):
    """A recipient with facts of its own; without an id it is an address only, and no subscriber is kept.

    Attributes:
        subscriber_id: The subscriber's id, or None for an address only.
        email: Where e-mail goes; facts left out keep what is stored, None included (clear by `subscribers.upsert`).
        phone: Where SMS goes.
        first_name: Given name.
        last_name: Family name.
        avatar: URL of a picture.
        locale: Such as `en_GB`.
        timezone: Such as `Europe/Paris`.
        data: Facts of the host's own; replaces what is stored as a whole.
        channels: Push and chat addresses: `{"provider": ..., "credentials": {...}}`.
        payload: This recipient's own payload fields, merged over the call's.
    """

    subscriber_id: str | None = None
    _: KW_ONLY
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    avatar: str | None = None
    locale: str | None = None
    timezone: str | None = None
    data: Json | None = None
    channels: Iterable[Json] = ()
    payload: Json | None = None


One: TypeAlias = str | HasSubscriberId | Recipient | Topic | Json
Recipients: TypeAlias = One | Everyone | SelectBase | Iterable[One]
Actor: TypeAlias = str | HasSubscriberId | Json
TenantRef: TypeAlias = str | Json


class Span(TypedDict, total=False):
    """The keywords of a time span, the same for steps and for the test kit's `travel`."""

    seconds: float
    minutes: float
    hours: float
    days: float
    weeks: float
    months: int


class TriggerOptions(TypedDict, total=False):
    """What a trigger may carry besides its workflow, recipients and payload."""

    actor: Actor
    tenant: TenantRef
    overrides: Json
    transaction_id: str


def subscriber_id_of(who: Any) -> str:
    """The trimmed subscriber id of a text or of a host's row.

    Args:
        who: A subscriber id, or anything with a `subscriber_id`.

    Returns:
        The id, trimmed; not checked further.

    Raises:
        TypeError: It is neither.
    """
    found = who if isinstance(who, str) else getattr(who, "subscriber_id", None)
    if not isinstance(found, str):
        raise TypeError(f"a subscriber id or something with a `subscriber_id` is expected, not {type(who).__name__}")
    return found.strip()
