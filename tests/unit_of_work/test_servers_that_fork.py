"""Real servers that fork: gunicorn with a preloaded application, and uWSGI, which does so behind Python's back."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

import notifykit as nk
from tests.harness import databases

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REQUESTS = 60
APPLICATION = """
    import os
    import notifykit as nk

    notify = nk.Engine(os.environ["DATABASE"], workflows=[nk.Workflow("hello", steps=[nk.InApp("bell", body="Hi")])])
    notify.trigger("hello", to="ada")  # a connection, and a block of ids, before the fork

    def application(environ, start_response):
        notify.trigger("hello", to="ada")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""


def gunicorn(port: int) -> list[str]:
    if importlib.util.find_spec("gunicorn") is None:
        pytest.skip("gunicorn is not installed")
    return [sys.executable, "-m", "gunicorn", "--preload", "-w", "4", "-b", f"127.0.0.1:{port}", "app:application"]


def uwsgi(port: int) -> list[str]:
    found = shutil.which("uwsgi", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("uwsgi is not installed")
    command = [found, "--http-socket", f"127.0.0.1:{port}", "--module", "app:application", "--master"]
    return [*command, "-p", "4", "--die-on-term", "--need-app", "--virtualenv", sys.prefix]


@pytest.fixture(params=["postgresql", "mariadb", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"sqlite:///{tmp_path / 'app.db'}"
        return
    if reason := databases.missing(request.param):
        pytest.skip(reason)
    with databases.on_server(request.param) as found:
        yield found


def get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=40) as answer:
        return str(answer.read().decode())


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("server", [gunicorn, uwsgi])
def test_workers_of_a_preloaded_application(server: object, url: str, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "app.py").write_text(textwrap.dedent(APPLICATION))
    path = os.pathsep.join([str(ROOT), str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        server(port),  # type: ignore[operator]
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "DATABASE": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        booted = 0
        for line in process.stdout:  # until the workers are there
            booted += "Booting worker" in line or "spawned uWSGI worker" in line
            if booted == 4:
                break
        with ThreadPoolExecutor(8) as pool:
            workers = set(pool.map(get, [port] * REQUESTS))
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert len(workers) > 1
    with nk.Engine(url) as engine, engine._runtime.database.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM notifykit_event")).scalar_one() == 1 + REQUESTS
