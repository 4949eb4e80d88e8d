"""Who hears of what: order, isolation, filters, refusals at registration."""

from __future__ import annotations

import asyncio
import gc
import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from notifykit.errors import ConfigurationError
from notifykit.events import EVENTS, BulkFinished, HookFailed, MessageSent, MessageSkipped, WorkScheduled
from notifykit.outgoing import EmailMessage, Receipt
from notifykit.results import Message
from notifykit.signals import AsyncOn, On, Signals
from notifykit.workflow.definition import Workflow

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOGGER = "notifykit.signals"


def sent(channel: Any = "email", workflow: str = "welcome") -> MessageSent:
    message = Message("msg_1", "ada", workflow, "mail", channel, "sent", None, "hook", "txn_1", NOON)
    return MessageSent(message, Receipt())


@pytest.fixture
def signals() -> Signals:
    made = Signals(awaited=False)
    made.sender = "the engine"
    return made


@pytest.fixture
def awaited() -> Signals:
    return Signals(awaited=True)


def test_every_signal_is_named_after_its_event() -> None:
    assert list(EVENTS) == [
        "trigger_processed",
        "bulk_finished",
        "message_created",
        "message_queued",
        "message_sent",
        "message_failed",
        "message_skipped",
        "message_seen",
        "message_read",
        "run_finished",
        "work_scheduled",
        "hook_failed",
    ]
    assert set(On.__annotations__) == set(AsyncOn.__annotations__) == set(EVENTS)


def test_receivers_of_both_kinds_are_called_in_registration_order(signals: Signals) -> None:
    heard: list[str] = []

    def third(sender: Any, event: Any) -> None:
        heard.append(f"third from {sender}")

    def fifth(sender: Any, **kwargs: Any) -> None:
        heard.append(f"fifth {list(kwargs)}")

    on = On(signals)
    on.message_sent(lambda event: heard.append("first"))
    signals["message_sent"].connect_via("the engine")(partial(lambda sender, event: heard.append("second")))
    signals["message_sent"].connect(third)
    on.message_sent(lambda event: heard.append("fourth"))
    signals["message_sent"].connect(fifth, sender="the engine")
    signals.send([sent()])
    assert heard == ["first", "second", "third from the engine", "fourth", "fifth ['event']"]


def test_a_receiver_of_another_sender_or_gone_or_disconnected_hears_nothing(signals: Signals) -> None:
    heard: list[str] = []

    def gone(sender: Any, event: Any) -> None:
        heard.append("gone")

    def disconnected(sender: Any, event: Any) -> None:
        heard.append("disconnected")

    signals["message_sent"].connect(gone)
    signals["message_sent"].connect(disconnected)
    signals["message_sent"].connect_via("another engine")(lambda sender, event: heard.append("another"))
    signals["message_sent"].disconnect(disconnected)
    del gone
    gc.collect()
    signals.send([sent()])
    assert heard == []


def test_on_keeps_a_strong_reference(signals: Signals) -> None:
    heard: list[Any] = []
    On(signals).message_sent(lambda event: heard.append(event))
    gc.collect()
    signals.send([sent()])
    assert heard == [sent()]


def test_one_that_raises_is_logged_and_reported_and_stops_nobody(
    signals: Signals, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []
    on = On(signals)

    @on.message_sent
    def broken(event: MessageSent) -> None:
        raise RuntimeError("no")

    on.message_sent(heard.append)
    on.hook_failed(heard.append)
    with caplog.at_level(logging.ERROR, LOGGER):
        signals.send([sent()])
    assert heard == [HookFailed(f"{__name__}.{broken.__qualname__}", "RuntimeError: no"), sent()]
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_failing_observer_of_failures_is_only_logged(signals: Signals, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []

    def broken(event: Any) -> None:
        calls.append(event)
        raise ValueError("again")

    On(signals).hook_failed(broken)
    with caplog.at_level(logging.ERROR, LOGGER):
        signals.send([HookFailed("x", "y")])
    assert len(calls) == len(caplog.records) == 1


def test_filters(signals: Signals) -> None:
    heard: list[str] = []
    on = On(signals)
    on.message_sent(channel="sms")(lambda event: heard.append("sms"))
    on.message_sent(workflow="welcome")(lambda event: heard.append("welcome"))
    on.message_sent(channel="email", workflow=Workflow("welcome", steps=[]))(lambda event: heard.append("both"))
    on.message_skipped(channel="push")(lambda event: heard.append("skipped"))
    signals.send([sent(), sent("sms", "other")])
    signals.send([MessageSkipped("txn_1", "ada", "welcome", "ping", "push", "condition", None)])
    assert heard == ["welcome", "both", "sms", "skipped"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("message_sent", {"channel": "emial"}, "Did you mean 'email'"),
        ("bulk_finished", {"workflow": "welcome"}, "cannot be filtered by workflow"),
        ("work_scheduled", {"channel": "email"}, "cannot be filtered by channel"),
        ("run_finished", {"channel": "email"}, "cannot be filtered by channel"),
        ("message_sent", {"workflow": 7}, "a text or a workflow"),
    ],
)
def test_a_filter_that_can_never_match_is_refused(
    signals: Signals, name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        getattr(On(signals), name)(**options)(print)


def test_the_nearest_signal_is_proposed(signals: Signals) -> None:
    with pytest.raises(AttributeError, match="Did you mean 'message_sent'"):
        On(signals).message_snt  # noqa: B018
    with pytest.raises(KeyError, match="Did you mean 'message_sent'"):
        signals["message_snt"]


class Called:
    async def __call__(self, event: Any) -> None: ...


async def coroutine(event: Any) -> None: ...


@pytest.mark.parametrize("fn", [coroutine, partial(coroutine), Called()])
def test_coroutine_functions_are_refused_on_the_sync_notifier(signals: Signals, fn: Any) -> None:
    on: Any = On(signals)
    with pytest.raises(ConfigurationError, match="use AsyncEngine"):
        on.message_sent(fn)
    with pytest.raises(ConfigurationError, match="use AsyncEngine"):
        signals["message_sent"].connect(fn)
    with pytest.raises(ConfigurationError, match="use AsyncEngine"):
        signals.hook("email")(fn)
    with pytest.raises(ConfigurationError, match="a function is expected"):
        on.message_sent("not a function")
    assert not signals.listens("message_sent")


def test_a_plain_function_that_returns_a_coroutine_is_a_failure(
    signals: Signals, caplog: pytest.LogCaptureFixture
) -> None:
    On(signals).message_sent(lambda event: coroutine(event))  # type: ignore[arg-type, return-value]
    with caplog.at_level(logging.ERROR, LOGGER):
        signals.send([sent()])
    assert "AsyncEngine" in str(caplog.records[0].exc_info)


async def test_the_awaited_notifier_takes_both_kinds_in_order(awaited: Signals) -> None:
    heard: list[str] = []
    on = AsyncOn(awaited)

    @on.message_sent
    async def first(event: MessageSent) -> None:
        await asyncio.sleep(0.001)
        heard.append("first")

    on.message_sent(lambda event: heard.append("second"))

    @on.message_sent
    async def broken(event: MessageSent) -> None:
        raise asyncio.CancelledError

    @on.hook_failed
    async def failed(event: HookFailed) -> None:
        heard.append(event.error)

    on.message_sent(lambda event: heard.append("last"))
    await awaited.send_awaited([sent()])
    assert heard == ["first", "second", "CancelledError", "last"]


def test_listens_tells_whether_anybody_is_there(signals: Signals) -> None:
    assert not any(signals.listens(name) for name in EVENTS)

    def receiver(sender: Any, event: Any) -> None: ...

    signals["work_scheduled"].connect(receiver)
    assert signals.listens("work_scheduled")
    signals["work_scheduled"].disconnect(receiver)
    assert not signals.listens("work_scheduled")


def test_a_muted_signal_is_silent(signals: Signals) -> None:
    heard: list[Any] = []
    On(signals).bulk_finished(heard.append)
    with signals["bulk_finished"].muted():
        signals.send([BulkFinished({})])
    signals.send([WorkScheduled(NOON)])
    assert heard == []


def test_a_hook_serves_its_channel_alone_and_is_seen_on_its_signal(signals: Signals) -> None:
    @signals.hook("email")
    def send(message: EmailMessage) -> str:
        return "receipt"

    assert signals.hooks == {"email": send}
    assert list(signals["deliver_email"].receivers_for(None)) == [send]
    with pytest.raises(ConfigurationError, match=r"has a delivery hook already.*send"):
        signals.hook("email")(print)
    signals["deliver_email"].disconnect(send)
    assert signals.hooks == {}
    assert signals.hook("email")(print) is print


@pytest.mark.parametrize(
    ("channel", "words"),
    [("emial", "Did you mean 'email'"), ("in_app", "delivered by being written"), (print, 'deliver\\("email"\\)')],
)
def test_a_hook_on_what_is_no_outside_channel_is_refused(signals: Signals, channel: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        signals.hook(channel)(print)


def test_a_hook_is_not_connected_by_hand(signals: Signals) -> None:
    with pytest.raises(ConfigurationError, match=r"@engine\.deliver"):
        signals["deliver_sms"].connect(print)
