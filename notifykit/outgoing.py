"""What goes out: the messages that delivery hooks and providers get, and what they answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from notifykit.model.codes import Channel
from notifykit.model.values import Json, Value


@dataclass(frozen=True, eq=False, repr=False)
class OutgoingMessage(Value):
    """What every delivery hook gets; `attempt` counts from 1, the key is the same for every attempt."""

    id: str
    workflow: str
    step: str
    subscriber_id: str
    idempotency_key: str
    attempt: int
    data: Json


@dataclass(frozen=True, eq=False, repr=False)
class EmailMessage(OutgoingMessage):
    """An e-mail to send."""

    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    sender: str | None
    reply_to: str | None
    subject: str
    html: str | None
    text: str
    headers: Mapping[str, str]


@dataclass(frozen=True, eq=False, repr=False)
class SmsMessage(OutgoingMessage):
    """A text message to send."""

    phone: str
    body: str


@dataclass(frozen=True, eq=False, repr=False)
class PushMessage(OutgoingMessage):
    """A push notification to send."""

    tokens: tuple[str, ...]
    title: str
    body: str


@dataclass(frozen=True, eq=False, repr=False)
class ChatMessage(OutgoingMessage):
    """A chat message to send."""

    webhook_url: str
    body: str


@dataclass(frozen=True, eq=False, repr=False)
class Receipt(Value):
    """What the outside answered; `provider_id` is its own id of the message, `status_code` that of its answer."""

    provider_id: str | None = None
    status_code: int | None = None


class Integration(ABC):
    """A configured provider, in code: its secrets stay in the process.

    Attributes:
        name: Under which its attempts are recorded; `Message.provider` shows it.
        channels: The channels that it serves.
    """

    name: str
    channels: Collection[Channel]

    @abstractmethod
    def send(self, message: OutgoingMessage) -> Receipt | str | None:
        """Hand one message to the service.

        Args:
            message: An `EmailMessage`, `SmsMessage`, `PushMessage` or `ChatMessage`, by its channel.

        Returns:
            A receipt, the service's own id of the message, or None.

        Raises:
            PermanentDeliveryError: Trying again would not help.
            TransientDeliveryError: It may work later; any other exception counts as this.
        """

    def __repr__(self) -> str:
        """The name, never a secret."""
        return f"{type(self).__name__}(name={self.name!r})"
