"""Where a subscriber is reached, as of now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from notifykit.model import SubscriberChannel
from notifykit.model.codes import Channel
from notifykit.queries.subscriber_fields import TOKENS
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

DEVICES = Statement(
    select(col(SubscriberChannel.subscriber), col(SubscriberChannel.token_hash), col(SubscriberChannel.credentials))
    .where(any_of(SubscriberChannel.subscriber, "ids"))
    .order_by(col(SubscriberChannel.id))
)


@dataclass(slots=True)
class Addresses:
    """Where one subscriber is reached; of several webhooks the one added last."""

    email: str | None = None
    phone: str | None = None
    tokens: tuple[str, ...] = ()
    webhook_url: str | None = None

    def reach(self, channel: Channel) -> bool:
        """Whether there is an address for a channel."""
        return bool(getattr(self, FIELDS[channel]))


FIELDS: dict[str, str] = {"email": "email", "sms": "phone", "push": "tokens", "chat": "webhook_url"}
"""Where the address of a channel stands."""


@dataclass(slots=True)
class Devices:
    """Tokens and webhook of one subscriber."""

    tokens: tuple[str, ...] = ()
    webhook_url: str | None = None


def devices(unit: Unit, subscribers: Collection[int]) -> Mapping[int, Devices]:
    """The device tokens and webhooks of subscribers, in one query.

    Args:
        unit: Any unit.
        subscribers: Ids of `subscriber` rows.
    """
    found: dict[int, Devices] = {}
    for subscriber, token_hash, credentials in DEVICES.rows(unit, ids=sorted(subscribers)) if subscribers else ():
        known = found.get(subscriber, Devices())
        if token_hash:
            found[subscriber] = Devices((*known.tokens, *credentials[TOKENS]), known.webhook_url)
        elif url := credentials.get(WEBHOOK):
            found[subscriber] = Devices(known.tokens, url)
    return found


WEBHOOK = "webhook_url"


def addresses(subscriber: Mapping[str, Any], reached: Devices | None) -> Addresses:
    """Everything known about reaching a subscriber."""
    email, phone = subscriber.get("email"), subscriber.get("phone")
    if reached is None:
        return Addresses(email, phone)
    return Addresses(email, phone, tuple(sorted(reached.tokens)), reached.webhook_url)
