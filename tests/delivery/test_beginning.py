"""Only a call that has started counts as an attempt, and none starts after an opt-out, a cancel or a deletion."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import notifykit as nk
from notifykit.delivery.outcomes import Abandoned
from notifykit.model import Job
from tests.behaviour.stories import people
from tests.harness.both import Both

ROOT = Path(__file__).parents[2]
mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="s", body="b")])
ONCE = [(1, "sent")]
NAMES = ("ada", "bob", "cyd", "dan", "eve", "fay")


def attempts(notify: Both) -> dict[str, list[tuple[int, str]]]:
    """Every attempt there is, by subscriber."""
    return {
        message.subscriber_id: [(each.number, each.outcome) for each in notify.messages.get(message.id).attempts]
        for message in notify.messages.list()
    }


def statuses(notify: Both) -> dict[str, str]:
    """How every message fared, by subscriber."""
    return {message.subscriber_id: message.status for message in notify.messages.list()}


def serve(notify: Both, act: Callable[[str], Any]) -> list[str]:
    """Serve e-mail by a hook of the engine's own notifier; whom it was called for, in order."""
    called: list[str] = []

    def hook(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        act(message.subscriber_id)

    async def awaited(message: nk.EmailMessage) -> None:
        called.append(message.subscriber_id)
        answer = act(message.subscriber_id)
        if answer is not None:
            await answer

    notify.engine.deliver("email")(awaited if notify.notifier == "async" else hook)
    return called


@pytest.mark.uneven
@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_who_stops_the_process_costs_the_neighbours_nothing(
    house: Callable[..., Both], stop: type[BaseException]
) -> None:
    notify = house(hooks=False, workflows=[mail])
    people(notify, *NAMES)

    def act(who: str) -> None:
        if who == "ada":
            raise stop

    if notify.notifier == "async":
        pytest.skip("a loop does not survive what stops its process")
    called = serve(notify, act)
    notify.trigger(mail(), to=NAMES)
    for _ in range(4):
        with pytest.raises(stop):
            notify.drain()
        notify.clock.move(minutes=1)
    assert notify.drain().failed == 1
    assert called == ["ada", *NAMES[1:], "ada", "ada", "ada"]
    assert attempts(notify) == {"ada": [(n, "unknown") for n in (1, 2, 3, 4)]} | dict.fromkeys(NAMES[1:], ONCE)
    assert statuses(notify) == {"ada": "failed"} | dict.fromkeys(NAMES[1:], "sent")


def test_the_batch_of_a_process_that_dies_counts_no_attempts(tmp_path: Path) -> None:
    script = """
        import os, sys
        import notifykit as nk

        calls = open(sys.argv[2], "a", buffering=1)
        notify = nk.Engine(sys.argv[1])

        @notify.deliver("email")
        def send(message):
            calls.write(message.subscriber_id + "\\n")
            if message.subscriber_id == "user-40":
                os._exit(7)

        notify.drain()
    """
    url, calls = f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "calls"
    everybody = [f"user-{n}" for n in range(100)]
    with nk.Engine(url, workflows=[mail]) as notify:
        notify.trigger(mail(), to=[nk.Recipient(who, email="a@example.com") for who in everybody])
        died = subprocess.run([sys.executable, "-c", textwrap.dedent(script), url, str(calls)], cwd=ROOT, check=False)
        assert died.returncode == 7
        assert calls.read_text().split() == everybody[:41]
        notify.deliver("email")(lambda message: None)
        notify.drain()
        left = list(notify.messages.list(status="queued"))
        assert 0 < len(left) < 64
        assert [list(notify.messages.get(message.id).attempts) for message in left] == [[]] * len(left)


@pytest.mark.uneven
@pytest.mark.parametrize("verb", ["opt-out", "delete", "cancel"])
def test_nothing_begins_after_the_verb_returned(house: Callable[..., Both], verb: str) -> None:
    notify = house(hooks=False, workflows=[mail])
    people(notify, *NAMES)
    warm = serve(notify, lambda who: stop(who) if notify.outside.calls else None)

    def stop(who: str) -> Any:
        if who != "ada":
            return None
        if verb == "opt-out":
            return notify.engine.preferences.update("bob", channels={"email": False})
        if verb == "delete":
            return notify.engine.subscribers.delete("bob")
        return notify.engine.cancel(run)

    notify.trigger(mail(), to=NAMES)
    notify.drain()  # what is quick is claimed together from now on
    notify.outside.calls.append(("email", None))
    result = notify.trigger(mail(), to=["ada", "bob", "cyd"])
    run = next(
        each.id for each in notify.runs.list(transaction_id=result.transaction_id) if each.subscriber_id == "bob"
    )
    notify.drain()
    assert warm[len(NAMES) :] == ["ada", "cyd"]
    left = [each.status for each in notify.messages.list(transaction_id=result.transaction_id)]
    assert sorted(left) == sorted(["skipped" if verb == "opt-out" else "cancelled", "sent", "sent"])
    assert notify.count(Job) == 0


@pytest.mark.uneven
def test_an_opt_out_of_another_channel_stops_nothing(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=[mail])
    people(notify, *NAMES)
    called = serve(
        notify, lambda who: notify.engine.preferences.update("bob", channels={"sms": False}) if who == "ada" else None
    )
    notify.trigger(mail(), to=NAMES)
    assert notify.drain().sent == len(NAMES)
    assert called == list(NAMES)


@pytest.mark.uneven
def test_slow_neighbours_count_no_attempts(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=[mail])
    people(notify, *NAMES)
    called = serve(notify, lambda who: notify.clock.move(seconds=90))
    notify.trigger(mail(), to=NAMES)
    assert notify.drain().sent == len(NAMES)
    assert called == list(NAMES)
    assert attempts(notify) == dict.fromkeys(NAMES, ONCE)


@pytest.mark.uneven
def test_an_abandoned_call_is_unknown_and_its_neighbours_are_sent(house: Callable[..., Both]) -> None:
    notify = house(hooks=False, workflows=[mail])
    people(notify, *NAMES)
    failing: list[BaseException] = []

    def act(who: str) -> None:
        if failing and who == "cyd":
            raise failing.pop()

    serve(notify, act)
    notify.trigger(mail(), to=NAMES)
    assert notify.drain().sent == len(NAMES)
    failing.append(Abandoned())
    notify.trigger(mail(), to=NAMES)
    assert notify.drain().sent == len(NAMES) - 1
    notify.clock.move(minutes=1)
    assert notify.drain().sent == 1
    (cyd,) = [each for each in notify.messages.list(subscriber="cyd") if len(notify.messages.get(each.id).attempts) > 1]
    assert [(each.number, each.outcome) for each in notify.messages.get(cyd.id).attempts] == [
        (1, "unknown"),
        (2, "sent"),
    ]
