from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from notifykit import errors
from notifykit.clock import from_micros, micros
from notifykit.events import MessageQueued
from notifykit.flow.steps import Push
from notifykit.ids import decode_id, encode_id
from notifykit.lifecycle.enqueuing import enqueue
from notifykit.model.codes import AttemptClass, JobKind, MessageStatus
from notifykit.model.job import NewJob
from notifykit.model.trace import Line, line
from notifykit.resources.executions import merged
from notifykit.resources.messages import shortened
from notifykit.workflow.definition import Workflow
from tests.resources.conftest import House, attempted, news

push = Workflow("push", steps=[Push("tap", body="b")])


@pytest.fixture
def told(house: House) -> House:
    house.registry.add(push)
    house.subscribers.bulk_upsert([{"subscriberId": name} for name in ("ada", "bob")])
    house.told("ada", "bob", given="first")
    house.clock.move(minutes=1)
    house.told("ada", step=1, status=MessageStatus.FAILED)
    house.clock.move(minutes=1)
    house.told("bob", workflow=push, status=MessageStatus.UNKNOWN)
    return house


def test_messages_are_filtered(told: House) -> None:
    def found(**filters: Any) -> list[tuple[str, str, str]]:
        return [(each.workflow, each.step, each.subscriber_id) for each in told.messages.list(**filters)]

    everything = [("push", "tap", "bob"), ("news", "mail", "ada"), ("news", "bell", "bob"), ("news", "bell", "ada")]
    assert found() == everything
    assert [(each.workflow, each.step, each.subscriber_id) for each in told.messages.each()] == everything
    assert found(status="failed") == everything[1:2]
    assert found(status=["failed", "unknown"]) == everything[:2]
    assert found(channel="in_app") == everything[2:]
    assert found(workflow="push") == found(workflow=push) == everything[:1]
    assert found(subscriber="ada") == [everything[1], everything[3]]
    assert found(transaction_id="first") == everything[2:]
    assert found(transaction_id="first", subscriber="ada", status="sent") == everything[3:]
    assert found(since=told.clock.now()) == everything[:1]
    generated = told.messages.list(status="failed").items[0].transaction_id
    assert generated.startswith("txn_")
    assert found(transaction_id=generated) == everything[1:2]
    for nothing in ({"workflow": "x"}, {"subscriber": "x"}, {"transaction_id": "x"}, {"transaction_id": "txn_x"}):
        assert found(**nothing) == []


def test_pages_of_one_trigger(told: House) -> None:
    first = told.messages.list(transaction_id="first", limit=1)
    second = told.messages.list(transaction_id="first", limit=1, after=first.next)
    assert [each.subscriber_id for each in (*first, *second)] == ["bob", "ada"]
    assert (second.next, second.previous, second.has_more) == (None, None, False)


@pytest.mark.parametrize(
    ("filters", "field", "hint"),
    [
        ({"status": "send"}, "status", "Did you mean 'sent'"),
        ({"status": ["sent", 3]}, "status", "There is"),
        ({"channel": "mail"}, "channel", "Did you mean 'email'"),
        ({"since": datetime(2026, 1, 1)}, "since", "timezone"),  # noqa: DTZ001
        ({"subscriber": 3}, "subscriber", "subscriber id"),
        ({"transaction_id": ""}, "transaction_id", "characters"),
    ],
)
def test_a_bad_filter_is_named(light: House, filters: Any, field: str, hint: str) -> None:
    with pytest.raises(errors.InputError, match=hint) as caught:
        light.messages.list(**filters)
    assert caught.value.field == field


def test_details(told: House) -> None:
    (failed,) = told.messages.list(status="failed")
    number = decode_id("msg", failed.id)
    told.write(lambda unit: attempted(unit, number, 1, AttemptClass.TRANSIENT, error="try later"))
    told.clock.move(minutes=1)
    told.write(lambda unit: attempted(unit, number, 2, AttemptClass.PERMANENT, target="x" * 40, error="no such user"))
    found = told.messages.get(failed.id)
    assert (found.subject, found.body, found.html, found.data, found.provider) == (
        "subject",
        "body",
        None,
        {},
        "console",
    )
    assert [(each.number, each.outcome, each.error) for each in found.attempts] == [
        (1, "transient", "try later"),
        (2, "permanent", "no such user"),
    ]
    assert [each.target for each in found.attempts] == [None, "xxxxxxxxxxxx…xxxxxx"]
    assert told.messages.list(status="failed").items[0].provider == "console"
    for unknown in ("msg_1", "msg_zz", "run_1", failed.id.upper()):
        with pytest.raises(errors.NotFoundError):
            told.messages.get(unknown)


def test_shared_content_and_html(told: House) -> None:
    told.told("ada", shared=True, given="shared")
    told.told("ada", step=1, data={"html": "<b>x</b>", "to": ["a@b"]}, given="html")
    (shared,) = told.messages.list(transaction_id="shared")
    assert told.messages.get(shared.id).body == "shared body"
    (mail,) = told.messages.list(transaction_id="html")
    assert told.messages.get(mail.id).html == "<b>x</b>"


def test_a_tenants_scope(told: House) -> None:
    told.tenants.upsert("acme")
    ((acme,),) = told.rows("SELECT id FROM notifykit_tenant")
    told.told("ada", tenant=acme, given="scoped")
    told.tenant = "acme"
    (message,) = told.messages.list()
    assert message.transaction_id == "scoped"
    assert told.messages.get(message.id).id == message.id
    told.tenant = "other"
    assert told.messages.list().items == []
    with pytest.raises(errors.NotFoundError):
        told.messages.get(message.id)
    with pytest.raises(errors.NotFoundError):
        told.messages.retry(message.id)


def test_retry_queues_again(told: House) -> None:
    told.observed = {"message_queued"}
    (failed,) = told.messages.list(status="failed")
    number = decode_id("msg", failed.id)
    told.write(lambda unit: attempted(unit, number, 3, AttemptClass.PERMANENT))
    told.clock.move(minutes=1)
    assert told.messages.retry(told.messages.list().items) == 2
    assert told.due[-1] == told.clock.now()
    assert told.messages.retry(failed) == told.messages.retry([]) == 0
    assert {each.status for each in told.messages.list(subscriber="ada", channel="email")} == {"queued"}
    jobs = told.rows("SELECT id, kind, message, subject, attempt, owner FROM notifykit_job ORDER BY id")
    assert jobs[0] == (number, JobKind.DELIVER.value, number, number >> 6, 0, "")
    assert len(jobs) == 2
    assert [type(event) for event in told.heard] == [MessageQueued, MessageQueued]
    assert {event.message.status for event in told.heard} == {"queued"}
    kinds = [each.kind for each in told.executions.list(transaction_id=failed.transaction_id)]
    assert kinds == ["event_processed", "message_created", "run_completed", "attempt", "message_retried"]
    with pytest.raises(errors.NotFoundError):
        told.messages.retry("msg_1")


def test_a_run_that_is_to_go_on_waits_for_the_retry(told: House) -> None:
    (failed,) = told.messages.list(status="failed")
    number = decode_id("msg", failed.id)

    def resume(unit: Any) -> None:
        enqueue(unit, [NewJob(number, 1, unit.now, JobKind.ADVANCE.value, number >> 6, 1)])

    told.write(resume)
    assert told.messages.retry(failed.id) == 1
    assert told.rows("SELECT id, kind FROM notifykit_job") == [(number, JobKind.DELIVER.value)]


def test_who_is_gone_is_not_tried_again(told: House) -> None:
    (failed,) = told.messages.list(status="failed")
    told.subscribers.delete("ada")
    assert told.messages.retry(failed.id) == 0


def test_the_statements_of_a_retry_do_not_grow(light: House) -> None:
    names = [f"s{n}" for n in range(40)]
    light.subscribers.bulk_upsert({"subscriberId": name} for name in names)
    light.told(*names, status=MessageStatus.FAILED, step=1)
    found = light.messages.list().items
    with light.counted() as one:
        assert light.messages.retry(found[0]) == 1
    with light.counted() as many:
        assert light.messages.retry(found) == 39
    assert len(one) == len(many)


def test_runs(told: House) -> None:
    def found(**filters: Any) -> list[tuple[str, str]]:
        return [(each.workflow, each.subscriber_id) for each in told.runs.list(**filters)]

    everything = [("push", "bob"), ("news", "ada"), ("news", "bob"), ("news", "ada")]
    assert found() == everything
    assert found(workflow=push) == everything[:1]
    assert found(transaction_id="first", subscriber="bob") == everything[2:3]
    assert found(status="waiting") == []
    assert found(status=["completed"], subscriber="ada") == [everything[1], everything[3]]
    run = told.runs.list(limit=1).items[0]
    assert told.runs.get(run.id) == run
    assert run.version == push.hash
    assert run.id.startswith("run_")
    assert run.finished_at == run.created_at
    for unknown in ("run_1", "msg_2", "x"):
        with pytest.raises(errors.NotFoundError):
            told.runs.get(unknown)
    with pytest.raises(errors.InputError, match="Did you mean 'completed'"):
        told.runs.list(status="complete")


def test_executions_tell_one_story(told: House) -> None:
    def found(**filters: Any) -> list[tuple[str, str | None, str]]:
        return [(each.subscriber_id, each.step, each.kind) for each in told.executions.list(**filters)]

    (unknown,) = told.messages.list(status="unknown")
    told.clock.move(minutes=1)
    told.write(lambda unit: attempted(unit, decode_id("msg", unknown.id), 1, AttemptClass.UNKNOWN, error="reset"))
    bob_first = [("bob", "bell", "message_created"), ("bob", None, "run_completed")]
    assert found(transaction_id="first") == [
        ("", None, "event_processed"),
        ("ada", "bell", "message_created"),
        ("ada", None, "run_completed"),
        *bob_first,
    ]
    assert found(transaction_id="first", subscriber="bob") == bob_first
    assert found(subscriber="bob") == [
        *bob_first,
        ("bob", "tap", "message_created"),
        ("bob", None, "run_completed"),
        ("bob", "tap", "attempt"),
    ]
    attempt = told.executions.list(subscriber="bob")[-1]
    assert (attempt.reason, attempt.data) == ("unknown", {"number": 1, "integration": "console", "error": "reset"})
    assert attempt.transaction_id == unknown.transaction_id
    assert len(found()) == 3 + 4 * 2 + 1  # an event's line, a run's two, the attempt
    assert found(transaction_id="x") == []


def test_attempts_stand_before_what_they_led_to() -> None:
    now = from_micros(1)

    def outcome(kind: str) -> Line:
        return Line(now, "mail", kind, None, {})

    def attempt(number: int, reason: str) -> Line:
        return Line(now, "mail", "attempt", reason, {"number": number})

    trace = [outcome(kind) for kind in ("message_queued", "message_failed", "message_retried", "message_sent")]
    story = merged(trace, [attempt(1, "transient"), attempt(2, "permanent"), attempt(3, "sent")])
    assert [each.data.get("number", each.kind) for each in story] == [
        "message_queued", 1, 2, "message_failed", "message_retried", 3, "message_sent",
    ]  # fmt: skip


def test_environments_do_not_see_each_other(light: House) -> None:
    light.subscribers.upsert("ada")
    light.told("ada", given="g", trace=line(micros(light.clock.now()), "bell", "message_created"))
    message, run = light.messages.list().items[0], light.runs.list().items[0]
    original = light.unit

    def elsewhere(connection: Any) -> Any:
        return original(connection).within_environment(7)

    light.unit = elsewhere  # type: ignore[method-assign]
    assert light.messages.list().items == light.runs.list().items == light.subscribers.list().items == []
    assert light.executions.list() == light.executions.list(transaction_id="g") == []
    for work in (
        lambda: light.messages.get(message.id),
        lambda: light.messages.retry(message.id),
        lambda: light.runs.get(run.id),
        lambda: light.subscribers.get("ada"),
        lambda: light.preferences.get("ada"),
    ):
        with pytest.raises(errors.NotFoundError):
            work()
    assert light.inbox("ada").unread_count() == 0
    assert light.messages.list(transaction_id=encode_id("txn", 5)).items == []


def test_long_targets_are_shortened() -> None:
    assert shortened("") is None
    assert shortened("ada@example.com") == "ada@example.com"
    assert shortened("0123456789" * 4) == "012345678901…456789"


def test_the_plan_of_a_filtered_page_starts_at_the_runs(light: House) -> None:
    light.subscribers.upsert("ada")
    light.told("ada", given="g")
    with light.counted() as seen:
        light.messages.list(transaction_id="g")
    (text,) = [each for each in seen if "notifykit_run.event = ?" in each]
    plan = " ".join(row[3] for row in light.rows("EXPLAIN QUERY PLAN " + text.replace("?", "1")))
    assert "SCAN" not in plan
    assert "SEARCH notifykit_message USING INTEGER PRIMARY KEY" in plan
    assert news.key == "news"
