"""The e-mails that the demo writes down: any mail program opens them, and no content breaks out of its place."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage as Letter
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from notifykit import EmailMessage, PermanentDeliveryError
from notifykit.cli.demo.letters import Letters
from notifykit.testing import FakeClock

PLAIN: dict[str, Any] = {
    "id": "msg_1f",
    "workflow": "commit-pushed",
    "step": "mail",
    "subscriber_id": "ada",
    "idempotency_key": "msg_1f",
    "attempt": 1,
    "data": {},
    "to": ("ada@example.com",),
    "cc": (),
    "bcc": (),
    "sender": None,
    "reply_to": None,
    "subject": "Hello",
    "html": None,
    "text": "How are you?\n",
    "headers": {},
}


def written(folder: Path, **changes: Any) -> Letter:
    name = Letters(folder).write(EmailMessage(**PLAIN | changes), FakeClock())
    letter = message_from_bytes((folder / name).read_bytes(), policy=default)
    assert isinstance(letter, Letter)
    return letter


def text_of(letter: Letter, kind: str) -> str:
    part = letter.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_a_letter_says_who_what_and_when(tmp_path: Path) -> None:
    letter = written(tmp_path, subject="Żółć: 陈晓雨 pushed", text="Grüße,\n.\nFrom here\n")
    assert letter["To"] == "ada@example.com"
    assert letter["From"].addresses[0].display_name == "notifykit demo"
    assert letter["Subject"] == "Żółć: 陈晓雨 pushed"
    assert letter["Date"].datetime == FakeClock().now()
    assert text_of(letter, "plain").splitlines() == ["Grüße,", ".", "From here"]


def test_the_same_message_sent_again_is_the_same_file(tmp_path: Path) -> None:
    letters = Letters(tmp_path / "new" / "folder")
    for attempt in (1, 2):
        letters.write(EmailMessage(**PLAIN | {"attempt": attempt}), FakeClock())
    assert [path.name for path in letters.folder.iterdir()] == ["msg_1f.eml"]


def test_html_stands_beside_the_text(tmp_path: Path) -> None:
    letter = written(tmp_path, html="<p>How <b>are</b> you?</p>")
    assert "How are you?" in text_of(letter, "plain")
    assert "<b>are</b>" in text_of(letter, "html")


@pytest.mark.parametrize(
    "address",
    [
        "root@localhost.(none)",
        "a..b@example.com",
        "12345+name@users.example",
        "a@b",
        "x@[127.0.0.1]",
        "łucja@example.com",
    ],
)
def test_odd_addresses_reach_the_header(tmp_path: Path, address: str) -> None:
    written(tmp_path, to=(address,), subject="Żółć")
    [path] = tmp_path.iterdir()
    assert f"To: {address}" in path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("field", ["subject", "headers", "to"])
def test_nothing_adds_a_header_of_its_own(tmp_path: Path, field: str) -> None:
    smuggled = "x\r\nBcc: everyone@example.com"
    value: Any = {"headers": {"X-Note": smuggled}, "to": (f"{smuggled}@example.com",)}.get(field, smuggled)
    with pytest.raises(PermanentDeliveryError, match="no letter can be made"):
        written(tmp_path, **{field: value})
    assert list(tmp_path.iterdir()) == []


def test_copies_and_headers_of_the_message_are_kept_and_blind_ones_are_not_shown(tmp_path: Path) -> None:
    letter = written(
        tmp_path, cc=("b@example.com",), bcc=("c@example.com",), reply_to="d@example.com", headers={"X-Note": "yes"}
    )
    assert (letter["Cc"], letter["Bcc"], letter["Reply-To"], letter["X-Note"]) == (
        "b@example.com",
        None,
        "d@example.com",
        "yes",
    )
