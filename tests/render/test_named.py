"""Templates that others include, import and extend."""

from __future__ import annotations

import copy
import pickle

import pytest

from notifykit.errors import DefinitionError, RenderError
from notifykit.flow.steps import Email, InApp
from notifykit.render.compiled import compiled
from notifykit.render.lint import check
from notifykit.workflow.definition import Workflow

SCOPE = {
    "payload": {"author": "Ada", "html": "<b>&", "items": [{"name": "x"}, {"name": "y"}], "tree": [[[]], []]},
    "subscriber": {"first_name": "Bob"},
    "actor": None,
    "tenant": {"name": "Acme"},
    "steps": {},
}
TEMPLATES = {
    "footer": "-- {{ tenant.name }} {{ payload.html }}",
    "base": "<{% block title %}Hello{% endblock %}|{% block body %}{% endblock %}>",
    "letter": "{% extends 'base' %}{% block title %}{{ super() }} {{ subscriber.first_name }}{% endblock %}",
    "signed": "{% block body %}{% endblock %} {{ sign }}",
    "macros": "{% macro bold(text) %}<b>{{ text }}</b>{% endmacro %}",
    "knowing": "{% macro by() %}by {{ payload.author }}{% endmacro %}",
    "row": "{{ item.name }};",
    "tree": "({% for tree in tree %}{% include 'tree' %}{% endfor %})",
    "endless": "{% include 'endless' %}",
}


def workflow(*steps, **templates):
    made = Workflow("k", steps=[InApp("first", body="x"), *steps])
    made.templates = TEMPLATES | templates
    return made


def last(step, **templates):
    made = workflow(step, **templates)
    check(made)
    return compiled(made).steps[-1]


def body(source, scope=SCOPE, **templates):
    return last(InApp("bell", body=source), **templates).rendering.bind(scope)()[1]


def refusal(source, **templates):
    with pytest.raises(DefinitionError) as caught:
        check(workflow(InApp("bell", body=source), **templates))
    return str(caught.value)


BOLD = "{% extends 'base' %}{% from 'macros' import bold %}{% block body %}{{ bold(payload.html) }}{% endblock %}"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a {% include 'footer' %} b", "a -- Acme <b>& b"),
        ("{% if payload.nope is defined %}{% include 'footer' %}{% endif %}", ""),
        ("{% for item in payload['items'] %}{% include 'row' %}{% endfor %}", "x;y;"),
        ("{% set tree = payload.tree %}{% include 'tree' %}", "((())())"),
        ("{% extends 'base' %}", "<Hello|>"),
        ("{% extends 'base' %}{% block body %}{{ payload.author }}{% endblock %} not in any block", "<Hello|Ada>"),
        ("{% extends 'signed' %}{% set sign = payload.author %}{% block body %}x{% endblock %}", "x Ada"),
        ("{% extends 'letter' %}", "<Hello Bob|>"),
        ("{% extends 'letter' %}{% block title %}{{ super.super() }}!{% endblock %}", "<Hello!|>"),
        ("{% block a %}x{{ payload.author }}{% endblock %}{{ self.a() }}", "xAdaxAda"),
        ("{% import 'macros' as m %}{{ m.bold(payload.author) }}", "<b>Ada</b>"),
        ("{% from 'macros' import bold as strong %}{{ strong('x') }}", "<b>x</b>"),
        ("{% from 'knowing' import by with context %}{{ by() }}", "by Ada"),
        (
            "{% extends 'base' %}{% import 'macros' as m %}{% block body %}{{ m.bold('x') }}{% endblock %}",
            "<Hello|<b>x</b>>",
        ),
        (BOLD, "<Hello|<b><b>&</b>>"),
    ],
)
def test_named_templates(source, text):
    assert body(source) == text


def test_what_html_includes_or_extends_is_escaped_and_what_text_does_is_not():
    sources = {
        "subject": "{% include 'footer' %}",
        "body": BOLD,
        "html": BOLD + "{% block title %}{% include 'footer' %}{% endblock %}",
    }
    assert last(Email("mail", **sources)).rendering.bind(SCOPE)() == {
        "subject": "-- Acme <b>&",
        "body": "<Hello|<b><b>&</b>>",
        "html": "<-- Acme &lt;b&gt;&amp;|<b>&lt;b&gt;&amp;</b>>",
    }


def test_composed_and_plain_templates_stand_side_by_side():
    step = InApp(
        "bell",
        subject="{{ payload.html }}",
        body="{% include 'footer' %}",
        data={"a": "{{ payload.author }}", "b": ["{% include 'row' %}"]},
    )
    bound = last(step, row="{{ payload.author }}").rendering.bind(SCOPE)
    for _ in range(2):
        assert bound() == ("<b>&", "-- Acme <b>&", None, '{"a":"Ada","b":["Ada"]}')


def test_a_link_may_be_included():
    assert (
        "/Ada"
        in last(InApp("bell", redirect="{% include 'link' %}"), link="/{{ payload.author }}").rendering.bind(SCOPE)()[2]
    )


def test_what_one_message_sets_is_gone_for_the_next_and_for_other_fields():
    source = "{% extends 'signed' %}{% if payload.sign %}{% set sign = payload.sign %}{% endif %}"
    scope = dict(SCOPE)
    bound = last(
        InApp("bell", subject="{% set sign = 's' %}{% include 'signed' %}", body=source),
        signed="{{ sign | default('-') }}",
    ).rendering.bind(scope)
    found = []
    for sign in ("me", ""):
        scope["payload"] = {"sign": sign}
        found.append(bound()[:2])
    assert found == [("s", "me"), ("s", "-")]


def test_after_a_message_that_fails_the_next_is_rendered():
    scope = dict(SCOPE)
    bound = last(
        Email("mail", subject="{{ ['<', payload.html] | join }}", html="{% include 'footer' %}")
    ).rendering.bind(scope)
    scope["tenant"] = None
    with pytest.raises(RenderError, match=r"tenant\.name is undefined: tenant is null") as caught:
        bound()
    assert caught.value.variable == "tenant.name"
    scope["tenant"] = {"name": "Acme"}
    assert bound() == {"subject": "<<b>&", "body": "", "html": "-- Acme &lt;b&gt;&amp;"}


def test_templates_that_include_each_other_without_end_fail_the_message():
    with pytest.raises(RenderError, match="recursion"):
        body("{% include 'endless' %}")


@pytest.mark.parametrize(
    "source",
    [
        "{% import 'macros' as m %}{{ m._body_stream }}",
        "{% import 'macros' as m %}{{ m.bold._func }}",
        "{% block a %}{% endblock %}{{ self.a._context }}",
        "{% block a %}{% endblock %}{{ self._context }}",
        "{% extends 'base' %}{% block title %}{{ super.__class__ }}{% endblock %}",
    ],
)
def test_nothing_private_is_seen_through_modules_and_blocks(source):
    with pytest.raises(RenderError, match=r"unsafe|undefined"):
        body(source)


def test_what_a_named_template_names_counts_as_named_by_the_step():
    step = last(InApp("bell", body="{% extends 'letter' %}"))
    assert step.reads == {"subscriber"}
    assert step.personal
    assert not last(InApp("bell", body="{% extends 'base' %}")).personal
    assert last(InApp("bell", body="{% include 'footer' %}")).reads == {"tenant", "payload"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a\n{% include 'fotoer' %}", "body, line 2: no template is named 'fotoer'. Did you mean 'footer'?"),
        ("{% extends 'bas' %}", "body, line 1: no template is named 'bas'. Did you mean 'base'?"),
        ("{% from 'macro' import x %}", "body, line 1: no template is named 'macro'. Did you mean 'macros'?"),
        (
            "{% include 'deeper' %}",
            "body, template 'deeper', line 2: no template is named 'lettr'. Did you mean 'letter'?",
        ),
        ("{% include payload.x %}", "body, line 1: write the template's name out"),
        ("{% include ['footer', 'base'] %}", "body, line 1: write the template's name out"),
        ("{% include 'broken' %}", "body, template 'broken', line 1: Unexpected end of template"),
        ("{% include 'filter' %}", "body, template 'filter', line 1: no filter is named 'uper'. Did you mean 'upper'?"),
        (
            "{% include 'strange' %}",
            "body, template 'strange', line 1: nothing is named 'paylod'. Did you mean 'payload'?",
        ),
        ("{% include 'steps' %}", "body, template 'steps', line 1: no step is named 'frist'. Did you mean 'first'?"),
        ("{% include 'row' %}", "body, template 'row', line 1: nothing is named 'item'."),
        ("{% include 'nul' %}", "body, template 'nul': NUL"),
        ("{% include 'number' %}", "body, template 'number': text is expected, not int"),
        ("{% import 'knowing' as k %}", "body, line 1: template 'knowing' names 'payload', which it sees only where"),
        (
            "{% include 'footer' without context %}",
            "body, line 1: template 'footer' names 'payload', which it sees only",
        ),
        ("{% include 'deep' %}", "nested too deeply"),
    ],
)
def test_what_is_refused(source, said):
    message = refusal(
        source,
        deeper="\n{% extends 'lettr' %}",
        broken="{% if 1 %}",
        filter="{{ payload.x | uper }}",
        strange="{{ paylod.x }}",
        steps="{{ steps.frist.read }}",
        nul="\0",
        number=3,
        deep="{% for x in payload.x %}" * 30 + "{% endfor %}" * 30,
    )
    assert message.startswith("workflow 'k', step 'bell'")
    assert said in message


def test_what_one_field_sets_is_unknown_in_another():
    with pytest.raises(DefinitionError) as caught:
        check(workflow(InApp("bell", subject="{% set x = 1 %}{{ x }}", body="{{ x }}")))
    assert "body, line 1: nothing is named 'x'" in str(caught.value)
    assert "subject" not in str(caught.value)


def test_a_copy_of_a_workflow_keeps_its_named_templates():
    made = workflow(InApp("bell", body="{% include 'footer' %}"))
    for twin in (copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert compiled(twin).steps[-1].rendering.bind(SCOPE)()[1] == "-- Acme <b>&"
