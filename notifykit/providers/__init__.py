"""Providers: what hands a message to a service, one file each. A delivery hook of the engine comes before them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from notifykit.model.codes import Channel
from notifykit.outgoing import OutgoingMessage, Receipt


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


from notifykit.providers.console import Console  # noqa: E402 - a provider is an Integration

__all__ = ["Console", "Integration"]
