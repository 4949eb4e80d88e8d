"""Forks: those that Python sees, and those that a server makes behind its back, as uWSGI does."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

import notifykit as nk
from tests.harness import databases

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

ROOT = Path(__file__).parents[2]
KINDS = ("file", "postgresql", "mariadb")
SERVERS = ("postgresql", "mariadb")
CALLS = 8
PRELUDE = """
import asyncio, ctypes, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
import notifykit as nk

url, CALLS = sys.argv[1], 8
hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello")])
seen, unseen = os.fork, ctypes.PyDLL(None).fork
children = []

def child(fork, work):
    pid = fork()
    if pid:
        children.append(pid)
        return
    try:
        work()
        sys.stdout.flush()
    except BaseException as error:
        print(f"child: {error!r}"[:500], file=sys.stderr)
        os._exit(1)
    os._exit(0)

def waited():
    return [os.waitpid(pid, 0)[1] for pid in children]
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], str]]:
    """The URL of a database of this file's own on a server."""
    known: dict[str, str] = {}
    with ExitStack() as stack:

        def url(kind: str) -> str:
            if reason := databases.missing(kind):  # type: ignore[arg-type]
                pytest.skip(reason)
            if kind not in known:
                known[kind] = stack.enter_context(databases.on_server(kind))
            return known[kind]

        yield url


@pytest.fixture
def url(request: pytest.FixtureRequest, servers: Callable[[str], str], tmp_path: Path) -> str:
    """The URL of an empty database whose tables are made."""
    found = f"sqlite:///{tmp_path / 'app.db'}" if request.param == "file" else servers(request.param)
    with nk.Engine(found) as engine:
        engine.migrate()
        databases.empty(engine._runtime.database.engine)
    return found


def run(program: str, url: str) -> str:
    """What a program printed; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program), url],
        capture_output=True,
        text=True,
        timeout=40,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def events(url: str) -> int:
    """How many triggers are stored."""
    with nk.Engine(url) as engine, engine._runtime.database.engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM notifykit_event")).scalar_one())


@pytest.mark.parametrize("url", KINDS, indirect=True)
def test_parent_and_children_go_on_with_connections_and_ids_of_their_own(url: str) -> None:
    run(
        """
        notify = nk.Engine(url, workflows=[hello])
        notify.trigger("hello", to="ada")

        def calls():
            for _ in range(CALLS):
                notify.trigger("hello", to="ada")

        for fork in (unseen, unseen, seen, seen):
            child(fork, calls)
        calls()
        assert waited() == [0, 0, 0, 0]
        notify.trigger("hello", to="ada")
        notify.close()
        """,
        url,
    )
    assert events(url) == 2 + 5 * CALLS


@pytest.mark.parametrize("url", KINDS, indirect=True)
def test_so_do_those_who_await(url: str) -> None:
    run(
        """
        notify = nk.AsyncEngine(url, workflows=[hello])

        async def calls(times=CALLS):
            for _ in range(times):
                await notify.trigger("hello", to="ada")

        if url.startswith("sqlite"):  # no interpreter lives through a fork that it does not see while its threads run
            child(unseen, lambda: asyncio.run(calls()))
            child(unseen, lambda: asyncio.run(calls()))
        asyncio.run(calls(1))
        for fork in (seen, seen) if children else (unseen, unseen, seen, seen):
            child(fork, lambda: asyncio.run(calls()))
        assert waited() == [0, 0, 0, 0]
        """,
        url,
    )
    assert events(url) == 1 + 4 * CALLS


@pytest.mark.parametrize("url", SERVERS, indirect=True)
def test_a_bound_engine_that_was_migrated_before_the_fork(url: str) -> None:
    numbers = run(
        """
        drivers = {"postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}
        name, rest = url.split(":", 1)
        host = sa.create_engine(drivers[name] + ":" + rest, isolation_level="READ COMMITTED")
        notify = nk.Engine(bind=host, workflows=[hello])
        notify.migrate()

        def number():
            with host.connect() as connection:
                name = "pg_backend_pid()" if "postgres" in url else "connection_id()"
                return connection.exec_driver_sql("SELECT " + name).scalar()

        def own():  # the host's engine, used before we are
            print(number())

        for fork in (unseen, unseen):
            child(fork, own)
        assert waited() == [0, 0]
        print(number())
        host.dispose()
        children.clear()

        def calls():
            for _ in range(CALLS):
                notify.trigger("hello", to="ada")

        for fork in (seen, seen, unseen):
            child(fork, calls)
        assert waited() == [0, 0, 0]

        notify.trigger("hello", to="ada")  # a connection is in the pool now
        children.clear()
        for fork in (seen, seen, unseen):
            child(fork, calls)
        assert waited() == [0, 0, 0]
        notify.trigger("hello", to="ada")
        """,
        url,
    )
    assert events(url) == 2 + 6 * CALLS
    assert len(set(numbers.split())) == 3, "a connection was left in the host's pool"


@pytest.mark.parametrize("url", SERVERS, indirect=True)
def test_a_bound_engine_that_is_awaited(url: str) -> None:
    run(
        """
        drivers = {"postgresql": "postgresql+psycopg_async", "mariadb": "mariadb+asyncmy"}
        name, rest = url.split(":", 1)
        host = create_async_engine(drivers[name] + ":" + rest, isolation_level="READ COMMITTED")
        notify = nk.AsyncEngine(bind=host, workflows=[hello])
        asyncio.run(notify.migrate())

        async def calls():
            for _ in range(CALLS):
                await notify.trigger("hello", to="ada")

        for fork in (seen, seen, unseen):
            child(fork, lambda: asyncio.run(calls()))
        assert waited() == [0, 0, 0]
        """,
        url,
    )
    assert events(url) == 3 * CALLS


@pytest.mark.parametrize("url", KINDS, indirect=True)
def test_a_child_that_ends_leaves_its_parents_connections_alone(url: str) -> None:
    run(
        """
        notify = nk.Engine(url, workflows=[hello])
        notify.trigger("hello", to="ada")
        for fork in (seen, unseen):
            pid = fork()
            if pid == 0:
                sys.exit(0)  # with all that is done at the end of an interpreter
            children.append(pid)
        assert waited() == [0, 0]
        with notify._runtime.database.engine.connect() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM notifykit_event")).scalar_one() == 1
        """,
        url,
    )


def test_a_fork_waits_for_those_who_write_a_file(tmp_path: Path) -> None:
    run(
        """
        notify = nk.Engine(url, workflows=[hello])
        notify.migrate()
        writing, forking = threading.Event(), threading.Event()
        os.register_at_fork(before=forking.set)  # the last that is registered is called first

        def write():
            with notify.transaction() as notifier:
                notifier.trigger("hello", to="ada")
                writing.set()
                assert forking.wait(20)
                notifier.trigger("hello", to="bob")

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(write)
            assert writing.wait(20)
            child(seen, lambda: notify.trigger("hello", to="eve"))
            writer.result()
        assert waited() == [0]
        assert len(notify.runs.list()) == 3
        notify.trigger("hello", to="ada")
        """,
        f"sqlite:///{tmp_path / 'app.db'}",
    )


@pytest.mark.parametrize("url", KINDS, indirect=True)
def test_a_transaction_that_was_open_at_the_fork_is_its_parents(url: str) -> None:
    run(INSIDE, url)
    assert events(url) == (9 if url.startswith("sqlite") else 13)


INSIDE = """
notify = nk.Engine(url, workflows=[hello])
notify.trigger("hello", to="ann")

def refused(call):
    try:
        call()
    except nk.NotifyKitError as error:
        return str(error)

for fork in (seen, unseen):
    for how in ("error", "end"):
        block = notify.transaction()
        notifier = block.__enter__()
        notifier.trigger("hello", to="ada")

        def work():
            if how == "error":
                assert not block.__exit__(KeyError, KeyError(), None)
            else:
                assert "its parent's to commit" in refused(lambda: block.__exit__(None, None, None))
            said = refused(lambda: notify.trigger("hello", to="eve"))
            if url.startswith("sqlite"):
                assert "forked while its parent" in said, said  # at once, not after half a minute
            else:
                assert said is None, said

        child(fork, work)
        assert waited() == [0]
        children.clear()
        notifier.trigger("hello", to="bob")
        block.__exit__(None, None, None)
"""
