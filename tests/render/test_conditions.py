from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import UndefinedError

from notifykit.errors import DefinitionError
from notifykit.flow.steps import Custom, Delay, Email, InApp
from notifykit.render.compiled import compiled
from notifykit.render.lint import check
from notifykit.render.sandbox import SANDBOX
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import Registry

SCOPE = {
    "payload": {"total": 120, "plan": "pro", "tags": ["a", "b"], "none": None, "items": {"x": 1}},
    "subscriber": {"data": {"beta": True}},
    "actor": None,
    "tenant": None,
    "steps": {"bell": {"read": False, "delivery": "sent"}},
}


def steps(when, *more):
    workflow = Workflow("k", steps=[InApp("bell", body="b"), *more, Email("mail", subject="s", when=when)])
    check(workflow)
    return compiled(workflow).steps


def verdict(when):
    return steps(when)[-1].condition.bind(SCOPE)()


@pytest.mark.parametrize(
    ("when", "passes"),
    [
        ("payload.total > 100", True),
        ("payload.total > 100 and payload.plan == 'free'", False),
        ("100 < payload.total <= 120", True),
        ("payload.plan in ['pro', 'team']", True),
        ("'a' in payload.tags and 'c' not in payload.tags", True),
        ("not steps.bell.read", True),
        ("steps['bell']['read']", False),
        ("subscriber.data.beta", True),
        ("payload.none", False),
        ("payload.none is none", True),
        ("payload.tags | length == 2", True),
        ("payload.items.x == 1", True),
        ("payload.nope is defined and payload.nope", False),
        ("payload.nope | default(true)", True),
        ("payload.plan == 'free' or payload.total", True),
        ("true", True),
        ("0", False),
    ],
)
def test_expressions(when, passes):
    assert verdict(when) == (passes, None)


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("payload.nope", "payload.nope is undefined"),
        ("not payload.nope", "payload.nope is undefined"),
        ("payload.total > payload.nope", "payload.nope is undefined"),
        ("actor.first_name == 'x'", "actor.first_name is undefined: actor is null"),
        ("payload.plan > 3", "TypeError"),
        ("payload.total / 0", "ZeroDivisionError"),
        ("'a' * 10**9", "too large"),
    ],
)
def test_what_cannot_be_evaluated_does_not_pass_and_says_why(when, problem):
    passed, said = verdict(when)
    assert not passed
    assert problem in said


@pytest.mark.parametrize(
    "when",
    [
        "",
        "  ",
        "payload.x %}{% if 1",
        "payload.x }}{{ 1",
        "payload.x payload.y",
        "payload.x, ",
        "{{ payload.x }}",
        "if 1",
        "payload.x\0",
    ],
)
def test_what_is_not_exactly_one_expression_is_refused(when):
    with pytest.raises(DefinitionError, match=r"step 'mail'.*when"):
        steps(when)


VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]) | st.lists(st.integers(0, 2))
NAMES = st.sampled_from(["payload.a", "payload.b", "payload['c']", "payload.a.b", "1", "'a'", "none", "[1]"])
EXPRESSIONS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.builds("(not {})".format, inner),
        st.builds(
            "({} {} {})".format, inner, st.sampled_from(["and", "or", "==", "!=", "<", ">=", "in", "not in"]), inner
        ),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS, st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES), max_size=3))
def test_a_bound_condition_says_of_each_run_what_jinja_says_of_it_alone(when, payloads):
    scope = dict(SCOPE)
    bound = steps(when)[-1].condition.bind(scope)
    alone = SANDBOX.from_string(f"{{% if {when} %}}1{{% endif %}}")
    for scope["payload"] in payloads:
        passes, problem = bound()
        try:
            assert (passes, problem) == (alone.render(scope) == "1", None)
        except (UndefinedError, TypeError):
            assert not passes
            assert problem


def test_after_an_interruption_the_next_run_is_decided():
    class Interrupting:
        def __gt__(self, other):
            raise KeyboardInterrupt

    scope = dict(SCOPE)
    bound = steps("payload.total > 100")[-1].condition.bind(scope)
    for total, passes in ((120, True), (Interrupting(), None), (3, False), (Interrupting(), None), (120, True)):
        scope["payload"] = {"total": total}
        if passes is None:
            with pytest.raises(KeyboardInterrupt):
                bound()
        else:
            assert bound() == (passes, None)


def test_functions_get_a_context():
    assert verdict(lambda context: context.payload["total"] > 100) == (True, None)
    assert verdict(lambda context: context.steps["bell"]["read"]) == (False, None)
    passed, said = verdict(lambda context: context.payload["nope"])
    assert (passed, "k/mail raised KeyError" in said) == (False, True)
    condition = steps(bool)[-1].condition
    assert len(condition.reads) == 5


def test_coroutines_are_no_conditions():
    async def later(context):
        return True

    with pytest.raises(DefinitionError, match="coroutine"):
        steps(later)
    passed, said = verdict(lambda context: later(context))
    assert (passed, "coroutine" in said) == (False, True)


def test_a_function_that_this_process_lacks():
    workflow = Workflow("k", steps=[InApp("bell", body="b", when=bool)])
    loaded = Registry().load("k", workflow.definition)
    condition = compiled(loaded).steps[0].condition
    assert condition.bind(SCOPE)()[0] is False


@pytest.mark.parametrize(
    ("when", "awaited"),
    [
        ("steps.bell.delivery == 'sent'", True),
        ("steps['bell']['delivery'] == 'sent'", True),
        ("steps.bell[payload.plan]", True),
        ("steps.bell.status == 'sent'", False),
        ("steps.bell is defined", False),
        ("not steps.bell.read", False),
    ],
)
def test_a_condition_that_names_a_delivery_lets_the_run_wait(when, awaited):
    assert [step.awaited for step in steps(when)] == [awaited, False]


def test_what_stops_on_failure_is_awaited():
    workflow = Workflow(
        "k", steps=[Email("mail", subject="s", stop_on_fail=True), Delay("wait", hours=1, stop_on_fail=True)]
    )
    assert [step.awaited for step in compiled(workflow).steps] == [True, False]


def test_what_a_workflow_needs():
    def needs(*steps):
        return compiled(Workflow("k", steps=steps)).reads

    assert needs(InApp("a", body="{{ payload.x }}")) == {"payload"}
    assert needs(InApp("a", body="{{ tenant.name }}", when="actor.x"), Delay("d", until="payload.at")) == {
        "tenant",
        "actor",
        "payload",
    }
    assert needs(InApp("a", body="{{ subscriber.x }}", active=False)) == set()
    assert len(needs(Custom("a", lambda context: None))) == 5
