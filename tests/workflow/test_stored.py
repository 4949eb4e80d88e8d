from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from notifykit.errors import ConfigurationError, PayloadError
from notifykit.flow.steps import Chat, Custom, Delay, Email, InApp, Push, Sms
from notifykit.model.codes import CHANNELS
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import Registry, StoredVersion
from notifykit.workflow.stored import Missing, load

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
        loaded = load("k", through_the_database, known)
        assert loaded.definition == workflow.definition
        assert loaded.hash == workflow.hash


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
    bell, work = load("order", stored, registry).steps
    assert (bell.when, work.run) == (passes, works)
    bell, work = load("order", stored, Registry()).steps
    assert isinstance(bell.when, Missing)
    assert work.run.name == "order/work"
    with pytest.raises(ConfigurationError, match="order/work"):
        work.run(None)


def test_a_condition_that_has_become_text_is_missing():
    before = Workflow("k", steps=[InApp("bell", body="b", when=passes)])
    registry = Registry()
    registry.add(Workflow("k", steps=[InApp("bell", body="b", when="payload.x")]))
    assert isinstance(load("k", before.definition, registry).steps[0].when, Missing)


def test_what_a_newer_version_stored_is_named():
    stored = Workflow("k", steps=[InApp("bell", body="b")]).definition
    for change in ({"kind": "telepathy"}, {"volume": 11}):
        newer = {**stored, "steps": [{**stored["steps"][0], **change}]}
        with pytest.raises(ConfigurationError, match="newer notifykit"):
            load("k", newer, Registry())


def test_without_the_code_required_fields_and_defaults_are_still_known():
    loaded = load("k", Workflow("k", steps=[], payload=Shipped).definition, Registry())
    assert loaded.plain({"order": 1}) == {"order": 1, "carrier": "ups"}
    assert loaded.model is None
    with pytest.raises(PayloadError, match=r"payload\.order: field required"):
        loaded.plain({})


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
