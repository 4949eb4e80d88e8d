from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import BaseModel, RootModel, SecretStr

from notifykit.errors import ConfigurationError, DefinitionError
from notifykit.flow.steps import Custom, Delay, Email, InApp, Push
from notifykit.render.lint import check
from notifykit.workflow.definition import Workflow
from notifykit.workflow.steps import Step


def refusal(*steps, **options):
    with pytest.raises(DefinitionError) as caught:
        check(Workflow("order-shipped", steps=steps, **options))
    return str(caught.value)


def after_bell(**options):
    return refusal(InApp("bell", body="b"), Email("mail", subject="s", **options))


def test_a_good_workflow_passes():
    steps = [
        InApp("bell", body="{{ payload.x }}", data={"a": "{{ tenant.name }}"}),
        Delay("wait", hours=1),
        Delay("until", until="payload.send_at"),
        Custom("work", lambda context: None),
        Email("mail", subject="{{ steps.wait.until }}{{ steps.work.anything }}", when="not steps.bell.read"),
    ]
    check(Workflow("order-shipped", steps=steps, tags=["a"], preferences={"email": False}))
    check(Workflow("empty", steps=[]))


@pytest.mark.parametrize(
    ("options", "place", "said"),
    [
        ({"body": "a\n{{ paylod.x }}"}, "body, line 2", "'paylod'. Did you mean 'payload'?"),
        ({"html": "{{ subscribers.x }}"}, "html, line 1", "'subscribers'. Did you mean 'subscriber'?"),
        ({"when": "paylod.x"}, "when, line 1", "'paylod'. Did you mean 'payload'?"),
        ({"when": "not steps.bel.read"}, "when, line 1", "no step is named 'bel'. Did you mean 'bell'?"),
        ({"body": "{{ steps.bell.raed }}"}, "body, line 1", "has no 'raed'. Did you mean 'read'?"),
        ({"when": "steps.mail.read"}, "when, line 1", "steps.mail is this very step"),
        ({"body": "{{ steps[payload.x].read }}"}, "body, line 1", "name it: steps.<id>"),
        ({"body": "{% if payload.x %}"}, "body, line 1", "Unexpected end of template"),
        ({"body": "{{ payload.x | uper }}"}, "body, line 1", "no filter is named 'uper'. Did you mean 'upper'?"),
        ({"body": "{{ payload.x is strin }}"}, "body, line 1", "no test is named 'strin'. Did you mean 'string'?"),
        ({"body": "{% include 'x' %}"}, "body, line 1", "no template is named 'x'"),
        ({"body": "{{{ payload.x }}"}, "body, line 1", "expected token ':'"),
        ({"body": "{{ '\\x00' }}"}, "body, line 1", "NUL"),
        ({"body": "a\0"}, "body", "NUL"),
        ({"body": "\ud800"}, "body", "surrogate"),
        ({"body": 3}, "body", "text is expected, not int"),
        ({"when": ""}, "when", "the condition is empty"),
        ({"when": 3}, "when", "an expression or a function"),
        ({"active": 1}, "active", "True or False"),
    ],
)
def test_a_refusal_names_step_place_and_the_nearest_name(options, place, said):
    message = after_bell(**options)
    assert message.startswith("workflow 'order-shipped', step 'mail'")
    assert place in message
    assert said in message


@pytest.mark.parametrize(
    "options",
    [
        {"when": "not " * 2000 + "payload.x"},
        {"when": "payload.x" + "()" * 300},
        pytest.param({"when": "not " * 300 + "payload.x"}, marks=pytest.mark.slow),  # Jinja folds it for 8 seconds
        {"when": "(" * 5000 + "payload.x" + ")" * 5000},
        {"body": "{% for x in payload.x %}" * 30 + "{% endfor %}" * 30},
        {"body": "{{ " + "[" * 300 + "1" + "]" * 300 + " }}"},
    ],
)
def test_nesting_has_an_end(options):
    assert "nested too deeply" in after_bell(**options)


def test_each_part_stands_for_itself():
    assert "subject" in refusal(InApp("bell", subject="{% if 1 %}", body="{% endif %}"))


def test_a_step_that_comes_later():
    message = refusal(Email("mail", subject="s", when="steps.bell.read"), InApp("bell", body="b"))
    assert "steps.bell comes later" in message


def test_ids_with_hyphens():
    message = refusal(InApp("in-app", body="b"), Email("mail", subject="s", when="steps.in-app.read"))
    assert 'Write steps["in-app"]' in message
    check(Workflow("k", steps=[InApp("in-app", body="b"), Email("mail", subject="s", when='steps["in-app"].read')]))


@pytest.mark.parametrize("id", ["", "  ", " a", "a\n", "a\x85", "x" * 256, None, 3, "\ud800"])
def test_bad_ids(id):
    assert "step 0: the id" in refusal(InApp(id, body="b"))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Email("s", body="b"), "subject: an e-mail needs one"),
        (Email("s", subject=" "), "subject: an e-mail needs one"),
        (Delay("s"), "needs a span"),
        (Delay("s", minutes=1, until="payload.x"), "not both"),
        (Delay("s", minutes=0), "positive"),
        (Delay("s", hours=float("inf")), "finite"),
        (Delay("s", months=1.5), "whole"),  # type: ignore[arg-type]
        (Delay("s", until="paylod.x"), "Did you mean 'payload'?"),
        (Delay("s", until="payload"), "no path to a value"),
        (Delay("s", until="steps.nope.x"), "no step is named 'nope'"),
        (Custom("s", None), "a function is expected"),  # type: ignore[arg-type]
        (Step("s"), "a step is expected"),
        ("text", "a step is expected"),
        (InApp("s", redirect="javascript:x"), "no link"),
        (InApp("s", redirect="java{{ payload.x }}"), "no link"),
        (InApp("s", redirect="//evil.example"), "no link"),
        (InApp("s", redirect={"url": "/x", "target": "_new"}), "no target"),
        (InApp("s", redirect={"ulr": "/x"}), "Did you mean 'url'?"),
        (InApp("s", redirect={"target": "_top"}), "needs a url"),
        (InApp("s", redirect=3), "a mapping is expected"),  # type: ignore[arg-type]
        (InApp("s", primary={"label": "x"}), "'url' is missing"),
        (InApp("s", primary={"label": "x", "url": "ftp://x"}), "no link"),
        (InApp("s", secondary={"label": "{{ x.y }}", "url": "/"}), "secondary.label"),
        (InApp("s", data={"a": {"b": ["{{ x.y }}"]}}), "data.a.b.0"),
        (InApp("s", data={"a": {1}}), "data.a"),
        (Push("s", data=[1]), "data"),  # type: ignore[arg-type]
    ],
)
def test_bad_steps(step, said):
    message = refusal(step)
    assert "workflow 'order-shipped', step" in message
    assert said in message


def test_the_same_id_twice():
    assert "step 'bell': another step" in refusal(InApp("bell", body="b"), InApp("bell", body="b"))


def test_sixty_four_steps_are_enough():
    check(Workflow("k", steps=[InApp(f"s{n}", body="b") for n in range(64)]))
    assert "at most 64" in refusal(*(InApp(f"s{n}", body="b") for n in range(65)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preferences": {"mail": False}}, "Did you mean 'email'?"),
        ({"preferences": {"email": 1}}, "True or False"),
        ({"tags": ["a\n"]}, "a tag"),
        ({"critical": "yes"}, "critical must be True or False"),
        ({"group": 3}, "group"),
        ({"payload": "x"}, "a pydantic model, a dataclass or None"),
        ({"payload": dict}, "a pydantic model, a dataclass or None"),
        ({"payload": RootModel[list[int]]}, "RootModel"),
    ],
)
def test_bad_options(options, said):
    assert said in refusal(InApp("bell", body="b"), **options)


@pytest.mark.parametrize("key", ["", " a", "a\nb", "x" * 256, 3])
def test_bad_keys(key):
    with pytest.raises(DefinitionError, match="the key"):
        check(Workflow(key, steps=[]))


def test_json_schemas_name_the_extra():
    with pytest.raises(ConfigurationError, match="`jsonschema`"):
        check(Workflow("k", steps=[], payload={"type": "object"}))


class Inner(BaseModel):
    tokens: list[SecretStr | None]


class Login(BaseModel):
    inner: dict[str, Inner]


@dataclass
class Plain:
    password: SecretStr


class Unfinished(BaseModel):
    later: Later  # noqa: F821


@pytest.mark.parametrize(("model", "field"), [(Login, "payload.inner.tokens"), (Plain, "payload.password")])
def test_secrets_in_payloads_are_refused(model, field):
    assert field in refusal(payload=model)


def test_a_model_that_is_not_finished_is_named():
    assert "Unfinished" in refusal(payload=Unfinished)


def test_several_problems_are_said_at_once():
    message = refusal(Email("a"), Delay("b"))
    assert len(message.splitlines()) == 2


def test_something_else_is_no_workflow():
    with pytest.raises(DefinitionError, match="a Workflow is expected"):
        check("order-shipped")  # type: ignore[arg-type]
