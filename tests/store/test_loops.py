"""One async engine and more than one event loop, or none."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import notifykit as nk

NOTE = nk.Workflow("note", steps=[nk.InApp("bell", body="x")])
DRIVERS = {"psycopg": "postgresql+psycopg", "asyncmy": "mariadb+asyncmy", "aiosqlite": "sqlite+aiosqlite"}
KINDS = {"psycopg": "postgresql", "asyncmy": "mariadb", "aiosqlite": "file", "thread": "file"}
LEVEL = {"asyncmy": {"isolation_level": "READ COMMITTED"}}
MANY = 16
"""More than a pool has connections: somebody waits in its queue."""


@pytest.fixture
def opened(url_of: Callable[[str], str]) -> Iterator[Callable[..., tuple[nk.AsyncEngine, AsyncEngine | None]]]:
    """Opens an engine by its driver, of its own or on a host's."""
    hosts: list[AsyncEngine] = []

    def engine(driver: str, bound: bool = False) -> tuple[nk.AsyncEngine, AsyncEngine | None]:
        url = sa.make_url(url_of(KINDS[driver]))
        url = url.set(drivername=DRIVERS.get(driver, url.drivername))
        if not bound:
            return nk.AsyncEngine(url.render_as_string(hide_password=False), workflows=[NOTE]), None
        hosts.append(create_async_engine(url, **LEVEL.get(driver, {})))
        return nk.AsyncEngine(bind=hosts[-1], workflows=[NOTE]), hosts[-1]

    yield engine
    gc.collect()


async def work(notify: nk.AsyncEngine) -> int:
    await asyncio.gather(*(notify.trigger(NOTE, to="ada") for _ in range(MANY)))
    counts = await asyncio.gather(*(notify.inbox("ada").unread_count() for _ in range(MANY)))
    return counts[0]


@pytest.mark.parametrize("driver", ["psycopg", "aiosqlite", "thread"])
def test_one_engine_serves_one_asyncio_run_after_the_other(opened: Any, driver: str) -> None:
    notify, _ = opened(driver)
    assert [asyncio.run(work(notify)) for _ in range(3)] == [MANY, 2 * MANY, 3 * MANY]
    asyncio.run(notify.close())


@pytest.mark.parametrize("bound", [False, True], ids=["own", "bound"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncmy closes on the loop that was
def test_a_driver_that_is_tied_to_its_loop_is_refused_on_the_next(opened: Any, bound: bool) -> None:
    notify, host = opened("asyncmy", bound)
    remedy = r"engine\.dispose\(\)" if bound else r"notify\.close\(\)"
    asyncio.run(work(notify))
    for call in (work, lambda engine: engine.migrate()):
        with pytest.raises(nk.UnitError, match=rf"another event loop, which is closed: .* `await {remedy}`"):
            asyncio.run(call(notify))
    asyncio.run(notify.close())
    if host is not None:
        host.sync_engine.dispose(close=False)
    del notify, host
    gc.collect()


@pytest.mark.parametrize("driver", ["psycopg", "asyncmy"])
def test_a_host_that_disposes_of_its_engine_may_use_it_on_the_next_loop(opened: Any, driver: str) -> None:
    notify, host = opened(driver, bound=True)

    async def run() -> int:
        found = await work(notify)
        await host.dispose()
        return found

    assert [asyncio.run(run()) for _ in range(2)] == [MANY, 2 * MANY]


@pytest.mark.parametrize("driver", ["psycopg", "asyncmy", "aiosqlite"])
def test_two_loops_at_once_are_refused(opened: Any, driver: str) -> None:
    notify, _ = opened(driver)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(work(notify))
        with pytest.raises(nk.UnitError, match="another event loop, which is open: make an AsyncEngine inside each"):
            second.run(notify.inbox("ada").unread_count())
        assert first.run(work(notify)) == 2 * MANY
        first.run(notify.close())


@pytest.mark.parametrize("driver", KINDS)
def test_without_asyncio_the_error_names_the_other_notifier(opened: Any, driver: str) -> None:
    notify, _ = opened(driver)
    for call in (notify.trigger(NOTE, to="ada"), notify.inbox("ada").unread_count(), notify.drain(), notify.migrate()):
        with pytest.raises(nk.UnitError, match=r"no asyncio loop runs here: under trio.* use notifykit\.Engine"):
            call.send(None)
        call.close()
