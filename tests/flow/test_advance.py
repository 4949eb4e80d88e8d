"""What each kind of step does with runs: plain values in, plain values out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import notifykit as nk
from notifykit.flow.run_columns import EventContext
from notifykit.model.codes import JobKind, MessageStatus
from tests.flow.builder import NOW, Given, person

BELL = nk.InApp("bell", body="Hello {{ payload.name }}")
MAIL = nk.Email("mail", subject="s", body="b")
WAIT = nk.Delay("wait", minutes=10)


def test_an_in_app_message_is_written_at_once_and_the_run_is_completed() -> None:
    done = Given(payload={"name": "Ada"}).advance(BELL)
    ((number, *_, status, _, _),) = done.changes.messages
    assert (number, status) == (100 << 6, MessageStatus.SENT)
    assert done.changes.messages[0][7:9] == (None, "Hello Ada")
    assert (done.status(), done.changes.steps, done.waits) == ("completed", [1], [])
    assert done.told() == [("bell", "message_sent", None)]
    assert done.record("bell") == {
        "status": "sent",
        "reason": None,
        "at": NOW.isoformat(),
        "delivery": None,
        "seen": False,
        "read": False,
    }


def test_text_that_is_the_same_for_all_of_a_fan_out_is_kept_once() -> None:
    done = Given(people=[person(1), person(2), person(3)], payload={"name": "x"}, fans_out=True).advance(BELL)
    assert [row[2] for row in done.changes.contents] == ["Hello x"]
    assert {row[6] for row in done.changes.messages} == {done.changes.contents[0][0]}
    assert {row[7:11] for row in done.changes.messages} == {(None, None, None, None)}


@pytest.mark.parametrize(
    "given",
    [
        Given(people=[person(1), person(2)], payload={"name": "x"}),
        Given(
            people=[person(1), person(2)],
            payload={"name": "x"},
            own={0: {"name": "y"}, 1: {"name": "z"}},
            fans_out=True,
        ),
    ],
    ids=["no fan-out", "payloads of their own"],
)
def test_other_text_is_kept_with_each_message(given: Given) -> None:
    done = given.advance(BELL)
    assert done.changes.contents == []
    wanted = [given.own.get(at, given.payload)["name"] for at in range(2)]
    assert [row[8] for row in done.changes.messages] == [f"Hello {name}" for name in wanted]


def test_a_payload_of_ones_own_in_the_middle_does_not_leak_into_the_next_run() -> None:
    given = Given(people=[person(1), person(2), person(3)], payload={"name": "x"}, own={1: {"name": "y"}})
    assert [row[8] for row in given.advance(BELL).changes.messages] == ["Hello x", "Hello y", "Hello x"]


@pytest.mark.parametrize(("stop", "status", "told"), [(True, "failed", 1), (False, "completed", 2)])
def test_a_text_that_cannot_be_rendered_fails_the_step(stop: bool, status: str, told: int) -> None:
    done = Given().advance(
        nk.InApp("bell", body="{{ payload.name }}", stop_on_fail=stop), nk.InApp("end", body="the end")
    )
    assert done.told()[0] == ("bell", "message_failed", "payload.name is undefined")
    assert (done.status(), len(done.told()), len(done.changes.messages)) == (status, told, told - 1)
    assert done.record("bell")["status"] == "failed"


def test_texts_of_one_event_and_step_that_differ_are_kept_apart() -> None:
    event = EventContext(7, None, {}, fans_out=True)
    english, german = nk.InApp("bell", body="Hello"), nk.InApp("bell", body="Hallo")
    done = [
        Given(people=[person(first), person(first + 1)], event=event, first=first).advance(step)
        for first, step in ((100, english), (200, german), (300, english))
    ]
    contents = {row[0]: row[2] for each in done for row in each.changes.contents}
    assert contents == {100 << 6: "Hello", 200 << 6: "Hallo"}
    shown = [[contents[row[6]] for row in each.changes.messages] for each in done]
    assert shown == [["Hello"] * 2, ["Hallo"] * 2, ["Hello"] * 2]


def test_a_message_to_the_outside_is_queued_with_its_job() -> None:
    done = Given().advance(MAIL, BELL, position=0, active=True)
    ((number, *_, status, _, _), *_) = done.changes.messages
    assert (number, status) == (100 << 6, MessageStatus.QUEUED)
    (job,) = done.changes.jobs
    assert (job.kind, job.subject, job.step, job.message, job.due_at) == (JobKind.DELIVER, 100, 0, number, NOW)
    assert done.told()[0] == ("mail", "message_queued", None)
    assert done.record("mail")["delivery"] == "queued"


def test_a_run_waits_for_an_outcome_that_a_later_step_names() -> None:
    done = Given().advance(MAIL, nk.InApp("bell", body="b", when="steps.mail.delivery == 'failed'"))
    assert (done.status(), done.changes.steps, len(done.changes.messages)) == ("waiting", [0], 1)


def test_a_run_waits_for_a_step_that_may_stop_it() -> None:
    done = Given().advance(nk.Email("mail", subject="s", body="b", stop_on_fail=True), BELL)
    assert (done.status(), done.changes.steps) == ("waiting", [0])


@pytest.mark.parametrize(
    ("step", "facts", "reason"),
    [
        (MAIL, {"email": None}, "the subscriber has no address for email"),
        (nk.Sms("text", body="b"), {"phone": ""}, "the subscriber has no address for sms"),
        (nk.Push("push", title="t", body="b"), {}, "the subscriber has no address for push"),
        (nk.Chat("chat", body="b"), {}, "the subscriber has no address for chat"),
    ],
    ids=lambda value: value.kind if isinstance(value, nk.Step) else "",
)
def test_who_has_no_address_skips_the_step(step: nk.Step, facts: dict[str, Any], reason: str) -> None:
    done = Given(people=[person(1, **facts)]).advance(step)
    assert done.told() == [(step.id, "message_skipped", "no_address")]
    assert (done.rule(), done.record(step.id)["status"], done.changes.jobs) == (reason, "skipped", [])


def test_an_address_that_the_trigger_adds_is_one() -> None:
    done = Given(people=[person(1, email=None)], overrides={"email": {"to": ["x@example.com"]}}).advance(MAIL)
    assert done.told() == [("mail", "message_queued", None)]


@pytest.mark.parametrize("code", ["push", "chat"])
def test_a_device_is_an_address(code: str) -> None:
    step = nk.Push("out", title="t", body="b") if code == "push" else nk.Chat("out", body="b")
    assert Given(devices=[(code, 1)]).advance(step).told() == [("out", "message_queued", None)]


def test_a_choice_skips_the_step_for_its_subscriber_only() -> None:
    given = Given(people=[person(1), person(2)], choices={("email", 2): {"workflow:w": False}})
    done = given.advance(MAIL)
    assert [done.told(index)[0][1:] for index in range(2)] == [
        ("message_queued", None),
        ("message_skipped", "preference"),
    ]
    assert done.rule(1) == "subscriber, workflow 'w': off"


@pytest.mark.parametrize(("critical", "told"), [(False, "message_queued"), (True, "message_skipped")])
def test_what_the_definition_switches_off_can_be_chosen_unless_it_is_critical(critical: bool, told: str) -> None:
    given = Given(choices={("email", 1): {"*": True}})
    done = given.advance(MAIL, preferences={"email": False}, critical=critical)
    assert done.told()[0][1] == told


def test_the_definition_alone_switches_a_channel_off() -> None:
    assert Given().advance(MAIL, preferences={"email": False}).told() == [("mail", "message_skipped", "preference")]


@pytest.mark.parametrize(
    ("when", "rule"),
    [("payload.go", "payload.go"), ("payload.nobody", "payload.nobody is undefined"), ("1 / 0", None)],
)
def test_a_condition_that_is_not_true_skips_the_step(when: str, rule: str | None) -> None:
    done = Given(payload={"go": False}).advance(nk.InApp("bell", body="b", when=when))
    assert done.told() == [("bell", "message_skipped", "condition")]
    assert done.rule() == rule if rule else done.rule()


def test_a_condition_is_asked_for_each_run_and_all_go_on_in_order() -> None:
    people = [person(1), person(2, first_name="Bob"), person(3)]
    done = Given(people=people).advance(
        nk.InApp("first", body="b", when="subscriber.first_name == 'Bob'"), nk.InApp("second", body="b")
    )
    assert [row[0] for row in done.changes.messages] == [101 << 6, 100 << 6 | 1, 101 << 6 | 1, 102 << 6 | 1]


def test_a_condition_reads_the_records_of_earlier_steps() -> None:
    records = {"bell": {"status": "sent", "reason": None, "at": "", "delivery": None, "seen": True, "read": True}}
    done = Given(records=records).advance(BELL, WAIT, nk.InApp("end", body="b", when="not steps.bell.read"), position=2)
    assert done.told() == [("end", "message_skipped", "condition")]


def test_a_step_that_is_not_active_is_left_out() -> None:
    assert Given().advance(nk.InApp("bell", body="b", active=False)).told() == []


def test_a_delay_waits_for_its_span() -> None:
    done = Given().advance(WAIT, nk.InApp("end", body="b"))
    assert done.waits == [(100, 0, NOW + timedelta(minutes=10), "")]
    assert (done.status(), done.changes.steps) == ("waiting", [0])
    assert done.told() == [("wait", "step_waiting", None)]
    assert done.record("wait") == {
        "status": "waiting",
        "reason": None,
        "at": NOW.isoformat(),
        "until": (NOW + timedelta(minutes=10)).isoformat(),
        "duration": 600.0,
    }


@pytest.mark.parametrize(("minutes", "waits"), [(-1, False), (0, False), (1, True)])
def test_a_delay_until_a_time_waits_only_while_it_is_to_come(minutes: int, waits: bool) -> None:
    at = NOW + timedelta(minutes=minutes)
    done = Given(payload={"at": at.isoformat()}).advance(
        nk.Delay("wait", until="payload.at"), nk.InApp("end", body="b")
    )
    assert done.status() == ("waiting" if waits else "completed")
    assert done.waits == ([(100, 0, at, "")] if waits else [])
    assert done.record("wait")["duration"] == (60.0 if waits else 0.0)
    assert done.record("wait")["status"] == ("waiting" if waits else "waited")
    assert len(done.changes.messages) == (0 if waits else 1)


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({}, "payload.at: an ISO 8601 time is expected and missing"),
        ({"at": "soon"}, "payload.at: 'soon' is no ISO 8601 time"),
    ],
)
@pytest.mark.parametrize("stop", [True, False])
def test_a_delay_without_a_time_fails(payload: dict[str, Any], problem: str, stop: bool) -> None:
    done = Given(payload=payload).advance(
        nk.Delay("wait", until="payload.at", stop_on_fail=stop), nk.InApp("end", body="b")
    )
    assert done.told()[0] == ("wait", "step_failed", problem)
    assert (done.status(), done.changes.steps[0]) == (("failed", 0) if stop else ("completed", 2))
    assert len(done.changes.messages) == (0 if stop else 1)


@pytest.mark.parametrize(
    ("overrides", "minutes"),
    [
        ({"delay": {"amount": 2, "unit": "minutes"}}, 2),
        ({"steps": {"wait": {"amount": 3, "unit": "minutes"}}}, 3),
        ({"delay": {"amount": 2, "unit": "minutes"}, "steps": {"wait": {"amount": 3, "unit": "minutes"}}}, 3),
    ],
)
def test_a_trigger_overrides_a_delay(overrides: dict[str, Any], minutes: int) -> None:
    assert Given(overrides=overrides).advance(WAIT).waits[0][2] == NOW + timedelta(minutes=minutes)


def test_a_delay_until_a_time_keeps_it_unless_it_is_named() -> None:
    at = (NOW + timedelta(hours=1)).isoformat()
    until = nk.Delay("wait", until="payload.at")
    general = Given(payload={"at": at}, overrides={"delay": {"amount": 2, "unit": "minutes"}}).advance(until)
    own = Given(payload={"at": at}, overrides={"steps": {"wait": {"amount": 2, "unit": "minutes"}}}).advance(until)
    assert (general.waits[0][2], own.waits[0][2]) == (NOW + timedelta(hours=1), NOW + timedelta(minutes=2))


def test_a_function_that_runs_outside_is_waited_for() -> None:
    done = Given().advance(nk.Custom("score", lambda context: {}), nk.InApp("end", body="b"))
    assert done.waits == [(100, 0, NOW, "w/score")]
    assert (done.changes.jobs[0].kind, done.status(), done.told()) == (JobKind.CUSTOM, "waiting", [])


def test_a_pure_function_runs_on_the_way() -> None:
    done = Given(payload={"n": 2}).advance(
        nk.Custom("score", lambda context: {"twice": context.payload["n"] * 2}, pure=True),
        nk.InApp("end", body="{{ steps.score.twice }}"),
    )
    assert done.told()[0] == ("score", "step_completed", None)
    assert done.changes.messages[0][8] == "4"


@pytest.mark.parametrize("stop", [True, False])
def test_a_pure_function_that_raises_fails_the_step_of_that_run_only(stop: bool) -> None:
    def score(context: nk.Context[Any]) -> None:
        if context.subscriber["subscriber_id"] == "user-2":
            raise ValueError("no")

    done = Given(people=[person(1), person(2), person(3)]).advance(
        nk.Custom("score", score, pure=True, stop_on_fail=stop), nk.InApp("end", body="b")
    )
    assert [done.status(index) for index in range(3)] == ["completed", "failed" if stop else "completed", "completed"]
    assert done.told(1)[0] == ("score", "step_failed", "ValueError: no")
    assert len(done.changes.messages) == (2 if stop else 3)


def test_a_preview_renders_what_goes_outside() -> None:
    step = nk.Email("mail", subject="s", body="{{ payload.nobody }}")
    assert Given(preview=True).advance(step).changes.unrenderable == {(0, "mail"): "payload.nobody is undefined"}
    assert Given(preview=False).advance(step).changes.unrenderable == {}
