"""The front notifier: how it opens, what it refuses, how it closes."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import notifykit as nk
from tests.unit_of_work.conftest import hello, said


class Naive:
    """A clock whose times have no zone."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1)  # noqa: DTZ001


def test_nothing_touches_the_file_before_the_first_use(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    engine = nk.Engine(f"sqlite:///{path}", workflows=[hello])
    engine.deliver("email")(print)
    assert not path.exists()
    engine.subscribers.upsert("ada")
    assert path.exists()
    engine.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "sqlite://", "bind": sa.create_engine("sqlite://")}, "both given"),
        ({"url": "oracle://x"}, "no database that notifykit knows"),
        ({"url": "app.db"}, "not a database URL"),
        ({"bind": create_async_engine("sqlite+aiosqlite://")}, "AsyncEngine"),
        ({"url": ""}, "not a database URL"),
        ({"durability": "ful"}, "durability: 'ful' is not possible. Did you mean 'full'"),
        ({"migrate": "sometimes"}, "migrate: 'sometimes' is not possible"),
        ({"integrations": [print]}, "integrations: an Integration is expected"),
        ({"clock": Naive()}, "clock: .* aware"),
        ({"clock": 5}, "clock: .* aware"),
    ],
)
def test_what_cannot_be_an_engine_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(nk.ConfigurationError, match=words):
        nk.Engine(**options)
    if not isinstance(options.get("bind"), sa.Engine | AsyncEngine):
        with pytest.raises(nk.ConfigurationError, match=words):
            nk.AsyncEngine(**options)


def test_a_bad_workflow_is_refused_at_once() -> None:
    with pytest.raises(nk.DefinitionError):
        nk.Engine(workflows=[nk.Workflow("bad", steps=[nk.InApp("bell", body="{{ nobody.knows }}")])])


def test_verbs_after_close_are_refused(url: str) -> None:
    engine = nk.Engine(url, workflows=[hello])
    with engine:
        engine.subscribers.upsert("ada")
    engine.close()
    for call in (
        lambda: engine.subscribers.find("ada"),
        lambda: engine.trigger(hello, **said("one")),
        engine.drain,
        engine.migrate,
        lambda: engine.transaction().__enter__(),
        lambda: next(engine.subscribers.each()),
    ):
        with pytest.raises(nk.UnitError, match="closed"):
            call()


async def test_the_awaited_notifier_closes_too(url: str) -> None:
    async with nk.AsyncEngine(url, workflows=[hello]) as engine:
        await engine.subscribers.upsert("ada")
    await engine.close()
    with pytest.raises(nk.UnitError, match="closed"):
        await engine.subscribers.find("ada")


def test_the_engine_is_the_sender_of_its_signals() -> None:
    senders: list[Any] = []

    def receive(sender: Any, event: Any) -> None:
        senders.append(sender)

    with nk.Engine(workflows=[hello]) as engine, nk.Engine(workflows=[hello]) as other:
        engine.signals["trigger_processed"].connect(receive)
        engine.trigger(hello, **said("one"))
        other.trigger(hello, **said("one"))
        assert senders == [engine]


def test_a_bound_engine_leaves_the_hosts_alone(database: sa.Engine) -> None:
    with nk.Engine(bind=database, workflows=[hello]) as engine:
        engine.trigger(hello, **said("one"))
    with database.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM notifykit_event")) == 1


def test_public_names_are_sorted_complete_and_documented() -> None:
    assert nk.__all__ == sorted(nk.__all__, key=lambda name: (not name.isupper(), name))
    assert not [name for name in nk.__all__ if not hasattr(nk, name)]
    public = [name for name, value in vars(nk).items() if isinstance(value, type) and not name.startswith("_")]
    assert not set(public) - set(nk.__all__)
    assert not [name for name in public if not (getattr(nk, name).__doc__ or "").strip()]


def test_importing_is_light() -> None:
    heavy = ("alembic", "typer", "rich", "psycopg", "pymysql", "asyncmy", "aiosqlite", "smtplib")
    code = f"import sys, notifykit; print([name for name in {heavy!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
