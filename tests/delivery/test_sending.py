from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from notifykit.clock import monotonic
from notifykit.delivery.calls import Call, CallInput, StartGate
from notifykit.delivery.outcomes import Abandoned, Outcome
from notifykit.delivery.routing import Router, Sender
from notifykit.delivery.sending import send, send_async
from notifykit.errors import PermanentDeliveryError, TransientDeliveryError
from notifykit.outgoing import Receipt
from notifykit.providers import Console
from notifykit.testing import FakeClock
from notifykit.unit_of_work.stops import Stops

CLOCK = FakeClock()
LATER = CLOCK.now() + timedelta(seconds=60)


def call(function: Callable[[Any], Any], **options: Any) -> Call:
    prepare = options.pop("prepare", lambda: CallInput("message", {"body": "kept"}))
    delivery: Any = SimpleNamespace(facts=SimpleNamespace(run=7, subscriber_row=8))
    return Call(
        delivery, Sender("hook", function), prepare, StartGate(**({"clock": CLOCK, "lease_until": LATER} | options))
    )


def both(made: Call) -> Outcome:
    """The outcome on either notifier, which must be the same."""
    blocking, awaited = send(made), asyncio.run(send_async(made, asyncio.to_thread))
    assert blocking == awaited
    return blocking


def raising(error: BaseException) -> Callable[[Any], Any]:
    def function(message: Any) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("answer", "receipt"),
    [
        (None, Receipt()),
        ("id-1", Receipt("id-1")),
        (Receipt("id-2"), Receipt("id-2")),
        (7, Receipt()),
        ("a\0b", Receipt("a\ufffdb")),
    ],
)
def test_what_a_hook_answers_is_the_receipt(answer: object, receipt: Receipt) -> None:
    outcome = both(call(lambda message: answer))
    assert (outcome.kind, outcome.receipt, outcome.content) == ("sent", receipt, {"body": "kept"})


@pytest.mark.parametrize(
    ("error", "kind", "words", "floor"),
    [
        (PermanentDeliveryError("no such box"), "permanent", "no such box", None),
        (TransientDeliveryError("busy", retry_after=5), "transient", "busy", 5),
        (TransientDeliveryError(), "transient", "TransientDeliveryError", None),
        (RuntimeError("odd"), "transient", "RuntimeError: odd", None),
        (KeyError(), "transient", "KeyError", None),
        (StopIteration("no more"), "transient", "StopIteration: no more", None),
        (Abandoned(), "abandoned", "", None),
    ],
)
def test_only_what_says_so_is_permanent(error: Exception, kind: str, words: str, floor: float | None) -> None:
    outcome = both(call(raising(error)))
    assert (outcome.kind, outcome.error, outcome.retry_after) == (kind, words, floor)
    assert outcome.content == {"body": "kept"}


def test_what_is_kept_of_an_error_can_be_stored() -> None:
    outcome = both(call(raising(RuntimeError("\0" + "\ud800" + "x" * 10_000))))
    assert "\0" not in outcome.error
    assert len(outcome.error.encode()) < 5000


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_stops_the_process_is_no_outcome(stop: type[BaseException]) -> None:
    with pytest.raises(stop):
        send(call(raising(stop())))


def test_a_call_is_not_made_once_its_lease_is_over() -> None:
    made: list[Any] = []
    assert both(call(made.append, lease_until=CLOCK.now())).kind == "not_started"
    assert made == []


def test_a_call_begins_soon_after_its_claim_or_not_at_all() -> None:
    made: list[Any] = []
    first = call(made.append, deadline=monotonic() - 1)
    first.gate.open()
    assert send(first).kind == "sent"  # the first one of a claim, whatever the budget
    assert send(replace(first, has_started=False)).kind == "not_started"
    second = call(made.append, deadline=monotonic() + 60)
    second.gate.open()
    assert [send(replace(second)).kind for _ in range(2)] == ["sent", "sent"]
    second.gate.closes = monotonic() - 1
    assert send(replace(second)).kind == "not_started"
    assert len(made) == 3


@pytest.mark.parametrize("error", [GeneratorExit(), asyncio.CancelledError()])
def test_what_ends_something_else_is_a_failure_as_any_other(error: BaseException) -> None:
    assert send(call(raising(error))).kind == "transient"


@pytest.mark.parametrize(
    ("runs", "subscribers", "kind"),
    [([7], [], "not_started"), ([], [8], "not_started"), ([8], [7], "sent"), (range(500), [], "not_started")],
)
def test_what_was_stopped_since_the_claim_does_not_begin(runs: Any, subscribers: Any, kind: str) -> None:
    stops = Stops()
    stops.add([7], [8])
    made = call(lambda message: None, stops=stops, since=stops.last)
    assert send(made).kind == "sent"
    stops.add(runs, subscribers)
    assert send(replace(made, has_started=False)).kind == kind
    assert send(replace(made, gate=replace(made.gate, since=stops.last))).kind == "sent"


def test_who_forgets_who_was_stopped_lets_nobody_begin() -> None:
    stops = Stops()
    for number in range(1000):
        stops.add([1000 + number], [])
    assert not stops.allows(7, 8, 0)
    assert stops.allows(7, 8, stops.last - 100)


def test_a_call_that_is_revoked_does_not_begin() -> None:
    made = call(lambda message: None)
    assert made.revoke()
    assert send(made).kind == "not_started"
    begun = call(lambda message: None)
    send(begun)
    assert not begun.revoke()


def test_what_cannot_be_rendered_is_not_sent() -> None:
    def prepare() -> CallInput:
        raise ValueError("'payload.x' is undefined")

    made: list[Any] = []
    outcome = both(call(made.append, prepare=prepare))
    assert (outcome.kind, made) == ("render_failed", [])
    assert "payload.x" in outcome.error


def test_an_async_hook_on_the_sync_notifier() -> None:
    async def hook(message: Any) -> None: ...

    outcome = send(call(hook))
    assert outcome.kind == "permanent"
    assert "AsyncEngine" in outcome.error
    assert asyncio.run(send_async(call(hook), asyncio.to_thread)).kind == "sent"


def test_a_sync_hook_leaves_the_loop_free() -> None:
    threads: list[int] = []
    asyncio.run(send_async(call(lambda message: threads.append(threading.get_ident())), asyncio.to_thread))
    assert threads != [threading.get_ident()]


async def test_a_cancelled_task_leaves_the_job_to_its_lease() -> None:
    async def hook(message: Any) -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(send_async(call(hook), asyncio.to_thread))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_hook_awaited_may_be_cancelled() -> None:
    async def hook(message: Any) -> None:
        raise asyncio.CancelledError

    assert (await send_async(call(hook), asyncio.to_thread)).kind == "transient"


def test_who_serves_a_channel() -> None:
    def hook(message: Any) -> None: ...
    def outbox(message: Any) -> None: ...

    console = Console()
    assert list(Router({}).candidates("email")) == []
    assert list(Router({}, [console]).candidates("email")) == [Sender("console", console.send)]
    assert list(Router({"email": hook}, [console]).candidates("email")) == [Sender("hook", hook)]
    assert list(Router({"email": hook}, [console]).candidates("sms")) == [Sender("console", console.send)]
    assert list(Router({"email": hook}, [console], outbox).candidates("email")) == [
        Sender("outbox", outbox, is_inline=True)
    ]
    assert Router({"email": hook, "sms": hook}).unserved == ("push", "chat")
