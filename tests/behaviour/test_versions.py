"""Which version processes without the code work with: that of the last registration that was triggered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.model.tables import workflow
from notifykit.workflow.registry import Registry
from tests.harness.both import Both
from tests.harness.statements import Statements, statements

pytestmark = [pytest.mark.own, pytest.mark.uneven]


def news(body: str, **options: Any) -> nk.Workflow[Any, ...]:
    return nk.Workflow("news", steps=[nk.InApp("bell", body=body)], **options)


def deploy(notify: Both, *workflows: nk.Workflow[Any, ...]) -> Registry:
    """A process that has just started with this code; gives its registry, to come back to it."""
    notify.engine._runtime.registry = Registry()
    notify.workflows.register(*workflows)
    return notify.engine._runtime.registry


def body_by_key(notify: Both) -> str:
    """What a process without the code tells."""
    before = notify.engine._runtime.registry
    deploy(notify)
    try:
        assert notify.trigger("news", to="reader").status == "processed"
        return notify.inbox("reader").list().items[0].body
    finally:
        notify.engine._runtime.registry = before


def breaking_off() -> Iterator[nk.Trigger]:
    yield from [nk.Trigger("news", to="ada")] * 3
    raise ZeroDivisionError


def triggered(notify: Both) -> Statements:
    with statements() as seen:
        notify.trigger("news", to="ada")
    return seen


def test_going_back_makes_the_older_version_current_again(notify: Both) -> None:
    for body in ("A", "B", "A"):
        deploy(notify, news(body))
        notify.trigger("news", to="ada")
        assert body_by_key(notify) == body
    assert [message.body for message in notify.inbox("ada").list()] == ["A", "B", "A"]


def test_what_was_not_active_is_active_again(notify: Both) -> None:
    deploy(notify, news("A"))
    notify.trigger("news", to="ada")
    notify.workflows.register(news("A", active=False))
    assert notify.trigger("news", to="ada").status == "trigger_not_active"
    deploy(notify)
    assert notify.trigger("news", to="ada").status == "trigger_not_active"
    deploy(notify, news("A"))
    notify.trigger("news", to="ada")
    assert body_by_key(notify) == "A"


def test_the_row_says_what_the_current_version_says(notify: Both) -> None:
    columns = sa.select(workflow.c.name, workflow.c.tags, workflow.c.active, workflow.c.critical)
    for options in ({"name": "A"}, {"name": "B", "tags": ["x"], "active": False, "critical": True}, {"name": "A"}):
        deploy(notify, news("A", **options))
        notify.trigger("news", to="ada")
        (row,) = notify.read(lambda connection: connection.execute(columns).all())
        said = (options["name"], options.get("tags", []), options.get("active", True), options.get("critical", False))
        assert tuple(row) == said


def test_registering_other_code_in_one_process(notify: Both) -> None:
    for body in ("A", "B", "A"):
        notify.workflows.register(news(body))
        notify.trigger("news", to="ada")
        assert body_by_key(notify) == body


def test_old_and_new_processes_do_not_take_turns(notify: Both) -> None:
    old = deploy(notify, news("A"))
    notify.trigger("news", to="ada")
    new = deploy(notify, news("B"))
    notify.trigger("news", to="ada")
    for _ in range(2):
        for process in (old, new):
            notify.engine._runtime.registry = process
            assert not triggered(notify).of("UPDATE notifykit_workflow")
    assert body_by_key(notify) == "B"
    assert [message.body for message in notify.inbox("ada").list()] == ["B", "A", "B", "A", "B", "A"]


def test_only_a_version_that_is_not_current_is_written(notify: Both) -> None:
    deploy(notify, news("A"))
    triggered(notify)
    usual = triggered(notify)
    deploy(notify, news("A"))
    started = triggered(notify)
    assert not started.of("UPDATE notifykit_workflow")
    assert len(triggered(notify)) == len(usual) < len(started)
    deploy(notify, news("B"))
    triggered(notify)
    deploy(notify, news("A"))
    assert len(triggered(notify).of("UPDATE notifykit_workflow")) == 1
    assert len(triggered(notify)) == len(usual)


def test_what_is_rolled_back_is_not_current(notify: Both) -> None:
    deploy(notify, news("A"))
    notify.trigger("news", to="ada")
    deploy(notify, news("B"))
    notify.engine._runtime.chunk = 1
    with pytest.raises(ZeroDivisionError), statements() as seen:
        notify.trigger_bulk(breaking_off())
    assert len(seen.of("UPDATE notifykit_workflow")) == 1
    assert body_by_key(notify) == "A"
    notify.trigger("news", to="ada")
    assert body_by_key(notify) == "B"
