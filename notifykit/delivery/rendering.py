"""What a message says: rendered after the claim, outside any transaction, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from notifykit.delivery.claimed_delivery import ClaimedDelivery
from notifykit.ids import encode_id
from notifykit.model.codes import Channel
from notifykit.model.values import Json
from notifykit.outgoing import ChatMessage, EmailMessage, OutgoingMessage, PushMessage, SmsMessage
from notifykit.render.compiled import compiled

Content = Mapping[str, Any]
"""What is kept of a message: `subject`, `body` and `data`, as the columns of its row."""


class Renderer:
    """Renders the messages of one batch: a step's templates are bound to one scope, which is filled anew for each."""

    def __init__(self) -> None:
        """Nothing is bound yet."""
        self._scope: dict[str, Any] = {}
        self._bound: dict[tuple[int, int], Callable[[], Any]] = {}

    def prepare(self, delivery: ClaimedDelivery) -> tuple[OutgoingMessage, Content | None]:
        """The message as a hook or provider gets it.

        Args:
            delivery: A message to send.

        Returns:
            The message, and what to keep of it; None where an earlier attempt has kept it.

        Raises:
            RenderError: A template can't be rendered; names the variable.
        """
        stored = delivery.message
        assert stored is not None
        channel = stored.channel_name
        if stored.body is not None:
            kept = {"subject": stored.subject, "body": stored.body, "data": stored.data}
            return MESSAGES[channel](delivery, kept), None
        content = CONTENTS[channel](self._fields(delivery), delivery.overrides)
        return MESSAGES[channel](delivery, content), content

    def _fields(self, delivery: ClaimedDelivery) -> dict[str, Any]:
        key = (delivery.facts.version.version_id, delivery.job.step)
        self._scope.update(delivery.scope)
        if (render := self._bound.get(key)) is None:
            rendering = compiled(delivery.workflow).steps[delivery.job.step].rendering
            assert rendering is not None
            render = self._bound[key] = rendering.bind(self._scope)
        return dict(render())


def _email_content(fields: dict[str, Any], overrides: Mapping[str, Any]) -> Content:
    html = overrides.get("html", fields.get("html"))
    return {
        "subject": overrides.get("subject", fields["subject"]),
        "body": overrides.get("text", fields["body"]),
        "data": None if html is None else {"html": html},
    }


def _text_content(fields: dict[str, Any], overrides: Mapping[str, Any]) -> Content:
    return {"subject": None, "body": overrides.get("body", fields["body"]), "data": None}


def _push_content(fields: dict[str, Any], overrides: Mapping[str, Any]) -> Content:
    data = {**(fields.get("data") or {}), **(overrides.get("data") or {})}
    title, body = overrides.get("title", fields["title"]), overrides.get("body", fields["body"])
    return {"subject": title, "body": body, "data": data or None}


CONTENTS: dict[Channel, Callable[[dict[str, Any], Mapping[str, Any]], Content]] = {
    "email": _email_content,
    "sms": _text_content,
    "push": _push_content,
    "chat": _text_content,
}


def _head(delivery: ClaimedDelivery, data: Json | None = None) -> dict[str, Any]:
    assert delivery.message is not None
    return {
        "id": encode_id("msg", delivery.message.id),
        "workflow": delivery.workflow.key,
        "step": delivery.step.id,
        "subscriber_id": delivery.subscriber_id,
        "idempotency_key": delivery.key,
        "attempt": delivery.number,
        "data": deepcopy(data) if data else {},  # the hook may change what it gets, not what is kept of it
    }


def _email(delivery: ClaimedDelivery, content: Content) -> EmailMessage:
    overrides = delivery.overrides
    return EmailMessage(
        **_head(delivery),
        to=delivery.addresses,
        cc=tuple(overrides.get("cc", ())),
        bcc=tuple(overrides.get("bcc", ())),
        sender=overrides.get("from"),
        reply_to=overrides.get("reply_to"),
        subject=content["subject"] or "",
        html=(content["data"] or {}).get("html"),
        text=content["body"],
        headers=overrides.get("headers") or {},
    )


def _sms(delivery: ClaimedDelivery, content: Content) -> SmsMessage:
    return SmsMessage(**_head(delivery), phone=delivery.address, body=content["body"])


def _push(delivery: ClaimedDelivery, content: Content) -> PushMessage:
    head = _head(delivery, content["data"])
    return PushMessage(**head, tokens=delivery.addresses, title=content["subject"] or "", body=content["body"])


def _chat(delivery: ClaimedDelivery, content: Content) -> ChatMessage:
    return ChatMessage(**_head(delivery), webhook_url=delivery.address, body=content["body"])


MESSAGES: dict[Channel, Callable[[ClaimedDelivery, Content], OutgoingMessage]] = {
    "email": _email,
    "sms": _sms,
    "push": _push,
    "chat": _chat,
}
