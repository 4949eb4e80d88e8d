"""The outside world of a test: what delivery hooks got, and how they should fail."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

CHANNELS: tuple[Any, ...] = ("email", "sms", "push", "chat")


class Outside:
    """Hooks for every outside channel that keep what they get.

    Attributes:
        sent: What went out, in order.
        calls: Every call, failed ones included: channel and message.
        failures: Exceptions to raise in the next calls, by channel.
    """

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.calls: list[tuple[str, Any]] = []
        self.failures: dict[str, deque[BaseException]] = defaultdict(deque)

    def fail(self, channel: str, *errors: BaseException) -> None:
        """Let the next calls of a channel raise these, one each."""
        self.failures[channel].extend(errors)

    def serve(self, engine: Any, *, awaited: bool, channels: tuple[Any, ...] = CHANNELS) -> None:
        """Register a hook for each channel, coroutines on the awaited notifier."""
        for channel in channels:
            engine.deliver(channel)(self._awaited(channel) if awaited else self._hook(channel))

    def to(self, subscriber_id: str) -> list[Any]:
        """What one subscriber was sent."""
        return [message for message in self.sent if message.subscriber_id == subscriber_id]

    def _hook(self, channel: str) -> Any:
        def hook(message: Any) -> str:
            return self._take(channel, message)

        return hook

    def _awaited(self, channel: str) -> Any:
        async def hook(message: Any) -> str:
            return self._take(channel, message)

        return hook

    def _take(self, channel: str, message: Any) -> str:
        self.calls.append((channel, message))
        if waiting := self.failures[channel]:
            raise waiting.popleft()
        self.sent.append(message)
        return f"receipt-{len(self.sent)}"
