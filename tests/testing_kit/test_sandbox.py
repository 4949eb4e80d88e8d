from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import notifykit as nk
from notifykit.testing import Kit, sandbox


class Shipped(BaseModel):
    order: int


shipped = nk.Workflow(
    "order-shipped",
    payload=Shipped,
    steps=[
        nk.InApp("bell", body="Order {{ payload.order }}"),
        nk.Delay("wait", hours=1),
        nk.Email("mail", subject="Order {{ payload.order }}", body="...", when="not steps.bell.read"),
        nk.Delay("pause", days=2),
        nk.Sms("text", body="Where is {{ payload.order }}?"),
    ],
)
ADA = nk.Recipient("ada", email="ada@example.com", phone="+100")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "production.db"


@pytest.fixture
def notify(file: Path) -> Iterator[nk.Engine]:
    with nk.Engine(f"sqlite:///{file}", workflows=[shipped]) as engine:
        yield engine


@pytest.fixture
def kit(notify: nk.Engine) -> Iterator[Kit]:
    with sandbox(notify) as kit:
        yield kit


def test_a_test_of_a_host(notify: nk.Engine, kit: Kit) -> None:
    notify.trigger(shipped(order=7), to=ADA)
    kit.travel(minutes=59)
    kit.outbox.none(shipped, channel="email")
    kit.travel(minutes=1)
    assert kit.outbox.one(shipped, to="ada", channel="email").subject == "Order 7"


def test_a_journey_stops_at_every_due_moment(notify: nk.Engine, kit: Kit) -> None:
    notify.trigger(shipped(order=7), to=ADA)
    start = kit.now
    report = kit.travel(days=3)
    assert (report.sent, report.advanced, report.failed, report.next_due) == (2, 2, 0, None)
    assert kit.now == start + timedelta(days=3)
    sent = [message.created_at - start for message in notify.messages.list()]
    assert sent == [timedelta(days=2, hours=1), timedelta(hours=1), timedelta()]


def test_a_journey_to_a_moment(notify: nk.Engine, kit: Kit) -> None:
    target = datetime(2026, 1, 1, 1, tzinfo=UTC)
    notify.trigger(shipped(order=7), to=ADA)
    assert kit.travel(to=target).sent == 1
    assert kit.now == target
    assert kit.travel().sent == 0
    with pytest.raises(nk.InputError, match="back"):
        kit.travel(to=target - timedelta(seconds=1))
    with pytest.raises(nk.InputError, match="positive"):
        kit.travel(hours=-1)
    with pytest.raises(nk.InputError, match="aware"):
        kit.travel(to=datetime(2027, 1, 1))  # noqa: DTZ001 - naive on purpose
    with pytest.raises(nk.InputError, match="not both"):
        kit.travel(to=target, hours=1)
    assert kit.now == target


def test_reading_the_bell_in_the_sandbox(notify: nk.Engine, kit: Kit) -> None:
    notify.trigger(shipped(order=7), to=ADA)
    notify.inbox("ada").mark_all("read")
    kit.travel(hours=1)
    kit.outbox.none(channel="email")


def test_everything_is_put_back(notify: nk.Engine, file: Path) -> None:
    taken: list[nk.EmailMessage] = []
    notify.deliver("email")(lambda message: taken.append(message))
    with sandbox(notify) as kit:
        notify.workflows.register(nk.Workflow("inside", steps=[nk.InApp("bell", body="x")]))
        notify.trigger(shipped(order=1), to=ADA)
        kit.travel(hours=1)
        assert len(kit.outbox) == 1
    assert (taken, file.exists()) == ([], False)
    assert notify.subscribers.find("ada") is None
    with pytest.raises(nk.NotFoundError):
        notify.trigger("inside", to="ada")
    notify.workflows.register(nk.Workflow("now", steps=[nk.Email("mail", subject="s", body="b")]))
    notify.trigger("now", to=ADA)
    notify.drain()
    assert [message.subject for message in taken] == ["s"]


def test_sandboxes_one_after_the_other_and_one_in_the_other(notify: nk.Engine) -> None:
    with sandbox(notify) as outer:
        notify.trigger(shipped(order=1), to=ADA)
        with sandbox(notify) as inner:
            assert notify.subscribers.find("ada") is None
            notify.trigger(shipped(order=2), to=ADA)
            inner.travel(hours=2)
        assert outer.now < inner.now
        outer.travel(hours=1)
        assert [message.subject for message in outer.outbox] == ["Order 1"]  # type: ignore[attr-defined]
    with sandbox(notify) as again:
        again.travel(days=9)
        assert list(again.outbox) == []
    with pytest.raises(RuntimeError, match="torn"), sandbox(notify):
        raise RuntimeError("torn")
    assert notify.subscribers.find("ada") is None


def test_a_closed_engine_is_whole_in_its_sandbox(notify: nk.Engine) -> None:
    notify.close()
    with sandbox(notify) as kit:
        notify.trigger(shipped(order=1), to=ADA)
        assert kit.travel(hours=1).sent == 1
        notify.close()
    with sandbox(notify):
        notify.trigger(shipped(order=1), to=ADA)
    with pytest.raises(nk.UnitError):
        notify.trigger(shipped(order=1), to=ADA)


def test_the_hosts_session_is_another_database(notify: nk.Engine, kit: Kit, file: Path) -> None:
    host = create_engine(f"sqlite:///{file}")
    with Session(host) as session, pytest.raises(nk.UnitError, match="sandbox"):
        notify.trigger(shipped(order=1), to=ADA, session=session)
    host.dispose()


def test_signals_fire(notify: nk.Engine, kit: Kit) -> None:
    heard: list[Any] = []
    notify.on.message_sent(channel="email")(heard.append)
    notify.trigger(shipped(order=1), to=ADA)
    kit.travel(hours=1)
    (event,) = heard
    assert (event.message.status, event.message.provider, event.message.subscriber_id) == ("sent", "outbox", "ada")


def test_what_is_no_engine() -> None:
    with pytest.raises(nk.InputError):
        sandbox("engine")  # type: ignore[call-overload]


async def test_the_awaited_notifier() -> None:
    notify = nk.AsyncEngine("sqlite+aiosqlite:///production.db", workflows=[shipped])
    async with sandbox(notify) as kit:
        await notify.trigger(shipped(order=7), to=ADA)
        kit.fail("email", times=1)
        assert (await kit.travel(hours=1)).sent == 0
        report = await kit.travel(days=3)
        assert (report.sent, report.next_due) == (2, None)
        assert kit.outbox.one(shipped, to="ada", channel="email").attempt == 2
        assert kit.now == datetime(2026, 1, 4, 1, tzinfo=UTC)
        assert (await kit.drain()).sent == 0
    await notify.close()
    assert not Path("production.db").exists()
