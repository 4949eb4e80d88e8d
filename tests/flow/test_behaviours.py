"""What kinds of steps say of runs that wait: how they resume, whether they failed, what `explain` assumes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import notifykit as nk
from notifykit.flow.run_columns import Instant
from notifykit.flow.steps import behaviour_of
from notifykit.flow.trace_log import TraceEntry, TraceLog
from notifykit.model.trace import lines
from notifykit.workflow.serialization import MissingFunction
from tests.flow.builder import NOW, Given, person

LATER = NOW + timedelta(hours=1)
MAIL = nk.Email("mail", subject="s", body="b")
DELAY = nk.Delay("wait", hours=1)
PURE = nk.Custom("score", lambda context: {}, pure=True)
OUTSIDE = nk.Custom("score", lambda context: {})
BELL = nk.InApp("bell", body="b")


def record(status: str, **fields: Any) -> dict[str, Any]:
    return {"status": status, "reason": None, "at": NOW.isoformat(), **fields}


@pytest.mark.parametrize(
    ("step", "found", "failed"),
    [
        (MAIL, record("queued", delivery="failed"), True),
        (MAIL, record("queued", delivery="unknown"), True),
        (MAIL, record("queued", delivery="sent"), False),
        (MAIL, record("failed", delivery=None), False),
        (PURE, record("failed"), True),
        (PURE, record("completed"), False),
        (DELAY, record("waited"), False),
    ],
)
def test_whether_a_step_failed(step: nk.Step, found: dict[str, Any], failed: bool) -> None:
    assert behaviour_of(step).has_failed(found) is failed


@pytest.mark.parametrize(("step", "unknown"), [(OUTSIDE, True), (PURE, False), (DELAY, False), (MAIL, False)])
def test_whose_result_nobody_knows_before(step: nk.Step, unknown: bool) -> None:
    assert behaviour_of(step).is_unknown(step) is unknown


def test_what_explain_says_of_a_run_that_waits() -> None:
    assert behaviour_of(OUTSIDE).waiting_rule(OUTSIDE) == "the function runs outside, when a worker takes it"
    assert behaviour_of(DELAY).waiting_rule(DELAY) is None


@pytest.mark.parametrize(
    ("step", "found", "renders", "wanted"),
    [
        (MAIL, record("queued", delivery="queued"), True, {"delivery": "sent"}),
        (MAIL, record("queued", delivery="queued"), False, {"delivery": "failed"}),
        (MAIL, record("skipped", delivery=None), True, {}),
        (DELAY, record("waiting"), True, {"status": "waited", "at": LATER.isoformat()}),
        (DELAY, record("skipped"), True, {}),
        (BELL, record("sent", delivery=None), True, {}),
    ],
)
def test_what_explain_takes_a_record_to_be_later(
    step: nk.Step, found: dict[str, Any], renders: bool, wanted: dict[str, Any]
) -> None:
    assert behaviour_of(step).assumed(found, LATER, renders=renders) == found | wanted


def test_a_delay_that_is_over_keeps_what_its_record_said() -> None:
    trace = TraceLog(Instant.of(LATER, "later"))
    path = trace.start({"wait": record("waiting", until="x", duration=3600.0)}, has_message=False)
    found = behaviour_of(DELAY).resume(DELAY, trace, path)
    assert trace.records[found]["wait"] == record("waited", until="x", duration=3600.0) | {"at": LATER.isoformat()}
    assert [(line.step, line.kind) for line in lines(trace.texts[found])] == [("wait", "step_completed")]


def test_other_kinds_resume_as_they_are() -> None:
    trace = TraceLog(Instant.of(LATER, "later"))
    path = trace.start({"mail": record("queued", delivery="sent")}, has_message=True)
    assert behaviour_of(MAIL).resume(MAIL, trace, path) == path


def test_a_pure_function_that_this_process_lacks_is_waited_for() -> None:
    lacking = nk.Custom("score", MissingFunction("w/score"), pure=True)
    done = Given().advance(lacking, nk.InApp("end", body="b"))
    assert (done.status(), done.waits[0][3], done.told()) == ("waiting", "w/score", [])


def test_a_condition_that_this_process_lacks_is_waited_for() -> None:
    bell = nk.InApp("bell", body="b", when=MissingFunction("w/bell"))
    done = Given().advance(bell)
    assert (done.status(), done.waits[0][3], done.told()) == ("waiting", "w/bell", [])


def test_a_line_without_a_status_leaves_no_record() -> None:
    trace = TraceLog(Instant.of(NOW, "now"))
    told = trace.add(0, TraceEntry("bell", "attempt", "later"))
    assert (trace.records[told], trace.reasons[told]) == ({}, "later")
    assert [line.reason for line in lines(trace.texts[told])] == ["later"]


def test_runs_that_went_the_same_way_share_their_path() -> None:
    trace = TraceLog(Instant.of(NOW, "now"))
    sent = TraceEntry("bell", "message_sent", None, None, "sent")
    assert trace.add(0, sent) == trace.add(0, sent) != trace.add(0, TraceEntry("bell", "message_sent", "why"))
    assert trace.start({"a": record("sent")}, has_message=True) == trace.start({"a": record("sent")}, has_message=True)
    assert trace.start({"a": record("sent")}, has_message=True) != trace.start({"a": record("sent")}, has_message=False)


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ([], None),
        (["message_skipped"], "why"),
        (["message_skipped", "message_sent"], None),
        (["message_queued", "message_skipped"], None),
    ],
)
def test_a_run_without_a_message_says_why(kinds: list[str], reason: str | None) -> None:
    trace, path = TraceLog(Instant.of(NOW, "now")), 0
    for kind in kinds:
        path = trace.add(path, TraceEntry("bell", kind, "why" if kind == "message_skipped" else None, None, "done"))
    assert trace.reason_of(path) == reason


def test_a_message_to_the_outside_has_no_text_yet() -> None:
    (row,) = Given(people=[person(7)]).advance(MAIL).changes.messages
    assert (row[3], row[6:11]) == (7, (0, None, None, None, None))


def test_whether_a_function_is_pure_is_a_truth_value() -> None:
    odd: Any = "yes"
    assert list(nk.Custom("score", lambda context: {}, pure=odd).problems()) == [
        "pure must be True or False, not 'yes'"
    ]
    assert list(PURE.problems()) == []
