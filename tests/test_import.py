"""What `import notifykit` brings along; `python -m tests.benchmarks --only import` says what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "aiosqlite",
    "alembic",
    "asyncmy",
    "psycopg",
    "pymysql",
    "rich",
    "smtplib",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext.asyncio",
    "sqlite3",
    "typer",
)
"""What only some hosts need, or only at first use."""
LATE = (
    "notifykit.cli",
    "notifykit.delivery",
    "notifykit.api.aio",
    "notifykit.worker.draining",
    "notifykit.flow.triggering",
    "notifykit.render",
    "notifykit.store.database",
    "notifykit.testing",
)
"""Our own modules that wait for their first use."""


@pytest.fixture(scope="module")
def modules() -> set[str]:
    """What is imported in a process that has done nothing but `import notifykit`."""
    program = "import notifykit, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize("name", HEAVY)
def test_what_only_some_hosts_need_is_not_imported(modules: set[str], name: str) -> None:
    assert name not in modules


@pytest.mark.parametrize("name", LATE)
def test_what_is_needed_at_first_use_is_imported_then(modules: set[str], name: str) -> None:
    assert name not in modules
