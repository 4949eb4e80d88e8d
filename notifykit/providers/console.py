"""The provider of the first day: it shows what would be sent."""

from __future__ import annotations

import sys

from notifykit.outgoing import ChatMessage, EmailMessage, Integration, OutgoingMessage, PushMessage, Receipt, SmsMessage


class Console(Integration):
    """Writes every message of every outside channel to standard error, and sends nothing.

    Example:
        ```python
        notify = nk.Engine("sqlite:///app.db", workflows=[shipped], integrations=[nk.providers.Console()])
        ```
    """

    name = "console"
    channels = ("email", "sms", "push", "chat")

    def __init__(self) -> None:
        """Nothing is configured."""

    def send(self, message: OutgoingMessage) -> Receipt:
        """Write one message to standard error.

        Args:
            message: What would be sent.

        Returns:
            An empty receipt.
        """
        head = f"[notifykit] {message.workflow}/{message.step} {message.id} (attempt {message.attempt})"
        print("\n".join([head, *_lines(message)]), file=sys.stderr, flush=True)
        return Receipt()


def _lines(message: OutgoingMessage) -> list[str]:
    match message:
        case EmailMessage():
            copies = [f"  {name}: {', '.join(who)}" for name, who in (("cc", message.cc), ("bcc", message.bcc)) if who]
            return [
                f"  email to {', '.join(message.to)}",
                *copies,
                f"  subject: {message.subject}",
                *_indented(message.text),
            ]
        case SmsMessage():
            return [f"  sms to {message.phone}", *_indented(message.body)]
        case PushMessage():
            return [f"  push to {len(message.tokens)} device(s)", f"  title: {message.title}", *_indented(message.body)]
        case ChatMessage():
            return ["  chat", *_indented(message.body)]
    return []


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]
