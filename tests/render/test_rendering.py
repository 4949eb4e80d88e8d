from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import UndefinedError

from notifykit.errors import RenderError
from notifykit.flow.steps import Chat, Email, InApp, Push, Sms
from notifykit.render.compiled import compiled
from notifykit.render.lint import check
from notifykit.render.sandbox import SANDBOX
from notifykit.workflow.definition import Workflow

SCOPE = {
    "payload": {"author": "Ada", "items": [1, 2], "none": None, "yes": True, "html": "<b>&", "keys": {"a b": "c"}},
    "subscriber": {"first_name": "Bob", "data": {"plan": "pro"}},
    "actor": None,
    "tenant": {"name": "Acme"},
    "steps": {"bell": {"read": True}},
}


def rendering(step):
    workflow = Workflow("k", steps=[step])
    check(workflow)
    return compiled(workflow).steps[0].rendering


def render(step, **payload):
    return rendering(step).bind({**SCOPE, "payload": {**SCOPE["payload"], **payload}})()


def body(template, **payload):
    return render(InApp("bell", body=template), **payload)[1]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain {text} % 'quoted' \"twice\" \\N{a} \\n\n", "plain {text} % 'quoted' \"twice\" \\N{a} \\n\n"),
        ("{{ payload.author }}{{ subscriber.data.plan }}", "Adapro"),
        ("{ {{ payload.author }} }", "{ Ada }"),
        ("{{ payload.items }} {{ payload.none }} {{ payload.yes }}", "[1, 2] None True"),
        ("{{ payload['keys']['a b'] }} {{ payload.items[0] }}", "c 1"),
        ("{{ payload.html }}", "<b>&"),
        ("{% for item in payload.items %}{{ loop.index }}:{{ item }} {% endfor %}", "1:1 2:2 "),
        ("{{ payload.nope | default('none') }}", "none"),
        ("{{ 'yes' if payload.nope is defined else 'no' }}", "no"),
        ("{% set x = payload.author %}{{ x | upper }}", "ADA"),
        ("{{ payload.author.lower() }}", "ada"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "012"),
    ],
)
def test_templates(template, text):
    assert body(template) == text


def test_the_rendering_of_an_in_app_message_is_four_columns():
    subject, text, cta, data = render(
        InApp(
            "bell",
            subject="By {{ payload.author }}",
            body="Hi {{ subscriber.first_name }}",
            redirect="/posts/{{ payload.author }}",
            primary={"label": "Open {{ payload.author }}", "url": "https://example.com/{{ payload.author }}"},
            data={"who": "{{ payload.author }}", "list": [1, "{{ tenant.name }}", None], "fixed": {"x": True}},
        )
    )
    assert (subject, text) == ("By Ada", "Hi Bob")
    assert json.loads(cta) == {
        "redirect": {"url": "/posts/Ada", "target": "_self"},
        "primary": {"label": "Open Ada", "url": "https://example.com/Ada"},
    }
    assert json.loads(data) == {"who": "Ada", "list": [1, "Acme", None], "fixed": {"x": True}}


def test_what_is_left_out_is_null():
    assert render(InApp("bell", body="b")) == (None, "b", None, None)
    assert render(InApp("bell", subject="a\nb", body="", data={})) == ("ab", "", None, None)


def test_the_other_channels_have_named_fields():
    assert render(Sms("s", body="{{ payload.author }}")) == {"body": "Ada"}
    assert render(Chat("s", body="b")) == {"body": "b"}
    push = render(Push("s", title="{{ payload.author }}", body="b", data={"a": "{{ payload.author }}", "b": 1}))
    assert push == {"title": "Ada", "body": "b", "data": {"a": "Ada", "b": 1}}


@pytest.mark.parametrize("expression", ["{{ payload.html }}", "{{ payload.html | trim }}"])
def test_only_the_html_of_an_email_is_escaped(expression):
    found = render(Email("m", subject=expression, body=expression, html=f"<p>{expression}</p>"))
    assert found == {"subject": "<b>&", "body": "<b>&", "html": "<p>&lt;b&gt;&amp;</p>"}


def test_html_that_failed_in_the_middle_leaves_no_escaping_behind():
    scope = {**SCOPE, "payload": {"html": "<"}}
    step = Email("m", subject="{{ ['<', payload.html] | join }}", html="{{ payload.html | trim }}{{ payload.more }}")
    bound = rendering(step).bind(scope)
    with pytest.raises(RenderError):
        bound()
    scope["payload"] = {"html": "<", "more": "!"}
    assert bound()["subject"] == "<<"


@pytest.mark.parametrize("template", ["{{ payload.text }}", "{{ payload.text | trim }}"])
def test_control_characters_are_stripped_from_subjects(template):
    text = "a\r\nBcc: x\u2028\x85\x1b["
    assert render(InApp("bell", subject=template, body=template), text=text)[0] == "aBcc: x["
    assert render(Email("m", subject=template), text=text)["subject"] == "aBcc: x["
    assert render(Push("p", title=template), text=text)["title"] == "aBcc: x["


@pytest.mark.parametrize(
    ("template", "variable"),
    [
        ("{{ payload.nope }}", "payload.nope"),
        ("{{ payload.author }} {{ payload.nope.deeper }}", "payload.nope"),
        ("{{ payload['no pe'] }}", "payload['no pe']"),
        ("{{ actor.first_name }}", "actor.first_name"),
        ("{% for item in payload['items'] %}{{ item.name }}{% endfor %}", "item.name"),
        ("{{ payload.nope | upper }}", "payload.nope"),
        ("{{ subscriber.data.nope ~ 'x' }}", "subscriber.data.nope"),
    ],
)
def test_an_undefined_variable_is_named(template, variable):
    with pytest.raises(RenderError, match="is undefined") as caught:
        body(template)
    assert caught.value.variable == variable
    assert variable in str(caught.value)


@pytest.mark.parametrize("field", ["redirect", "primary", "secondary"])
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//evil.example", "/\\evil", "mailto:x", "", "/a\nb", "http://", "\t/x"]
)
def test_a_rendered_url_that_is_no_link_fails_the_step(field, url):
    value = "{{ payload.url }}" if field == "redirect" else {"label": "x", "url": "{{ payload.url }}"}
    with pytest.raises(RenderError, match="neither absolute"):
        render(InApp("bell", **{field: value}), url=url)


@pytest.mark.parametrize(
    ("redirect", "target"),
    [
        ("/", "_self"),
        ("/a?b=c d#e", "_self"),
        ("https://example.com", "_blank"),
        ("HTTP://example.com/x", "_blank"),
        ({"url": "/x", "target": "_top"}, "_top"),
        ({"url": "{{ payload.url }}"}, "_blank"),
    ],
)
def test_targets(redirect, target):
    cta = json.loads(render(InApp("bell", redirect=redirect), url="https://x.example/")[2])
    assert cta["redirect"]["target"] == target


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ payload.__class__ }}",
        "{{ payload['__class__'].x }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ payload.update({'a': 1}) }}",
        "{{ payload.pop('author') }}",
        "{{ payload.clear() }}",
        "{{ payload['items'].append(1) }}",
        "{{ payload.author.format(1) }}",
        "{{ '{0.__class__}'.format(payload) }}",
        "{{ 'a'.ljust(10) }}",
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ [0] * 10**8 }}",
        "{{ 2 ** (10**8) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ '%*d' | format(10**9, 1) }}",
        "{{ 'a' | center(10**9) }}",
        "{{ 'a' | indent(10**9) }}",
        "{{ payload.long | replace('a', payload.long) }}",
        "{{ payload.long | join(payload.long) }}",
        "{{ [1] | batch(10**9, 'x') | list }}",
        "{{ range(10**9) | list }}",
        "{{ payload.long ~ payload.long | upper }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ '%c' | format(0) }}",
        "{{ '%c' | format(55296) }}",
        "{{ (3).numerator }}",
        "{{ 1 // 0 }}",
    ],
)
def test_abuse_ends_in_an_error(template):
    with pytest.raises(RenderError):
        body(template, long="a" * 600_000)


def test_fields_do_not_see_each_other():
    with pytest.raises(RenderError) as caught:
        rendering(
            InApp("bell", subject="{% set payload = {'x': 1} %}{{ payload.x }}", body="{{ payload.x | trim }}")
        ).bind(SCOPE)()
    assert caught.value.variable == "payload.x"


def test_one_run_leaves_nothing_for_the_next():
    scope = dict(SCOPE)
    bound = rendering(
        InApp("bell", body="{% if payload.first %}{% set x = 1 %}{% endif %}{{ x | default('-') }}")
    ).bind(scope)
    scope["payload"] = {"first": True}
    assert bound()[1] == "1"
    scope["payload"] = {"first": False}
    assert bound()[1] == "-"


def test_a_bound_rendering_follows_its_scope():
    scope = dict(SCOPE)
    bound = rendering(InApp("bell", body="{{ payload.author }}")).bind(scope)
    for author in ("Ada", "Bob"):
        scope["payload"] = {"author": author}
        assert bound()[1] == author


def test_after_an_interruption_the_next_message_is_rendered():
    class Interrupting(str):
        def __str__(self):
            raise KeyboardInterrupt

    scope = dict(SCOPE)
    bound = rendering(Email("m", subject="{{ payload.author }}", body="b", html="{{ payload.html }}")).bind(scope)
    expected = bound()
    scope["payload"] = {"author": Interrupting(), "html": "x"}
    with pytest.raises(KeyboardInterrupt):
        bound()
    scope["payload"] = SCOPE["payload"]
    assert bound() == expected


def test_what_was_rendered_stays_as_it_was():
    scope = dict(SCOPE)
    bound = rendering(Push("p", title="t", data={"a": [{"b": "{{ payload.author }}"}]})).bind(scope)
    first = bound()
    scope["payload"] = {"author": "Eve"}
    assert bound()["data"] == {"a": [{"b": "Eve"}]}
    assert first["data"] == {"a": [{"b": "Ada"}]}


WORDS = st.sampled_from(["author", "items", "none", "yes", "html", "keys", "nope", "0"])
OPENING = re.compile(r"\{(?=[{%#]|\Z)")
"""A brace of the text that would open something, perhaps with what follows the text: Jinja's own `{{{` is a mistake."""
LETTERS = st.sampled_from("{}%# \n'\"\\") | st.characters(exclude_characters="\0", exclude_categories=["Cs"])
PIECES = st.one_of(
    st.lists(LETTERS, max_size=8).map(lambda letters: OPENING.sub("", "".join(letters))),
    st.builds("{{{{ payload.{} }}}}".format, WORDS),
    st.builds("{{{{ payload['{}'] }}}}".format, WORDS),
    st.just("{{ subscriber.first_name }}"),
)
TEMPLATES = st.builds("{}{}".format, st.lists(PIECES, max_size=6).map("".join), st.sampled_from(["", "{"]))


@given(TEMPLATES, st.lists(st.dictionaries(WORDS, st.none() | st.integers() | st.text("<&a", max_size=2)), max_size=3))
def test_a_bound_rendering_says_of_each_message_what_jinja_says_of_it_alone(template, payloads):
    scope = dict(SCOPE)
    bound = rendering(Email("m", subject="a", body=template, html=template)).bind(scope)
    alone, escaped = SANDBOX.from_string(template), SANDBOX.html.from_string(template)
    for scope["payload"] in payloads:
        try:
            expected = {"subject": "a", "body": alone.render(scope), "html": escaped.render(scope)}
        except UndefinedError:
            with pytest.raises(RenderError, match="is undefined"):
                bound()
        else:
            assert bound() == expected


@pytest.mark.parametrize(
    ("template", "personal"),
    [
        ("{{ payload.author }}", False),
        ("{{ actor.name }}", False),
        ("{{ subscriber.first_name }}", True),
        ("{% if steps.first.read %}x{% endif %}", True),
        ("{% for subscriber in payload['items'] %}{{ subscriber }}{% endfor %}", False),
        ("{{ payload.author | default(subscriber.first_name) }}", True),
        ("{% if payload.x %}{% set subscriber = payload %}{% endif %}{{ subscriber.first_name }}", True),
    ],
)
def test_what_makes_a_text_personal(template, personal):
    workflow = Workflow("k", steps=[InApp("first", body="x"), InApp("bell", body="b", data={"x": [template]})])
    assert compiled(workflow).steps[1].personal is personal
    assert ("subscriber" in compiled(workflow).reads) is ("subscriber." in template)
