"""The captured outbox of the sandbox: what would have left the house."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal, NoReturn, overload

from notifykit.delivery.outcomes import Abandoned
from notifykit.errors import PermanentDeliveryError, TransientDeliveryError, nearest
from notifykit.model.codes import OUTSIDE, Channel
from notifykit.model.values import Who, subscriber_id_of
from notifykit.outgoing import ChatMessage, EmailMessage, OutgoingMessage, PushMessage, SmsMessage
from notifykit.workflow.definition import Workflow

Which = str | Workflow[Any, ...] | None
How = Literal["permanent", "transient", "crash"]

KINDS: dict[type[OutgoingMessage], Channel] = {
    EmailMessage: "email",
    SmsMessage: "sms",
    PushMessage: "push",
    ChatMessage: "chat",
}
NOUNS: dict[Channel | None, str] = {
    "email": "e-mail",
    "sms": "SMS",
    "push": "push message",
    "chat": "chat message",
    None: "message",
}
LISTED = 20
"""Messages that a failing assertion shows."""


class Outbox:
    """Everything that was sent in the sandbox, in order. In-app messages are in the inbox, not here."""

    def __init__(self, workflows: Callable[[], Collection[str]] | None = None) -> None:
        """An empty outbox.

        Args:
            workflows: The keys of the workflows that there are, so that a misspelt one is noticed; None: any.
        """
        self._workflows = workflows
        self._sent: list[OutgoingMessage] = []
        self._failures: dict[Channel, tuple[How, int | None]] = {}

    @overload
    def one(self, workflow: Which = None, *, to: Who | None = None, channel: Literal["email"]) -> EmailMessage: ...
    @overload
    def one(self, workflow: Which = None, *, to: Who | None = None, channel: Literal["sms"]) -> SmsMessage: ...
    @overload
    def one(self, workflow: Which = None, *, to: Who | None = None, channel: Literal["push"]) -> PushMessage: ...
    @overload
    def one(self, workflow: Which = None, *, to: Who | None = None, channel: Literal["chat"]) -> ChatMessage: ...
    @overload
    def one(
        self, workflow: Which = None, *, to: Who | None = None, channel: Channel | None = None
    ) -> OutgoingMessage: ...
    def one(self, workflow: Which = None, *, to: Who | None = None, channel: Channel | None = None) -> OutgoingMessage:
        """The one message that matches.

        Args:
            workflow: Of this workflow, or of any.
            to: To this subscriber, or to an address without one.
            channel: On this channel, or on any outside channel.

        Raises:
            AssertionError: None matches, or more than one; lists what was sent.
        """
        found = self._matching(workflow, to, channel)
        if len(found) != 1:
            self._fail(f"expected one {_asked(workflow, to, channel)}, found {len(found) or 'none'}")
        return found[0]

    def none(self, workflow: Which = None, *, to: Who | None = None, channel: Channel | None = None) -> None:
        """Assert that nothing matches.

        Args:
            workflow: Of this workflow, or of any.
            to: To this subscriber, or to an address without one.
            channel: On this channel, or on any outside channel.

        Raises:
            AssertionError: Something matches; lists what was sent.
        """
        found = self._matching(workflow, to, channel)
        if found:
            self._fail(f"expected no {_asked(workflow, to, channel)}, found {len(found)}")

    def all(self) -> Sequence[OutgoingMessage]:
        """Everything sent, in order."""
        return tuple(self._sent)

    def fail(self, channel: Channel, how: How = "transient", times: int | None = None) -> None:
        """Make the next calls of a channel fail.

        Args:
            channel: An outside channel.
            how: `permanent` and `transient` as a hook's exceptions; `crash` abandons the call with its lease, as if the
                process had died in it.
            times: How many calls; None: all from now on, 0: none any more.

        Raises:
            AssertionError: There is no such outside channel, way to fail or number of times.
        """
        _check_channel(channel)
        if how not in FAILURES:
            raise AssertionError(f"a channel can't fail {how!r}.{nearest(str(how), FAILURES)}")
        if times is not None and (type(times) is not int or times < 0):
            raise AssertionError(f"a channel can't fail {times!r} times: give a number, or None for all from now on")
        self._failures[channel] = (how, times)

    def send(self, message: OutgoingMessage) -> None:
        """Take a message as a delivery hook does, or fail as `fail` asked for."""
        channel = KINDS[type(message)]
        how, times = self._failures.get(channel, ("transient", 0))
        if times != 0:
            self._failures[channel] = (how, None if times is None else times - 1)
            raise FAILURES[how](f"the sandbox was asked to fail {channel}")
        self._sent.append(message)

    def __len__(self) -> int:
        """How many messages were sent."""
        return len(self._sent)

    def __iter__(self) -> Iterator[OutgoingMessage]:
        """The messages, in order."""
        return iter(self.all())

    def __repr__(self) -> str:
        """What was sent, in lines."""
        return f"Outbox: {self._listing()}"

    def _matching(self, workflow: Which, to: Who | None, channel: Channel | None) -> list[OutgoingMessage]:
        key, who = _key(workflow), None if to is None else subscriber_id_of(to)
        self._check_workflow(key)
        if channel is not None:
            _check_channel(channel)
        return [
            message
            for message in self._sent
            if (key is None or message.workflow == key)
            and (channel is None or KINDS[type(message)] == channel)
            and (who is None or who in _whose(message))
        ]

    def _check_workflow(self, key: str | None) -> None:
        known = self._workflows() if self._workflows else ()
        if key is not None and known and key not in known:
            raise AssertionError(f"no workflow {key!r} is registered.{nearest(key, known)}")

    def _fail(self, sentence: str) -> NoReturn:
        raise AssertionError(f"{sentence}; {self._listing()}")

    def _listing(self) -> str:
        if not self._sent:
            return "nothing was sent (work that is due waits for `kit.drain()` or `kit.travel(...)`)"
        shown = "".join(f"\n  - {_described(message)}" for message in self._sent[:LISTED])
        more = f"\n  and {len(self._sent) - LISTED} more" if len(self._sent) > LISTED else ""
        return f"sent were:{shown}{more}"


FAILURES: dict[str, Callable[[str], Exception]] = {
    "permanent": PermanentDeliveryError,
    "transient": TransientDeliveryError,
    "crash": Abandoned,
}


def _check_channel(channel: str) -> None:
    if channel == "in_app":
        raise AssertionError(
            "in-app messages are not sent, they are in the inbox: look there with `engine.inbox(subscriber).list()`"
        )
    if channel not in OUTSIDE:
        raise AssertionError(f"{channel!r} is no outside channel.{nearest(str(channel), OUTSIDE)}")


def _key(workflow: Which) -> str | None:
    return workflow.key if isinstance(workflow, Workflow) else workflow


def _whose(message: OutgoingMessage) -> tuple[str, ...]:
    """Who a message can be asked for by: the subscriber; an address only where there is no subscriber."""
    return (message.subscriber_id,) if message.subscriber_id else _addresses(message)


def _addresses(message: OutgoingMessage) -> tuple[str, ...]:
    match message:
        case EmailMessage():
            return message.to
        case SmsMessage():
            return (message.phone,)
    return ()


def _asked(workflow: Which, to: Who | None, channel: Channel | None) -> str:
    of = "" if workflow is None else f" of {_key(workflow)!r}"
    whom = "" if to is None else f" to {subscriber_id_of(to)!r}"
    return f"{NOUNS[channel]}{of}{whom}"


def _described(message: OutgoingMessage) -> str:
    whom = message.subscriber_id or ", ".join(_addresses(message))
    text = message.subject if isinstance(message, EmailMessage) else getattr(message, "body", "")
    short = text if len(text) <= 60 else f"{text[:59]}…"
    return f"{NOUNS[KINDS[type(message)]]} of {message.workflow!r} (step {message.step!r}) to {whom!r}: {short!r}"
