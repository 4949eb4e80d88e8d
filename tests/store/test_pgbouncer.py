"""An engine behind PgBouncer in transaction mode, where each transaction may meet another server process."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.store import engines

CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""
NOTE = nk.Workflow("note", steps=[nk.InApp("bell", body="{{ payload.text }}")])
TEXTS = [{"name": "note", "to": "ada", "payload": {"text": "x"}}] * 60


@pytest.fixture
def pooled(url_of: Callable[[str], str], tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, through PgBouncer."""
    url = sa.make_url(url_of("postgresql"))
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("no pgbouncer here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = free.getsockname()[1]
    path = tmp_path / "pgbouncer.ini"
    path.write_text(CONFIGURATION.format(host=url.host, port=url.port or 5432, user=url.username, listen=listen))
    with subprocess.Popen([program, "-u", "nobody", path], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "process up" in line:
                break
        else:
            pytest.fail("".join(said))
        yield url.set(port=listen).render_as_string(hide_password=False)
        process.terminate()
        process.stderr.read()


def work(notify: nk.Engine) -> None:
    for _ in range(20):
        notify.trigger(NOTE, to="ada", payload={"text": "x"}).raise_for_status()
        notify.drain()
    notify.trigger_bulk(TEXTS).raise_for_status()


@pytest.mark.slow
@pytest.mark.parametrize("bound", [False, True], ids=["own", "bound"])
async def test_both_notifiers_and_several_threads(pooled: str, bound: bool) -> None:
    given: dict[str, Any] = {"url": f"{pooled}?prepare_threshold=none"}
    host = sa.create_engine(engines.parsed(pooled), connect_args={"prepare_threshold": None})
    with nk.Engine(**{"bind": host} if bound else given, workflows=[NOTE]) as notify:
        notify.migrate()
        threads = [Thread(target=work, args=[notify]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert notify.inbox("ada").unread_count() == 4 * 80
    host.dispose()
    async with nk.AsyncEngine(f"{pooled}?prepare_threshold=none", workflows=[NOTE]) as awaited:
        await asyncio.gather(*(awaited.trigger(NOTE, to="ada", payload={"text": "x"}) for _ in range(40)))
        await awaited.trigger_bulk(TEXTS)
        assert await awaited.inbox("ada").unread_count() == 4 * 80 + 100


@pytest.mark.slow
def test_where_it_is_not_set_the_error_says_what_to_write(pooled: str) -> None:
    with nk.Engine(f"{pooled}?prepare_threshold=none") as first:
        first.migrate()
    failures: list[str] = []

    def until_it_fails(notify: nk.Engine) -> None:
        try:
            work(notify)
        except nk.StorageError as error:
            failures.append(str(error))

    with nk.Engine(pooled, workflows=[NOTE]) as notify:
        threads = [Thread(target=until_it_fails, args=[notify]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "write `?prepare_threshold=none` at the end of the URL" in failures[0]


@pytest.mark.parametrize(("given", "wanted"), [("none", None), ("0", 0), ("7", 7)])
async def test_the_threshold_is_set_in_the_url(url_of: Callable[[str], str], given: str, wanted: int | None) -> None:
    url = f"{url_of('postgresql')}?prepare_threshold={given}"
    with nk.Engine(url) as notify:
        notify.migrate()
        with notify._runtime.database.transaction(write=False) as connection:
            raw: Any = connection.connection.driver_connection
            assert raw.prepare_threshold == wanted
    async with nk.AsyncEngine(url) as awaited, awaited._runtime.database.transaction(write=False) as transaction:
        raw = transaction.connection.connection.driver_connection
        assert raw.prepare_threshold == wanted


@pytest.mark.parametrize("given", ["None", "-1", "five", "5&prepare_threshold=6"])
def test_a_threshold_that_is_none(given: str) -> None:
    with pytest.raises(nk.ConfigurationError, match=r"prepare_threshold=.* write a number, or `none`"):
        nk.Engine(f"postgresql://x/y?prepare_threshold={given}")
