"""Engines on a file of their own, and a host with an engine of its own on the same file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import notifykit as nk

hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello {{ payload.name }}")])


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The file."""
    return f"sqlite:///{tmp_path / 'app.db'}"


@pytest.fixture
def notify(url: str) -> Iterator[nk.Engine]:
    """The sync notifier, with its tables made."""
    with nk.Engine(url, workflows=[hello]) as engine:
        engine.migrate()
        yield engine


@pytest.fixture
async def awaited(url: str) -> AsyncIterator[nk.AsyncEngine]:
    """The awaited notifier, with its tables made."""
    async with nk.AsyncEngine(url, workflows=[hello]) as engine:
        await engine.migrate()
        yield engine


@pytest.fixture
def database(url: str) -> Iterator[sa.Engine]:
    """The host's engine: the driver in its default mode, as most hosts have it."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    yield engine
    engine.dispose()


@pytest.fixture
async def async_database(url: str, database: sa.Engine) -> AsyncIterator[AsyncEngine]:
    """The same for an asynchronous host."""
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    yield engine
    await engine.dispose()


@pytest.fixture
def heard(notify: nk.Engine) -> list[Any]:
    """What observers of `trigger_processed` hear: the transaction ids."""
    heard: list[Any] = []
    notify.on.trigger_processed(lambda event: heard.append(event.transaction_id))
    return heard


def order(host: Any) -> None:
    """Write a row of the host's."""
    host.execute(sa.text("INSERT INTO orders DEFAULT VALUES"))


def orders(database: sa.Engine) -> int:
    """How many rows the host has."""
    with database.connect() as connection:
        return int(connection.scalar(sa.text("SELECT count(*) FROM orders")) or 0)


def said(text: str) -> dict[str, Any]:
    """The arguments of a trigger with a transaction id."""
    return {"to": "ada", "payload": {"name": "Ada"}, "transaction_id": text}
