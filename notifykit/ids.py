"""Ids: 63-bit integers inside, opaque text with a prefix of their kind outside."""

from __future__ import annotations

import os
import secrets
from typing import Literal

from notifykit.errors import NotFoundError

Kind = Literal["txn", "run", "msg"]
STEP_BITS = 6


def encode_id(kind: Kind, number: int) -> str:
    """An id as it is shown outside, such as `msg_1f40`."""
    return f"{kind}_{number:x}"


def decode_id(kind: Kind, text: str) -> int:
    """The number behind an id of one kind.

    Raises:
        NotFoundError: It is not an id of this kind.
    """
    prefix, _, digits = text.partition("_")
    try:
        number = int(digits, 16)
    except ValueError:
        number = -1
    if prefix != kind or not 0 < number < 2**63 or encode_id(kind, number) != text:
        raise NotFoundError(f"{text!r} is not the id of any {NOUNS[kind]}")
    return number


NOUNS: dict[Kind, str] = {"txn": "trigger", "run": "run", "msg": "message"}


def is_generated(transaction_id: str) -> bool:
    """Whether a transaction id has the form of those made here."""
    return transaction_id.startswith("txn_")


def transaction_id(given: str | None, event: int) -> str:
    """The transaction id of an event as it is shown outside: the given one, else one made of its id; `''` for none."""
    return given or (encode_id("txn", event) if event else "")


def step_key(run: int, step: int) -> int:
    """The id of a run's message or job at a step."""
    return run << STEP_BITS | step


def run_and_step(number: int) -> tuple[int, int]:
    """The run and step that an id from `step_key` was made of."""
    return number >> STEP_BITS, number & (1 << STEP_BITS) - 1


def new_owner() -> str:
    """The name of one worker: unique for each start of each process."""
    return f"{os.getpid()}-{secrets.token_hex(8)}"
