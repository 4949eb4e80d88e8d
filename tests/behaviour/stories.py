"""The workflows that the scenarios tell their stories with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

import notifykit as nk
from notifykit.results import ExecutionKind
from tests.harness.both import Both


class Order(BaseModel):
    """A payload with a default."""

    order: int
    carrier: str = "ups"


@dataclass
class Note:
    """A payload that is a dataclass."""

    text: str


KINDS = frozenset(get_args(ExecutionKind))


@dataclass
class User:
    """A host's own row."""

    id: int
    subscriber_id: str


hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello")])
greeting = nk.Workflow("greeting", steps=[nk.InApp("bell", body="Dear {{ subscriber.first_name }}")])
noted = nk.Workflow("noted", payload=Note, steps=[nk.InApp("bell", body="{{ payload.text }}")])
ordered = nk.Workflow(
    "ordered",
    payload=Order,
    tags=["orders"],
    steps=[nk.InApp("bell", subject="Order", body="{{ payload.order }} by {{ payload.carrier }}")],
)
mailed = nk.Workflow(
    "mailed",
    payload=Order,
    steps=[nk.Email("mail", subject="Order {{ payload.order }}", body="By {{ payload.carrier }}")],
)
shipped = nk.Workflow(
    "order-shipped",
    payload=Order,
    tags=["orders"],
    steps=[
        nk.InApp(
            "bell", subject="Shipped", body="Order {{ payload.order }} is on its way, {{ subscriber.first_name }}"
        ),
        nk.Delay("wait", hours=1),
        nk.Email(
            "mail", subject="Order {{ payload.order }}", body="With {{ payload.carrier }}", when="not steps.bell.read"
        ),
    ],
)
everywhere = nk.Workflow(
    "everywhere",
    steps=[
        nk.InApp("bell", body="in-app"),
        nk.Email("mail", subject="subject", body="mail"),
        nk.Sms("text", body="sms"),
        nk.Push("push", title="title", body="push"),
        nk.Chat("chat", body="chat"),
    ],
)
asleep = nk.Workflow("asleep", active=False, steps=[nk.InApp("bell", body="never")])
empty = nk.Workflow("empty", steps=[])
idle = nk.Workflow("idle", steps=[nk.InApp("bell", body="never", active=False)])

STORIES: tuple[nk.Workflow[Any, ...], ...] = (
    hello, greeting, noted, ordered, mailed, shipped, everywhere, asleep, empty, idle,
)  # fmt: skip
CHANNELS = [
    {"provider": "fcm", "credentials": {"device_tokens": ["token-1", "token-2"]}},
    {"provider": "slack", "credentials": {"webhook_url": "https://hooks.example.com/ada"}},
]


def people(notify: Both, *ids: str) -> None:
    """Subscribers with an address and a name made of their id."""
    for each in ids:
        notify.subscribers.upsert(each, email=f"{each}@example.com", first_name=each.capitalize())


def bodies(notify: Both, who: str) -> list[str]:
    """What an inbox says, newest first."""
    return [message.body for message in notify.inbox(who).list(limit=100)]


def reached(notify: Both, *ids: str) -> list[str]:
    """Which of these have something in their inbox."""
    return [each for each in ids if notify.inbox(each).unread_count()]


def kinds(notify: Both, result: nk.TriggerResult, who: str | None = None) -> list[tuple[str | None, str, str | None]]:
    """Step, kind and reason of each line of a trigger's trace, the event's own lines only where nobody is named."""
    lines = notify.executions.list(transaction_id=result.transaction_id)
    assert {line.kind for line in lines} <= KINDS, "a kind of line that is not documented"
    return [(line.step, line.kind, line.reason) for line in lines if who is None or line.subscriber_id == who]
