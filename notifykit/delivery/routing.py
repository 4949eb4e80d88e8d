"""Who sends a message: resolved for each delivery, the one place where candidates are ordered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.model.codes import OUTSIDE, Channel
from notifykit.providers import Integration
from notifykit.queries.addresses import Target

Function = Callable[[Any], Any]

HOOK = "hook"
OUTBOX = "outbox"
"""Who sent it, where no integration did: `Message.provider`."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What is called with a message.

    Attributes:
        name: Under which its attempts are recorded: an integration's, `hook`, or `''` for a custom step's function.
        send: The function.
        is_inline: It neither blocks nor waits, so it is called where we are.
    """

    name: str
    send: Function
    is_inline: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """How one delivery goes out.

    Attributes:
        sender: Who is called; None where nobody here serves it.
        targets: Where the message goes.
    """

    sender: Sender | None
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Router:
    """What this process can send by.

    Attributes:
        hooks: Functions of the host by channel.
        integrations: Configured providers, in the order given.
        outbox: What the sandbox captures messages with.
    """

    hooks: Mapping[Channel, Function]
    integrations: Sequence[Integration] = ()
    outbox: Function | None = None

    def route(self, delivery: ClaimedDelivery) -> Route:
        """How a delivery goes out: a custom step by the host's function, a message by the first candidate."""
        if delivery.message is None:
            function = delivery.step.function
            assert function is not None
            return Route(Sender("", function))
        return Route(next(self.candidates(delivery.message.channel_name), None), delivery.targets)

    def candidates(self, channel: Channel) -> Iterator[Sender]:
        """Who could serve a channel, the first one first.

        The sandbox's outbox and a delivery hook stand alone; else integrations come in the order given.
        """
        if self.outbox is not None:
            yield Sender(OUTBOX, self.outbox, is_inline=True)
        elif channel in self.hooks:
            yield Sender(HOOK, self.hooks[channel])
        else:
            yield from (Sender(each.name, each.send) for each in self.integrations if channel in each.channels)

    @property
    def unserved(self) -> tuple[Channel, ...]:
        """The outside channels that nobody here serves."""
        return tuple(channel for channel in OUTSIDE if next(self.candidates(channel), None) is None)
