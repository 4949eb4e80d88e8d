"""The small integers in the tables and the words they stand for."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, cast, get_args

Channel = Literal["in_app", "email", "sms", "push", "chat"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
OUTSIDE: tuple[Channel, ...] = tuple(channel for channel in CHANNELS if channel != "in_app")

RunState = Literal["waiting", "completed", "failed", "cancelled"]
MessageState = Literal["queued", "sent", "failed", "skipped", "unknown", "cancelled"]
Outcome = Literal["sent", "transient", "permanent", "unknown"]


class ChannelCode(IntEnum):
    """`message.channel` and `preference.channel`."""

    IN_APP = 1
    EMAIL = 2
    SMS = 3
    PUSH = 4
    CHAT = 5

    @property
    def word(self) -> Channel:
        """The channel's name outside."""
        return cast("Channel", self.name.lower())

    @classmethod
    def of(cls, word: str) -> ChannelCode:
        """The code of a channel's name."""
        return cls[word.upper()]


class RunStatus(IntEnum):
    """`run.status`: waiting -> completed | failed | cancelled."""

    WAITING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELLED = 4

    @property
    def word(self) -> RunState:
        """The status as `results.Run` shows it."""
        return cast("RunState", self.name.lower())


class MessageStatus(IntEnum):
    """`message.status`: queued -> sent | failed | skipped | cancelled | unknown; in-app starts as sent."""

    QUEUED = 1
    SENT = 2
    FAILED = 3
    SKIPPED = 4
    CANCELLED = 5
    UNKNOWN = 6

    @property
    def word(self) -> MessageState:
        """The status as `results.Message` shows it."""
        return cast("MessageState", self.name.lower())


class JobKind(IntEnum):
    """What a due job asks for."""

    ADVANCE = 1
    DELIVER = 2
    CUSTOM = 3


class AttemptClass(IntEnum):
    """`delivery_attempt.outcome`: how one call to the outside ended."""

    SENT = 1
    TRANSIENT = 2
    PERMANENT = 3
    UNKNOWN = 4

    @property
    def word(self) -> Outcome:
        """The outcome as `results.Attempt` shows it."""
        return cast("Outcome", self.name.lower())
