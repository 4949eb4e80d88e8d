from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from notifykit.errors import ConfigurationError, DefinitionError, PayloadError
from notifykit.flow.steps import Chat, Custom, Delay, Email, InApp, Push, Sms
from notifykit.model.codes import CHANNELS
from notifykit.workflow.checks import unreadable
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import Registry, StoredVersion
from notifykit.workflow.serialization import MissingFunction
from notifykit.workflow.steps import Step

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
DATA = st.none() | st.dictionaries(TEXT, TEXT | st.integers(-5, 5) | st.lists(st.booleans()), max_size=3)
COMMON = {"when": st.none() | TEXT, "active": st.booleans(), "stop_on_fail": st.booleans()}
AMOUNT = st.none() | st.integers(1, 100) | st.floats(0.1, 100)
STEPS = st.one_of(
    st.builds(InApp, TEXT, body=TEXT, subject=st.none() | TEXT, redirect=st.none() | TEXT, data=DATA, **COMMON),
    st.builds(Email, TEXT, subject=TEXT, body=TEXT, html=st.none() | TEXT, **COMMON),
    st.builds(Sms, TEXT, body=TEXT, **COMMON),
    st.builds(Chat, TEXT, body=TEXT, **COMMON),
    st.builds(Push, TEXT, title=TEXT, body=TEXT, data=DATA, **COMMON),
    st.builds(
        Delay,
        TEXT,
        until=st.none() | TEXT,
        minutes=AMOUNT,
        hours=AMOUNT,
        months=st.none() | st.integers(1, 9),
        **COMMON,
    ),
    st.builds(Custom, TEXT, st.just(lambda context: None), pure=st.booleans(), **COMMON),
)


class Shipped(BaseModel):
    order: int
    carrier: str = "ups"


WORKFLOWS = st.builds(
    Workflow,
    st.just("k"),
    steps=st.lists(STEPS, max_size=6),
    payload=st.none() | st.just(Shipped),
    name=TEXT,
    tags=st.lists(TEXT, max_size=3),
    group=TEXT,
    active=st.booleans(),
    critical=st.booleans(),
    preferences=st.dictionaries(st.sampled_from(CHANNELS), st.booleans()),
)


@given(WORKFLOWS)
def test_what_was_stored_loads_as_it_was(workflow):
    through_the_database = json.loads(json.dumps(workflow.definition))
    registry = Registry()
    registry.add(workflow)
    for known in (registry, Registry()):
        loaded = known.load("k", through_the_database)
        assert loaded.definition == workflow.definition
        assert loaded.hash == workflow.hash


@given(WORKFLOWS)
def test_a_definition_with_its_key_is_the_workflow(workflow):
    given = {"key": workflow.key, **workflow.definition}
    for data in (given, json.loads(json.dumps(given))):
        made = Workflow.from_dict(data)
        assert (made.key, made.definition, made.hash) == ("k", workflow.definition, workflow.hash)
    other = Workflow.from_dict(given, key="other")
    assert other.key == "other"
    assert [step.id for step in other.steps] == [step.id for step in workflow.steps]


KEYS = st.sampled_from(
    ["key", "steps", "payload", "preferences", "kind", "id", "when", "run", "body", "months", "tags"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2)
NAMED = st.sampled_from(["in_app", "email", "delay", "custom", "$ref", "properties", "expression", "function", "k"])
JUNK = st.recursive(
    LEAVES | NAMED | st.builds(object),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(KEYS | NAMED | LEAVES, inside, max_size=4),
    max_leaves=25,
)
STEP = st.fixed_dictionaries({"kind": NAMED, "id": TEXT}, optional={"when": JUNK, "run": JUNK, "body": JUNK})
LIKELY = st.fixed_dictionaries(
    {
        "key": st.just("k") | JUNK,
        "steps": st.lists(JUNK | STEP, max_size=3),
    },
    optional={"payload": JUNK, "preferences": JUNK, "name": JUNK, "active": JUNK},
)


@given(JUNK | LIKELY)
def test_junk_is_refused_or_taken_and_nothing_else(data):
    try:
        made = Workflow.from_dict(data)
    except DefinitionError:
        return
    assert Workflow.from_dict({"key": made.key, **made.definition}).hash == made.hash
    assert isinstance(made.serialize_many([{}])[0], (tuple, PayloadError))


def refused(data, **options):
    with pytest.raises(DefinitionError) as caught:
        Workflow.from_dict(data, **options)
    return str(caught.value).splitlines()


BELL = {"kind": "in_app", "id": "bell", "body": "b"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"steps": []}, "workflow: key: it is missing"),
        ({"key": "k"}, "workflow 'k': steps: it is missing"),
        ({"key": "k", "steps": [], "tag": []}, "workflow 'k': tag: there is no such option. Did you mean 'tags'?"),
        ({"key": "k", "steps": [], "workflowId": "w"}, "workflow 'k': workflowId: it is given twice, also as 'key'"),
        ({"key": "k", "steps": {}}, "workflow 'k': steps: a list is expected, not {}"),
        ({"key": "k", "steps": [], "tags": ["a", 1]}, "workflow 'k': tags.1: a text is expected, not 1"),
        (
            {"key": "k", "steps": [], "preferences": {"emial": True}},
            "workflow 'k': preferences.emial: 'emial' is not possible. Did you mean 'email'?",
        ),
        ({"key": "k", "steps": [], "payload": 7}, "workflow 'k': payload: a mapping is expected, not 7"),
        ({"key": "k", "steps": [[]]}, "workflow 'k': steps.0: a mapping is expected, not []"),
        ([], "workflow: a mapping is expected, not []"),
        ({"key": "k", "steps": [], "name": object}, "workflow: name: a type has no JSON form"),
    ],
)
def test_what_is_wrong_with_a_workflow_is_named(data, problem):
    assert refused(data)[0].startswith(problem)


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"id": "x"}, "kind: it is missing. There is "),
        ({"kind": "emial", "id": "x"}, "kind: there is no kind of step 'emial'. Did you mean 'email'?"),
        ({"kind": "in_app", "body": "b"}, "id: it is missing"),
        ({**BELL, "body": 7}, "body: a text is expected, not 7"),
        ({**BELL, "bdoy": "b"}, "bdoy: there is no such option. Did you mean 'body'?"),
        ({**BELL, "redirect": 7}, "redirect: a text or a mapping is expected, not 7"),
        ({**BELL, "data": []}, "data: a mapping is expected, not []"),
        ({**BELL, "active": 1}, "active: true or false is expected, not 1"),
        ({**BELL, "when": "x"}, """when: {"expression": "..."} or {"function": "..."} is expected, not 'x'"""),
        (
            {**BELL, "when": {"filters": []}},
            """when: {"expression": "..."} or {"function": "..."} is expected, not {""",
        ),
        (
            {**BELL, "when": {"expression": 1}},
            """when: {"expression": "..."} or {"function": "..."} is expected, not {""",
        ),
        ({**BELL, "when": {"function": "a/b"}}, "when: a function is named by its own workflow and step: 'k/bell'"),
        ({"kind": "custom", "id": "x", "run": "x"}, """run: {"function": "..."} is expected, not 'x'"""),
        ({"kind": "delay", "id": "x", "hours": "1"}, "hours: a number is expected, not '1'"),
        ({"kind": "delay", "id": "x", "months": 1.5}, "months: a whole number is expected"),
    ],
)
def test_what_is_wrong_with_a_step_is_named(step, problem):
    (said,) = refused({"key": "k", "steps": [BELL, step]})
    assert said.startswith(f"workflow 'k': steps.1.{problem}")


def test_every_problem_is_named_at_once():
    data = {"key": "k", "nmae": "x", "steps": [{**BELL, "body": 7, "subject": 8}, {"kind": "telepathy"}]}
    assert [line.split(": ")[1] for line in refused(data)] == [
        "nmae",
        "steps.0.body",
        "steps.0.subject",
        "steps.1.kind",
    ]


def test_the_names_of_the_wire_are_understood():
    wire = {
        "workflowId": "k",
        "preferenceSettings": {"email": False},
        "payloadSchema": {"required": ["order"]},
        "steps": [{"type": "in_app", "stepId": "bell", "body": "b", "shouldStopOnFail": True}],
    }
    made = Workflow.from_dict(wire)
    twin = Workflow("k", steps=[InApp("bell", body="b", stop_on_fail=True)], preferences={"email": False})
    assert made.definition == {**twin.definition, "payload": {"required": ["order"]}}
    wire["steps"][0]["stopOnFail"] = wire["steps"][0].pop("shouldStopOnFail")
    assert Workflow.from_dict(wire).hash == made.hash
    assert Workflow.from_dict(wire, key="other").key == "other"


def test_under_another_key_functions_are_those_of_that_key():
    given = {"key": "order", **Workflow("order", steps=[Custom("work", works)]).definition}
    (work,) = Workflow.from_dict(given, key="copy").steps
    assert work.run.name == "copy/work"


def test_a_large_definition_is_read():
    large = {"kind": "email", "id": "mail", "subject": "s", "html": "x" * 600_000}
    assert len(Workflow.from_dict({"key": "k", "steps": [large]}).steps[0].html) == 600_000


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": True}},
        {"properties": []},
        {"required": "x"},
        {"required": [1]},
        {"$ref": 7},
        {"$ref": "#/$defs/A"},
        {"$ref": "#/$defs/A", "$defs": {"A": True}},
    ],
)
def test_of_a_schema_that_says_nothing_usable_nothing_is_asked(schema):
    assert Workflow.from_dict({"key": "k", "steps": [], "payload": schema}).serialize({"a": 1}) == {"a": 1}


def test_a_schema_without_a_model_still_asks_for_what_is_required():
    made = Workflow.from_dict({"key": "k", **Workflow("k", steps=[], payload=Shipped).definition})
    for copied in (made, copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert copied.hash == made.hash
        assert copied.serialize({"order": 1}) == {"order": 1, "carrier": "ups"}
        with pytest.raises(PayloadError, match=r"payload\.order: field required"):
            copied.serialize({})


@pytest.fixture
def fetch(monkeypatch):
    """A kind of step as the next ones will be: its fields are all that is said of it."""
    monkeypatch.setattr(Step, "kinds", dict(Step.kinds))

    @dataclass(frozen=True, eq=False, repr=False, kw_only=True)
    class Fetch(Step):
        kind: ClassVar[str] = "fetch"

        url: str
        method: Literal["GET", "POST"] = "POST"
        every: timedelta | None = None
        headers: Mapping[str, str] | None = None
        pick: Sequence[str] = ()
        weights: Sequence[float] = ()
        answers: Sequence[str] | Callable[[Any], Any] = ()

    return Fetch


def test_a_new_kind_of_step_needs_nothing_but_its_fields(fetch):
    step = fetch(
        "x", url="u", every=timedelta(hours=1), headers={"a": "b"}, pick=["p"], weights=[1, 2.5], answers=["a"]
    )
    workflow = Workflow("k", steps=[step, fetch("y", url="u", answers=passes)])
    first, second = workflow.definition["steps"]
    assert first == {
        "kind": "fetch",
        "id": "x",
        "url": "u",
        "every": "PT1H",
        "headers": {"a": "b"},
        "pick": ["p"],
        "weights": [1, 2.5],
        "answers": ["a"],
    }
    assert second["answers"] == {"function": "k/y"}
    made = Workflow.from_dict({"key": "k", **json.loads(json.dumps(workflow.definition))})
    assert made.steps[0] == step
    assert made.hash == workflow.hash
    bad = {**first, "method": "PSOT", "every": 7, "weights": [True]}
    assert refused({"key": "k", "steps": [bad]}) == [
        "workflow 'k': steps.0.method: 'PSOT' is not possible. Did you mean 'POST'?",
        "workflow 'k': steps.0.every: input should be a valid duration",
        "workflow 'k': steps.0.weights.0: a number is expected, not True",
    ]


def test_conditions_are_tagged():
    steps = [InApp("a", body="b", when="payload.x"), InApp("c", body="b", when=passes), InApp("d", body="b")]
    stored = Workflow("k", steps=steps).definition["steps"]
    assert [step.get("when") for step in stored] == [{"expression": "payload.x"}, {"function": "k/c"}, None]


def test_registration_refuses_what_could_not_be_read_back(fetch):
    problems = list(unreadable(Workflow("k", steps=[fetch("x", url="u"), fetch("y", url=7)])))
    assert problems == ["workflow 'k': steps.1.url: a text is expected, not 7"]


def test_a_process_does_not_offer_functions_that_it_only_knows_by_name():
    workflow = Workflow("order", steps=[InApp("bell", body="b", when=passes), Custom("work", works)])
    registry = Registry()
    registry.add(Workflow.from_dict({"key": "order", **workflow.definition}))
    assert registry.functions() == frozenset()


def test_the_hash_speaks_of_the_content():
    def make(**options):
        return Workflow("k", **{"steps": [InApp("bell", body="b", data={"a": 1, "b": 2})]} | options)

    same = make()
    assert make().hash == same.hash
    assert make(steps=[InApp("bell", body="b", data={"b": 2, "a": 1}, when=None)]).hash == same.hash
    different = [
        make(steps=[InApp("bell", body="c")]),
        make(critical=True),
        make(tags=["x"]),
        make(payload=Shipped),
        make(preferences={"email": False}),
    ]
    assert len({same.hash, *(one.hash for one in different)}) == 6


def passes(context):
    return True


def works(context):
    return {"x": 1}


def test_functions_are_referenced_by_workflow_and_step():
    workflow = Workflow("order", steps=[InApp("bell", body="b", when=passes), Custom("work", works, pure=True)])
    stored = workflow.definition
    assert stored["steps"][0]["when"] == {"function": "order/bell"}
    registry = Registry()
    registry.add(workflow)
    assert registry.functions() == {"order/bell", "order/work"}
    bell, work = registry.load("order", stored).steps
    assert (bell.when, work.run) == (passes, works)
    bell, work = Registry().load("order", stored).steps
    assert isinstance(bell.when, MissingFunction)
    assert work.run.name == "order/work"
    with pytest.raises(ConfigurationError, match="order/work"):
        work.run(None)


def test_a_condition_that_has_become_text_is_missing():
    before = Workflow("k", steps=[InApp("bell", body="b", when=passes)])
    registry = Registry()
    registry.add(Workflow("k", steps=[InApp("bell", body="b", when="payload.x")]))
    assert isinstance(registry.load("k", before.definition).steps[0].when, MissingFunction)


def test_what_a_newer_version_stored_is_named():
    stored = Workflow("k", steps=[InApp("bell", body="b")]).definition
    for change in ({"kind": "telepathy"}, {"volume": 11}):
        newer = {**stored, "steps": [{**stored["steps"][0], **change}]}
        with pytest.raises(ConfigurationError, match="newer notifykit"):
            Registry().load("k", newer)


def test_without_the_code_required_fields_and_defaults_are_still_known():
    loaded = Registry().load("k", Workflow("k", steps=[], payload=Shipped).definition)
    assert loaded.serialize({"order": 1}) == {"order": 1, "carrier": "ups"}
    assert loaded.model is None
    with pytest.raises(PayloadError, match=r"payload\.order: field required"):
        loaded.serialize({})


def test_registering_again():
    registry = Registry()
    first, same, other = (Workflow("k", steps=[InApp("bell", body=body)]) for body in ("a", "a", "b"))
    registry.add(first)
    registry.add(first)
    version = StoredVersion(1, 2, first, first.hash)
    registry.stored[1, "k"] = registry.versions[2] = version
    registry.add(same)
    assert registry.get("k") is registry.stored[1, "k"].workflow is registry.versions[2].workflow is same
    registry.add(other)
    assert registry.registered == {"k": other}
    assert (registry.stored, registry.versions) == ({}, {})
    fork = registry.fork()
    fork.add(first)
    assert (registry.get("k"), fork.get("k")) == (other, first)
