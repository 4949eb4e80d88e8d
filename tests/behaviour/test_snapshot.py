"""In a host's transaction whose snapshot is older than what another process has committed meanwhile.

On MariaDB all of it works. PostgreSQL gives the host's transaction up where it would change what it cannot see, and
says so; the host runs it again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

import notifykit as nk
from notifykit.store.error_mapping import is_given_up
from tests.behaviour.stories import bodies, hello, people
from tests.harness.both import Both
from tests.harness.hosted import LEVELS, Hosted, Hosting, is_over

pytestmark = [pytest.mark.own, pytest.mark.servers]
pushed = nk.Workflow("pushed", steps=[nk.Push("push", title="title", body="body"), nk.Chat("chat", body="body")])
greeted = nk.Workflow("greeted", steps=[nk.InApp("bell", body="{{ tenant.name }}: {{ tenant.data.plan }}")])
changed = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello again")])
mailed = nk.Workflow("mailed", steps=[nk.InApp("bell", body="both"), nk.Email("mail", subject="s", body="b")])


@pytest.fixture(params=[LEVELS[0], pytest.param(LEVELS[1], marks=pytest.mark.slow)])
def host(request: pytest.FixtureRequest, notify: Both) -> Iterator[Hosting]:
    """A host on the engine's server."""
    notify.workflows.register(hello, pushed, greeted, mailed)
    found = Hosting(notify, request.param)
    yield found
    found.close()


@pytest.fixture
def behind(notify: Both, host: Hosting) -> Callable[..., Any]:
    """Does something in a host's transaction that began before something else was committed."""

    def done(ahead: Callable[[], Any], work: Callable[[Any], Any]) -> Any:
        try:
            with host.transaction() as notifier:
                ahead()
                return work(notifier)
        except (nk.StorageError, DBAPIError) as error:
            if notify.place != "postgresql" or not is_over(error):
                raise
        with host.transaction() as notifier:
            return work(notifier)

    return done


@pytest.fixture
def other(house: Callable[..., Both], host: Hosting) -> Both:
    """Another process, which knows the same workflows."""
    found = house()
    found.workflows.register(hello, pushed, greeted, mailed)
    return found


def test_a_workflow_that_another_process_has_just_stored(notify: Both, other: Both, behind: Any) -> None:
    def work(notifier: Any) -> Any:
        result = notifier.trigger(hello, to="ada")
        assert [run.workflow for run in notifier.runs.list(transaction_id=result.transaction_id)] == ["hello"]
        assert [message.step for message in notifier.messages.list(workflow="hello", subscriber="ada")] == ["bell"]
        assert [message.workflow for message in notifier.inbox("ada").list(workflow=hello)] == ["hello"]
        return result

    assert behind(lambda: other.trigger(hello, to="bob"), work).recipients == 1
    assert bodies(notify, "ada") == bodies(notify, "bob") == ["Hello"]


def test_a_version_that_another_process_has_just_stored(notify: Both, other: Both, behind: Any) -> None:
    notify.trigger(hello, to="ada")
    for each in (notify, other):
        each.workflows.register(changed)
    behind(lambda: other.trigger(changed, to="bob"), lambda notifier: notifier.trigger(changed, to="ada"))
    assert bodies(notify, "ada") == ["Hello again", "Hello"]
    assert len({run.version for run in notify.runs.list()}) == 2


def test_a_workflow_that_this_process_has_just_stored(notify: Both, host: Hosting) -> None:
    """What is known needs no row: no conflict, and nothing to run again. The lists tell of it all the same."""
    people(notify, "ada")
    with host.transaction() as notifier:
        notify.trigger(hello, to="ada")
        result = notifier.trigger(hello, to="ada")
        ours = result.transaction_id
        assert [run.workflow for run in notifier.runs.list(workflow=hello, transaction_id=ours)] == ["hello"]
        assert [each.workflow for each in notifier.messages.list(workflow=hello, transaction_id=ours)] == ["hello"]
        assert ours in [each.transaction_id for each in notifier.inbox("ada").list(workflow="hello")]
        assert notifier.executions.list(transaction_id=result.transaction_id)


def test_a_transaction_id_that_another_process_has_just_used(notify: Both, other: Both, behind: Any) -> None:
    result = behind(
        lambda: other.trigger(hello, to="ada", transaction_id="once"),
        lambda notifier: notifier.trigger(hello, to="ada", transaction_id="once"),
    )
    assert (result.duplicate, result.recipients) == (True, 1)
    assert bodies(notify, "ada") == ["Hello"]


def test_a_subscriber_that_another_process_has_just_made(other: Both, behind: Any) -> None:
    def work(notifier: Any) -> Any:
        found = notifier.subscribers.upsert("ada", first_name="Ada")
        assert notifier.subscribers.get("ada") == found
        assert notifier.topics.add("team", ["ada"]) == {"added": ["ada"], "failed": []}
        assert notifier.preferences.get("ada")["email"] is True
        return found

    found = behind(lambda: other.subscribers.upsert("ada", email="ada@example.com", first_name="Ada"), work)
    assert (found.email, found.first_name) == ("ada@example.com", "Ada")


def test_a_subscriber_that_is_only_named(other: Both, behind: Any) -> None:
    found = behind(
        lambda: other.subscribers.upsert("ada", last_name="L"), lambda notifier: notifier.subscribers.upsert("ada")
    )
    assert found.last_name == "L"


def test_a_subscriber_that_another_process_has_just_changed(notify: Both, other: Both, behind: Any) -> None:
    people(notify, "ada")

    def work(notifier: Any) -> Any:
        assert notifier.subscribers.upsert("ada", last_name="L").first_name == "Augusta"
        return notifier.subscribers.get("ada")

    def ahead() -> None:
        other.subscribers.upsert("ada", first_name="Augusta", last_name="L")

    assert behind(ahead, work).first_name == "Augusta"


def test_a_subscriber_that_another_process_has_just_deleted(notify: Both, other: Both, behind: Any) -> None:
    people(notify, "ada")
    behind(lambda: other.subscribers.delete("ada"), lambda notifier: notifier.subscribers.upsert("ada", last_name="L"))
    found = notify.subscribers.get("ada")
    assert (found.first_name, found.last_name) == (None, "L")


def test_a_topic_that_another_process_has_just_made(notify: Both, other: Both, behind: Any) -> None:
    people(notify, "ada", "bob")

    def work(notifier: Any) -> Any:
        assert notifier.topics.add("team", ["ada"])["added"] == ["ada"]
        assert notifier.topics.get("team").key == "team"
        return notifier.trigger(hello, to=nk.Topic("team"))

    assert behind(lambda: other.topics.add("team", ["ada"]), work).recipients == 1


def test_a_topic_that_another_process_has_just_deleted(notify: Both, other: Both, behind: Any) -> None:
    people(notify, "ada")
    notify.topics.create("team")
    behind(lambda: other.topics.delete("team"), lambda notifier: notifier.topics.add("team", ["ada"]))
    assert list(notify.topics.members("team")) == ["ada"]


def test_a_device_that_another_process_has_just_been_given_too(notify: Both, other: Both, behind: Any) -> None:
    channels = [
        {"provider": "fcm", "credentials": {"device_tokens": ["token"]}},
        {"provider": "slack", "credentials": {"webhook_url": "https://hooks.example.com/ada", "ours": 1}},
    ]
    theirs = [channels[0], {"provider": "slack", "credentials": {"webhook_url": "https://old.example.com", "old": 2}}]
    people(notify, "ada")

    def work(notifier: Any) -> Any:
        recipient = nk.Recipient(subscriber_id="ada", channels=channels)
        return notifier.trigger(pushed, to=recipient)

    behind(lambda: other.subscribers.upsert("ada", channels=theirs), work)
    assert {message.status for message in notify.messages.list()} == {"queued"}
    found = {each.provider: each.credentials for each in notify.subscribers.get("ada").channels}
    assert found["fcm"] == {"device_tokens": ["token"]}
    assert found["slack"] == {"webhook_url": "https://hooks.example.com/ada", "ours": 1, "old": 2}


def test_a_device_that_another_process_has_just_changed(notify: Both, other: Both, behind: Any) -> None:
    def slack(**credentials: Any) -> Any:
        return [{"provider": "slack", "credentials": credentials}]

    def fcm(*tokens: str) -> Any:
        return [{"provider": "fcm", "credentials": {"device_tokens": tokens}}]

    notify.subscribers.upsert("ada", channels=[*slack(a=1), *fcm("first")])

    def ahead() -> None:
        other.subscribers.upsert("ada", channels=slack(a=2, b=2))
        other.subscribers.upsert("ada", channels=fcm())
        other.subscribers.upsert("ada", channels=fcm("second"))

    def work(notifier: Any) -> Any:
        notifier.subscribers.upsert("ada", channels=[*slack(c=3), *fcm("first")])
        notifier.subscribers.upsert("ada", channels=fcm())
        notifier.subscribers.upsert("ada", channels=fcm("last"))

    behind(ahead, work)
    found = {each.provider: each.credentials for each in notify.subscribers.get("ada").channels}
    assert found == {"slack": {"a": 2, "b": 2, "c": 3}, "fcm": {"device_tokens": ["last"]}}


def test_a_tenant_that_another_process_has_just_made(notify: Both, other: Both, behind: Any) -> None:
    def work(notifier: Any) -> Any:
        notifier.tenants.upsert("acme", name="Acme")
        return notifier.trigger(greeted, to="ada", tenant="acme")

    def ahead() -> None:
        other.tenants.upsert("acme", name="Acme", data={"plan": "gold"})

    assert behind(ahead, work).status == "processed"
    assert bodies(notify, "ada") == ["Acme: gold"]


def test_a_tenant_that_another_process_has_just_changed(notify: Both, other: Both, behind: Any) -> None:
    notify.tenants.upsert("acme", name="Old", data={"plan": "old"})

    def work(notifier: Any) -> Any:
        notifier.trigger(hello, to="ada", tenant={"identifier": "acme", "name": "Acme"})

    behind(lambda: other.tenants.upsert("acme", data={"plan": "gold"}), work)
    assert notify.tenants.get("acme") == {"identifier": "acme", "name": "Acme", "data": {"plan": "gold"}}


def test_an_opt_out_clears_what_another_process_has_just_chosen(notify: Both, other: Both, behind: Any) -> None:
    people(notify, "ada")
    notify.trigger(mailed, to="bob")

    def work(notifier: Any) -> Any:
        notifier.preferences.update("ada", channels={"email": False})
        assert notifier.preferences.get("ada", workflow=mailed)["email"] is False

    behind(lambda: other.preferences.update("ada", workflow=mailed, channels={"email": True}), work)
    assert notify.preferences.get("ada", workflow=mailed)["email"] is False


def test_messages_that_a_lock_meets_are_told_of(notify: Both, other: Both, behind: Any) -> None:
    people(notify, "ada")
    heard: list[str] = []
    notify.engine.on.message_read(lambda event: heard.append(event.message.step))
    behind(lambda: other.trigger(hello, to="ada"), lambda notifier: notifier.inbox("ada").mark_all("read"))
    marked = notify.inbox("ada").unread_count() == 0
    assert heard == (["bell"] if marked else [])
    notify.inbox("ada").mark_all("read")
    assert heard == ["bell"]


def test_preferences_are_those_of_the_snapshot_until_a_message_goes(notify: Both, other: Both, host: Hosting) -> None:
    people(notify, "ada")
    notify.trigger(mailed, to="bob")
    with host.transaction() as notifier:
        if host.level == "SERIALIZABLE" and notify.place == "mariadb":
            pytest.skip("a serializable transaction has no snapshot there")
        other.preferences.update("ada", enabled=False)
        notifier.trigger(mailed, to="ada")
    assert bodies(notify, "ada") == ["both"]
    notify.drain()
    assert [(each.step, each.status, each.reason) for each in notify.messages.list(subscriber="ada")] == [
        ("mail", "skipped", "preference"),
        ("bell", "sent", None),
    ]


WORK: dict[str, Callable[[Any], Any]] = {
    "trigger": lambda notifier: notifier.trigger(hello, to="ada"),
    "subscriber": lambda notifier: notifier.subscribers.upsert("ada", first_name="Ada"),
    "topic": lambda notifier: notifier.topics.add("team", ["bob"]),
    "tenant": lambda notifier: notifier.tenants.upsert("acme"),
}


@pytest.mark.parametrize("kind", WORK)
def test_what_is_given_up_is_to_be_run_again(notify: Both, other: Both, host: Hosting, kind: str) -> None:
    """On PostgreSQL always; on MariaDB where its snapshots are strict, as later versions have them."""
    if notify.place == "mariadb" and host.level == "SERIALIZABLE":
        pytest.skip("a serializable transaction has no snapshot there")
    people(notify, "bob")
    strict = ["SET SESSION innodb_snapshot_isolation = ON"] if notify.place == "mariadb" else []

    def behind() -> None:
        with host.transaction(*strict) as notifier:
            other.trigger(hello, to="ada")
            other.topics.add("team", ["bob"])
            other.tenants.upsert("acme")
            WORK[kind](notifier)

    with pytest.raises(nk.StorageError, match=r"has changed since .* run it again") as raised:
        behind()
    assert is_given_up(raised.value)
    with host.transaction() as notifier:
        WORK[kind](notifier)


def test_who_is_met_keeps_nobody_waiting(notify: Both, other: Both, host: Hosting) -> None:
    """Only rows that a conflict met are locked, and no gap behind them: others are made beside an open transaction."""
    if notify.place != "mariadb" or host.level == "SERIALIZABLE":
        pytest.skip("locks of gaps are InnoDB's, and a serializable transaction wants them")
    people(notify, "mia")
    with host.transaction() as notifier:
        other.topics.add("m", ["mia"])
        notifier.topics.add("m", ["mia"])
        notifier.subscribers.upsert("mia", channels=[{"provider": "fcm", "credentials": {"device_tokens": ["t"]}}])
        engine: Any = other.engine._runtime.database
        engine = engine.engine if other.notifier == "sync" else engine.database.engine

        @sa.event.listens_for(engine, "begin")
        def impatient(connection: sa.Connection) -> None:
            connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 1")

        for each in ("zoe", "mib", "mz"):
            other.subscribers.upsert(each, channels=[{"provider": "fcm", "credentials": {"device_tokens": ["t"]}}])
            other.topics.add(each, [each])
        other.trigger(hello, to="zoe")


def test_the_suite_in_a_hosts_transactions_meets_what_it_does_not_see(notify: Both) -> None:
    hosted = Hosted(notify.notifier, notify.url, level="REPEATABLE READ", place=notify.place)
    try:
        hosted.workflows.register(hello)
        assert hosted.trigger(hello, to="ada").recipients == 1
        assert (hosted.joined, hosted.met, hosted.repeated) == (1, 1, 1 if notify.place == "postgresql" else 0)
    finally:
        hosted.finish()


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_the_whole_suite_in_a_hosts_transactions(level: str, request: pytest.FixtureRequest) -> None:
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), "-q", "--host-isolation", level]
    done = subprocess.run(command, capture_output=True, text=True, cwd=request.config.rootpath, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
