"""Whatever a host raises, answers or is called becomes text that every database, JSON and every log takes."""

from __future__ import annotations

import logging
import tracemalloc
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import notifykit as nk
from notifykit.results import Problem
from notifykit.texts import (
    EMAIL_BYTES,
    LONGEST,
    TRACEBACK_LONGEST,
    error_text,
    is_email_address,
    kind_of,
    label,
    log,
    name_of,
    quoted,
    sanitize,
    unstorable,
)
from tests.harness import evil

ANY_TEXT = st.text(alphabet=st.characters(), max_size=300) | st.text(
    alphabet=st.sampled_from("a\0\t\n\r\x1b\x7f\x85\x9f\u2028\ud800\udfff\U0001f600"), max_size=300
)


def can_be_kept(text: str) -> bool:
    return type(text) is str and not any(unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"} for each in text)


@given(ANY_TEXT, st.integers(2, 50))
def test_any_text_can_be_kept(text: str, limit: int) -> None:
    found = sanitize(text, limit)
    assert can_be_kept(found)
    assert len(found) <= limit
    assert sanitize(found, limit) == found
    if len(text) <= limit and can_be_kept(text):
        assert found == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("first\r\n\tsecond\u2028\x85third", "first second third"),
        ("a\0b\x1b[31m", "a\ufffdb\ufffd[31m"),
        ("caf\udce9", "caf\ufffd"),
        ("\ud83d\ude00", "\ufffd\ufffd"),
        ("naïve \xa0 \U0001f600", "naïve \xa0 \U0001f600"),
        ("abcdefghij", "abcdefghij"),
        ("abcdefghijk", "abcdefghi\u2026"),
    ],
)
def test_how_it_reads(text: str, kept: str) -> None:
    assert sanitize(text, 10 if text.startswith("abc") else LONGEST) == kept


@pytest.mark.parametrize("name", evil.EXCEPTIONS)
def test_any_exception_has_words(name: str) -> None:
    error = evil.EXCEPTIONS[name]()
    found = error_text(error)
    assert found.strip()
    assert can_be_kept(found)
    assert len(found) <= LONGEST
    assert len(error_text(error, 30)) <= 30


SAID: list[tuple[Callable[[], Exception], str]] = [
    (lambda: RuntimeError("odd"), "RuntimeError: odd"),
    (KeyError, "KeyError"),
    (lambda: nk.PermanentDeliveryError("no such box"), "no such box"),
    (nk.TransientDeliveryError, "TransientDeliveryError"),
    (evil.Unprintable, "Unprintable"),
    (evil.Subclassed, "Subclassed: subclassed"),
    (lambda: evil.Disguised("it"), "Disguised: it"),
    (lambda: evil.Anonymous("it"), "Anonymous: it"),
    (lambda: evil.nested(3), "ExceptionGroup: group (1 sub-exception)"),
    (lambda: ValueError("a\nb"), "ValueError: a b"),
]


@pytest.mark.parametrize(("make", "kept"), SAID, ids=[kept for _, kept in SAID])
def test_what_exceptions_say(make: Callable[[], Exception], kept: str) -> None:
    assert error_text(make()) == kept


def test_a_large_text_is_not_copied() -> None:
    error = ValueError("x" * evil.LARGE)
    tracemalloc.start()
    try:
        assert len(error_text(error)) == LONGEST
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


class Odd:
    """An object that answers nothing, not even what it is called."""

    __repr__ = evil.broken
    __getattr__ = evil.broken
    __call__ = evil.broken


def test_refused_values_are_shown_as_far_as_they_can_be() -> None:
    assert quoted("a'b\ud800\n") == '"a\'b\\ud800\\n"'
    assert quoted(Odd()) == "<Odd>"
    assert quoted(10**5000) == "<int>"
    assert len(quoted("x" * 1000)) == len(quoted(["x" * 1000])) == 80
    assert quoted(evil.BrokenText("text")) == "'text'"
    assert (label("a\0b"), label(7), label(10**5000)) == ("a\ufffdb", "7", "<int>")


def test_functions_have_names() -> None:
    assert name_of(evil.broken) == name_of(partial(evil.broken)) == "tests.harness.evil.broken"
    assert name_of(Odd()) == "tests.test_texts.Odd" or name_of(Odd()) == "Odd"
    assert kind_of(evil.Anonymous()) == "Anonymous"


@pytest.mark.parametrize("name", evil.EXCEPTIONS)
def test_any_exception_can_be_logged(caplog: pytest.LogCaptureFixture, name: str) -> None:
    try:
        raise evil.EXCEPTIONS[name]()
    except Exception as error:
        log(logging.getLogger("notifykit.test"), logging.ERROR, "%s failed", "it", error=error)
    assert "it failed" in caplog.text
    assert "evil.EXCEPTIONS[name]()" in caplog.text
    assert caplog.text.encode()
    assert len(caplog.text) <= TRACEBACK_LONGEST + 1000


@given(field=ANY_TEXT, message=ANY_TEXT, recipient=ANY_TEXT)
def test_any_problem_can_be_kept(field: str, message: str, recipient: str) -> None:
    problem = Problem(field, message, recipient)
    assert all(can_be_kept(each or "") for each in (problem.field, problem.message, problem.recipient))
    assert can_be_kept(str(problem))


def test_a_subclass_of_text_is_read_by_its_letters() -> None:
    odd: Any = evil.BrokenText("text")
    assert sanitize(odd) == "text"
    assert type(sanitize(odd)) is str


@pytest.mark.parametrize("good", ["a@b", "a.b+c@d.example", "\u00fc@\u00fc.example", "a" * (EMAIL_BYTES - 2) + "@b"])
def test_email_addresses(good: str) -> None:
    assert is_email_address(good)


BAD_ADDRESSES = [
    "a",
    "@b",
    "a@",
    "a@b@c",
    "a b@c",
    "a@b,c@d",
    "a@b\n",
    "a\0@b",
    "a\x85@b",
    "\ud800@b",
    "a" * 253 + "@b",
]


@pytest.mark.parametrize("bad", [*BAD_ADDRESSES, "a" * 253 + "@b", "\u00fc" * 127 + "@b", b"a@b", ["a@b"]])
def test_what_is_no_email_address_is_none_wherever_it_is_given(bad: Any) -> None:
    assert not is_email_address(bad)
    with nk.Engine(workflows=[nk.Workflow("k", steps=[nk.Email("mail", subject="s")])]) as notify:
        with pytest.raises(nk.InputError, match="email: one local@domain"):
            notify.subscribers.upsert("ada", email=bad)
        with pytest.raises(nk.InputError, match=r"overrides\.email\.reply_to: "):
            notify.trigger("k", to="ada", overrides={"email": {"reply_to": bad}})


@given(ANY_TEXT)
def test_what_cannot_be_stored_is_named(text: str) -> None:
    refused = any(each == "\0" or "\ud800" <= each <= "\udfff" for each in text)
    assert (unstorable(text) is not None) is refused
