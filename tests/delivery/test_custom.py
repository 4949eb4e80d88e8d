"""Custom steps that wait: called outside any transaction, as deliveries are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import notifykit as nk
from notifykit.testing import Kit, sandbox


@pytest.fixture
def notify() -> Iterator[nk.Engine]:
    with nk.Engine() as engine:
        yield engine


@pytest.fixture
def kit(notify: nk.Engine) -> Iterator[Kit]:
    with sandbox(notify) as kit:
        yield kit


def scored(notify: nk.Engine | nk.AsyncEngine, run: Callable[[nk.Context[Any]], Any], **options: Any) -> Any:
    """A registered workflow that calls a function and shows its result."""
    bell = nk.InApp("bell", body="{{ steps.score.status }} {{ steps.score.score | default('none') }}")
    workflow: Any = nk.Workflow("scored", steps=[nk.Custom("score", run, **options), bell])
    notify.workflows.register(workflow)
    return workflow


def story(notify: nk.Engine) -> list[tuple[str, str | None]]:
    return [
        (line.kind, line.reason)
        for line in notify.executions.list(subscriber="ada")
        if line.step == "score" and not line.kind.startswith("run_")
    ]


def bodies(notify: nk.Engine) -> list[str]:
    return [message.body for message in notify.inbox("ada").list()]


def test_its_result_is_seen_by_later_steps(notify: nk.Engine, kit: Kit) -> None:
    seen: list[nk.Context[Any]] = []

    def score(context: nk.Context[Any]) -> dict[str, Any]:
        seen.append(context)
        assert notify.runs.list().items[0].status == "waiting"  # the host may ask the engine: no transaction is open
        return {"score": context.payload["amount"] * 2}

    notify.trigger(scored(notify, score)(amount=21), to="ada")
    report = kit.drain()
    assert (report.advanced, report.sent, report.next_due) == (1, 0, None)
    assert bodies(notify) == ["completed 42"]
    assert seen[0].subscriber["subscriber_id"] == "ada"
    assert story(notify) == [("step_completed", None)]


def test_the_key_is_the_same_for_every_attempt(notify: nk.Engine, kit: Kit) -> None:
    keys: list[str] = []

    def flaky(context: nk.Context[Any]) -> None:
        keys.append(context.idempotency_key)
        if len(keys) < 3:
            raise nk.TransientDeliveryError("busy")

    notify.trigger(scored(notify, flaky)(), to="ada")
    kit.travel(hours=1)
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert keys[0]
    assert story(notify) == [("attempt", "busy"), ("attempt", "busy"), ("step_completed", None)]
    assert bodies(notify) == ["completed none"]


BAD: dict[str, Any] = {
    "a list": [1],
    "taken": {"status": "mine"},
    "not plain": {"x": object()},
    "infinite": {"x": float("inf")},
}


@pytest.mark.parametrize("returned", BAD.values(), ids=BAD)
def test_a_result_that_cannot_be_kept_fails_the_step(notify: nk.Engine, kit: Kit, returned: Any) -> None:
    notify.trigger(scored(notify, lambda context: returned)(), to="ada")
    kit.drain()
    ((kind, reason),) = story(notify)
    assert kind == "step_failed"
    assert "steps.score" in (reason or "")
    assert bodies(notify) == ["failed none"]


@pytest.mark.parametrize(("stop", "status"), [(True, "failed"), (False, "completed")])
def test_a_permanent_failure(notify: nk.Engine, kit: Kit, stop: bool, status: str) -> None:
    def never(context: nk.Context[Any]) -> None:
        raise nk.PermanentDeliveryError("never")

    result = notify.trigger(scored(notify, never, stop_on_fail=stop)(), to="ada")
    kit.drain()
    assert story(notify) == [("step_failed", "never")]
    (run,) = notify.runs.list(transaction_id=result.transaction_id)
    assert run.status == status
    assert bodies(notify) == ([] if stop else ["failed none"])


def test_it_is_given_up_in_the_end(notify: nk.Engine, kit: Kit) -> None:
    calls: list[int] = []

    def busy(context: nk.Context[Any]) -> None:
        calls.append(1)
        raise RuntimeError("busy")

    notify.trigger(scored(notify, busy)(), to="ada")
    kit.travel(days=2)
    assert len(calls) == 8
    assert story(notify)[-1] == ("step_failed", "RuntimeError: busy")
    assert bodies(notify) == ["failed none"]


def test_a_cancelled_run_calls_nothing(notify: nk.Engine, kit: Kit) -> None:
    calls: list[int] = []
    result = notify.trigger(scored(notify, lambda context: calls.append(1))(), to="ada")
    assert notify.cancel(result).stopped == 1
    assert kit.travel(hours=1).next_due is None
    assert calls == []


async def test_an_async_function_on_the_awaited_notifier() -> None:
    async def score(context: nk.Context[Any]) -> dict[str, int]:
        return {"score": 7}

    notify = nk.AsyncEngine()
    async with sandbox(notify) as kit:
        await notify.trigger(scored(notify, score)(), to="ada")
        await kit.drain()
        assert [message.body for message in await notify.inbox("ada").list()] == ["completed 7"]
    await notify.close()


def test_a_function_that_this_process_lacks(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    with nk.Engine(url) as web, nk.Engine(url) as worker:
        workflow = scored(worker, lambda context: {"score": 1})
        worker.trigger(workflow(), to="ada")
        report = web.drain()
        assert (dict(report.waiting_for), report.advanced, report.next_due) == (
            {"scored/score: no function": 1},
            0,
            None,
        )
        assert worker.drain().advanced == 1
        assert dict(web.drain().waiting_for) == {}
        assert bodies(web) == ["completed 1"]
