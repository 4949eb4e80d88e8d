"""Where the demo's e-mails go: a folder of `.eml` files that any mail program opens."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage as Letter
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from notifykit.clock import Clock
from notifykit.errors import PermanentDeliveryError
from notifykit.outgoing import EmailMessage

SENDER = "notifykit demo <demo@localhost>"


class Letters:
    """A folder of letters, one file a message: the same message sent again is the same file."""

    def __init__(self, folder: Path) -> None:
        """Make the folder where there is none.

        Args:
            folder: Where the files go.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.written = 0

    def write(self, message: EmailMessage, clock: Clock) -> str:
        """Write one e-mail down.

        Args:
            message: The e-mail.
            clock: What its date is taken from.

        Returns:
            The name of its file, as the receipt.

        Raises:
            PermanentDeliveryError: No mail program could read it.
        """
        try:
            text = letter(message, format_datetime(clock.now()))
        except (AttributeError, IndexError, ValueError) as error:  # the standard parser stumbles over some addresses
            raise PermanentDeliveryError(f"no letter can be made of it: {error}") from error
        path = self.folder / f"{message.id}.eml"
        path.write_bytes(text)
        self.written += 1
        return path.name


def letter(message: EmailMessage, date: str) -> bytes:
    """An e-mail in the form that travels.

    Args:
        message: What to say and to whom.
        date: The date header.

    Returns:
        The file's content; letters beyond ASCII stand as they are in headers only where an address has some.
    """
    plain = all(map(str.isascii, (*message.to, *message.cc)))
    made = Letter(policy=SMTP if plain else SMTPUTF8)
    made["From"] = _header("From", message.sender or SENDER)
    for name, addresses in (("To", message.to), ("Cc", message.cc), ("Reply-To", _one(message.reply_to))):
        if addresses:
            made[name] = _addressed(name, addresses)
    made["Subject"] = _header("Subject", message.subject)
    made["Date"] = date
    made["Message-ID"] = f"<{message.id}@notifykit.invalid>"
    for name, value in message.headers.items():
        made[name] = value
    made.set_content(message.text)
    if message.html:
        made.add_alternative(message.html, subtype="html")
    return made.as_bytes()


@lru_cache(maxsize=1024)
def _header(name: str, value: str) -> Any:
    """A checked header, made once for all letters that have the same: making them is most of the work."""
    return SMTP.header_store_parse(name, value)[1]


@lru_cache(maxsize=1024)
def _addressed(name: str, addresses: tuple[str, ...]) -> Any:
    return SMTP.header_store_parse(name, [_address(address) for address in addresses])[1]


def _one(address: str | None) -> tuple[str, ...]:
    return (address,) if address else ()


def _address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address("", local, domain)
