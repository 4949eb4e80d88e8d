"""Inside the host's transaction: after its rollback nothing of ours exists, after its commit all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import notifykit as nk
from notifykit.model import Event
from tests.behaviour.stories import STORIES, bodies, hello, mailed, ordered, shipped
from tests.harness.both import Both

DRIVERS = {
    ("sync", "sqlite"): "sqlite",
    ("sync", "postgresql"): "postgresql+psycopg",
    ("sync", "mariadb"): "mariadb+pymysql",
    ("async", "sqlite"): "sqlite+aiosqlite",
    ("async", "postgresql"): "postgresql+psycopg",
    ("async", "mariadb"): "mariadb+asyncmy",
}


class Host:
    """A host with an engine of its own, whose transactions our verbs join."""

    def __init__(self, notify: Both, url: str) -> None:
        self.notify = notify
        parsed = sa.make_url(url)
        target = parsed.set(drivername=DRIVERS[notify.notifier, parsed.get_backend_name()])
        self.engine: Any = create_async_engine(target) if notify.notifier == "async" else sa.create_engine(target)

    @contextmanager
    def transaction(self, kind: str) -> Iterator[Any]:
        """A session or connection of the host; whoever uses it commits or rolls back."""
        if self.notify.notifier == "sync":
            with Session(self.engine) if kind == "session" else self.engine.connect() as held:
                yield held
            return
        held = AsyncSession(self.engine) if kind == "session" else AsyncConnection(self.engine)
        if kind == "connection":
            self.notify.wait(held.start())
        try:
            yield held
        finally:
            self.notify.wait(held.close())

    def end(self, held: Any, how: str) -> None:
        """Commit or roll back."""
        found = getattr(held, how)()
        if self.notify.notifier == "async":
            self.notify.wait(found)

    def close(self) -> None:
        """Give the connections back."""
        found = self.engine.dispose()
        if self.notify.notifier == "async":
            self.notify.wait(found)


@pytest.fixture
def host(notify: Both) -> Iterator[Host]:
    """A host on the engine's database."""
    if notify.url_is_private:
        pytest.skip("nobody else can join a private memory")
    notify.workflows.register(*STORIES)
    notify.subscribers.upsert("ada", first_name="Ada")
    found = Host(notify, notify.url)
    yield found
    found.close()


KINDS = ["session", "connection"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trigger_ends_with_the_hosts_transaction(host: Host, notify: Both, kind: str, end: str) -> None:
    heard: list[Any] = []
    notify.engine.on.trigger_processed(heard.append)
    with host.transaction(kind) as held:
        result = notify.trigger(hello, to=["ada", "new"], session=held)
        assert result.recipients == 2
        assert heard == []
        host.end(held, end)
    committed = end == "commit"
    assert bodies(notify, "ada") == (["Hello"] if committed else [])
    assert (notify.subscribers.find("new") is not None) is committed
    assert len(heard) == (1 if committed else 0)


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("kind", KINDS)
def test_verbs_within(host: Host, notify: Both, kind: str, end: str) -> None:
    with host.transaction(kind) as held:
        notifier = notify.within(held)
        notifier.subscribers.upsert("new", first_name="New")
        assert notifier.subscribers.get("new").first_name == "New"
        notifier.topics.add("team", ["new", "ada"])
        assert notifier.trigger(ordered(order=1), to=nk.Topic("team")).recipients == 2
        assert [each.body for each in notifier.inbox("new").list()] == ["1 by ups"]
        host.end(held, end)
    assert bodies(notify, "new") == (["1 by ups"] if end == "commit" else [])


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_bulk_within(host: Host, notify: Both, end: str) -> None:
    notify.engine._runtime.chunk = 7
    with host.transaction("session") as held:
        found = notify.trigger_bulk((ordered(order=n).to("ada") for n in range(30)), session=held)
        assert found.counts == {"processed": 30}
        host.end(held, end)
    assert len(bodies(notify, "ada")) == (30 if end == "commit" else 0)


def test_atomic_checks_everything_before_the_first_write(host: Host, notify: Both) -> None:
    """The host may commit after a refusal, and then nothing of the call may be there."""
    notify.engine._runtime.chunk = 3
    good: list[Any] = [hello().to("new") for _ in range(5)]
    with host.transaction("session") as held:
        with pytest.raises(nk.TriggerError, match="trigger 5: error: workflow: there is no workflow 'nowhere'"):
            notify.trigger_bulk([*good, {"name": "nowhere", "to": "ada"}], atomic=True, session=held)
        host.end(held, "commit")
    assert notify.subscribers.find("new") is None
    assert notify.count(Event) == 0
    with host.transaction("session") as held:
        read_once = (each for each in ["ada", "new"])
        found = notify.trigger_bulk(iter([*good, hello().to(read_once)]), atomic=True, session=held)
        host.end(held, "commit")
    assert [result.recipients for result in found] == [1, 1, 1, 1, 1, 2]


def test_cancel_within(host: Host, notify: Both) -> None:
    result = notify.trigger(shipped(order=1), to="ada")
    with host.transaction("session") as held:
        assert notify.cancel(result, session=held).stopped == 1
        host.end(held, "rollback")
    assert notify.runs.list().items[0].status == "waiting"
    with host.transaction("session") as held:
        assert notify.cancel(result, session=held).stopped == 1
        host.end(held, "commit")
    assert notify.runs.list().items[0].status == "cancelled"


VERBS: dict[str, tuple[str, Callable[[Any, Callable[..., Any]], Any]]] = {
    "cancel": ("run_finished", lambda notifier, found: notifier.cancel(workflow=shipped)),
    "cancel queued": ("message_skipped", lambda notifier, found: notifier.cancel(workflow=mailed)),
    "delete": ("run_finished", lambda notifier, found: notifier.subscribers.delete("ada")),
    "mark": ("message_read", lambda notifier, found: notifier.inbox("ada").mark("read", found(channel="in_app").id)),
    "mark seen": (
        "message_seen",
        lambda notifier, found: notifier.inbox("ada").mark("seen", found(channel="in_app").id),
    ),
    "mark_all": ("message_read", lambda notifier, found: notifier.inbox("ada").mark_all("archived")),
    "retry": ("message_queued", lambda notifier, found: notifier.messages.retry(found(status="failed"))),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_events_of_a_connection_wait_for_its_end(
    host: Host, notify: Both, house: Callable[..., Both], verb: str, end: str
) -> None:
    notify.subscribers.upsert("ada", email="ada@example.com")
    notify.outside.fail("email", nk.PermanentDeliveryError("no such address"))
    notify.trigger(mailed(order=1), to="ada")
    notify.drain()
    notify.trigger(mailed(order=2), to="ada")
    notify.trigger(shipped(order=3), to="ada")
    heard: list[Any] = []
    signal, do = VERBS[verb]
    getattr(notify.engine.on, signal)(heard.append)
    with host.transaction("connection") as held:
        do(notify.within(held), lambda **filters: notify.messages.list(**filters).items[0])
        assert heard == []
        host.end(held, end)
    house().drain()  # another process may be faster than this engine's next call
    assert heard == []
    notify.drain()
    assert [type(event).__name__ for event in heard] == [signal.title().replace("_", "")] * (end == "commit")


def test_a_workflow_that_is_new_and_rolled_back(host: Host, notify: Both) -> None:
    fresh = nk.Workflow("fresh", steps=[nk.InApp("bell", body="fresh")])
    notify.workflows.register(fresh)
    with host.transaction("session") as held:
        assert notify.trigger(fresh, to="ada", session=held).recipients == 1
        host.end(held, "rollback")
    assert notify.trigger(fresh, to="ada").recipients == 1
    assert bodies(notify, "ada") == ["fresh"]


def test_a_used_transaction_id_that_was_rolled_back_is_free(host: Host, notify: Both) -> None:
    with host.transaction("session") as held:
        notify.trigger(hello, to="ada", transaction_id="one", session=held)
        host.end(held, "rollback")
    assert not notify.trigger(hello, to="ada", transaction_id="one").duplicate
    with host.transaction("session") as held:
        assert notify.trigger(hello, to="ada", transaction_id="one", session=held).duplicate
        host.end(held, "commit")


def test_a_session_of_the_other_notifier(host: Host, notify: Both, house: Callable[..., Both]) -> None:
    wrong: Any = (
        AsyncSession(create_async_engine("sqlite+aiosqlite://"))
        if notify.notifier == "sync"
        else Session(sa.create_engine("sqlite://"))
    )
    with pytest.raises(nk.UnitError):
        notify.trigger(hello, to="ada", session=wrong)
    with pytest.raises(nk.UnitError):
        notify.trigger(hello, to="ada", session="session")
