"""Where subscribers are reached, as of now: one rule for the step, the claim and `explain`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from notifykit.model.codes import Channel
from notifykit.model.tables import subscriber_channel
from notifykit.queries.subscriber_fields import PLACES, TOKENS, GivenChannel
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

DEVICES = Statement(
    select(
        subscriber_channel.c.subscriber,
        subscriber_channel.c.provider,
        subscriber_channel.c.integration,
        subscriber_channel.c.token_hash,
        subscriber_channel.c.credentials,
    )
    .where(any_of(subscriber_channel.c.subscriber, "ids"))
    .order_by(subscriber_channel.c.id)
)
DEVICE_CHANNELS = frozenset({"push", "chat"})
"""Channels whose addresses are rows of their own."""
OWN_FIELD: dict[Channel, int] = {"email": PLACES["email"], "sms": PLACES["phone"]}
"""Where a subscriber's row has the address of a channel."""
WEBHOOK = "webhook_url"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One place that a message goes to.

    Attributes:
        address: An e-mail address, a phone number, a device token or a webhook's URL.
        provider: Whose address it is; `''` where any provider may serve it.
        integration: The integration that alone may serve it, or `''`.
    """

    address: str = field(repr=False)
    provider: str = ""
    integration: str = ""


Row = Sequence[Any]
"""A subscriber's row in the order of `subscriber_fields.ROW`."""


@dataclass(slots=True)
class Addresses:
    """Where the subscribers of a chunk are reached.

    Attributes:
        push: Device tokens by subscriber.
        chat: By subscriber the webhooks, of which the one that was added last counts.
    """

    push: dict[int, list[Target]] = field(default_factory=dict)
    chat: dict[int, list[Target]] = field(default_factory=dict)

    def reaches(self, person: Row, channel: Channel, overrides: Mapping[str, Any]) -> bool:
        """Whether there is a target; cheaper than asking which.

        Args:
            person: The subscriber's row.
            channel: An outside channel.
            overrides: What the trigger overrides at this step: an e-mail may name more addresses.
        """
        return bool(self._stored(person, channel) or (channel == "email" and overrides.get("to")))

    def targets(self, person: Row, channel: Channel, overrides: Mapping[str, Any]) -> tuple[Target, ...]:
        """Where a message goes: the subscriber's own addresses, then those that the trigger adds; each once.

        Args:
            person: The subscriber's row.
            channel: An outside channel.
            overrides: What the trigger overrides at this step.
        """
        stored = self._stored(person, channel)
        own = [Target(stored)] if isinstance(stored, str) else sorted(stored or ())
        added = overrides.get("to", ()) if channel == "email" else ()
        return tuple(dict.fromkeys([*own, *map(Target, added)]))

    def add(self, subscriber: int, channels: Iterable[GivenChannel]) -> None:
        """Count push and chat addresses that a trigger gives as if they were stored."""
        for channel in channels:
            self._add(subscriber, channel.provider, channel.integration, channel.tokens or (), channel.credentials)

    def _add(
        self, subscriber: int, provider: str, integration: str, tokens: Sequence[str], credentials: Mapping[str, Any]
    ) -> None:
        if tokens:
            self.push.setdefault(subscriber, []).extend(Target(token, provider, integration) for token in tokens)
        if url := credentials.get(WEBHOOK):
            self.chat.setdefault(subscriber, []).append(Target(url, provider, integration))

    def _stored(self, person: Row, channel: Channel) -> str | Sequence[Target] | None:
        """The subscriber's own address, or targets."""
        if (place := OWN_FIELD.get(channel)) is not None:
            address: str | None = person[place]
            return address
        return self.push.get(person[0]) if channel == "push" else self.chat.get(person[0], [])[-1:]


def load(unit: Unit, subscribers: Collection[int]) -> Addresses:
    """Load the device tokens and webhooks of subscribers, in one statement.

    Args:
        unit: Any unit.
        subscribers: Ids of `subscriber` rows; without one nothing is asked.
    """
    found = Addresses()
    for subscriber, provider, integration, token_hash, credentials in (
        DEVICES.rows(unit, ids=sorted(subscribers)) if subscribers else ()
    ):
        tokens = credentials[TOKENS] if token_hash else ()
        found._add(subscriber, provider, integration, tokens, {} if token_hash else credentials)
    return found
