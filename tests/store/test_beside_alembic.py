"""Our migrations beside a host's own Alembic, and several of ours at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import notifykit as nk
from notifykit.store import engines, schema
from notifykit.store.database import Database
from tests.store import later
from tests.store.schemas import behind

hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello")])

ENV = """
from alembic import context
with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, transaction_per_migration=context.config.attributes["each"])
    with context.begin_transaction():
        context.run_migrations()
"""
FIRST = """
import sqlalchemy as sa
from alembic import context, op
revision, down_revision = "a", None
def upgrade():
    op.create_table("orders", sa.Column("id", sa.Integer(), primary_key=True))
    context.config.attributes["inside"](op.get_bind())
    op.execute("INSERT INTO orders (id) VALUES (1)")
    op.add_column("orders", sa.Column("note", sa.String(20)))
"""
SECOND = """
from alembic import context, op
revision, down_revision = "b", "a"
def upgrade():
    op.execute("UPDATE orders SET note = 'b'")
    context.config.attributes["after"](op.get_bind())
    op.execute("INSERT INTO orders (id, note) VALUES (2, 'b')")
"""


@pytest.fixture
def host(empty_url: str) -> Iterator[sa.Engine]:
    """The host's engine."""
    engine = sa.create_engine(engines.parsed(empty_url))
    yield engine
    with engine.begin() as connection:
        for name in ("orders", "alembic_version"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    engine.dispose()


@pytest.fixture
def upgrade(tmp_path: Path, host: sa.Engine) -> Callable[..., list[Any]]:
    """Runs the host's migrations, and answers the rows that they leave."""
    folder = tmp_path / "alembic"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "versions" / "a.py").write_text(FIRST)
    (folder / "versions" / "b.py").write_text(SECOND)

    def run(inside: Callable[[sa.Connection], Any], after: Callable[[sa.Connection], Any], each: bool) -> list[Any]:
        config = Config(attributes={"engine": host, "inside": inside, "after": after, "each": each})
        config.set_main_option("script_location", str(folder))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "head")
        with host.connect() as connection:
            assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == "b"
            return [tuple(row) for row in connection.exec_driver_sql("SELECT id, note FROM orders ORDER BY id")]

    return run


def older(url: str) -> None:
    """Make tables of the first version."""
    database = Database.open(url)
    database.migrate()
    database.close()


def version(url: str) -> str | None:
    database = Database.open(url)
    with database.engine.connect() as connection:
        found = schema.stored_version(connection)
    database.close()
    return found


@pytest.mark.parametrize("each", [False, True])
def test_migrate_inside_a_hosts_migration(
    empty_url: str, upgrade: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, each: bool
) -> None:
    older(empty_url)
    with behind(monkeypatch), nk.Engine(empty_url, workflows=[hello]) as notify:
        assert upgrade(lambda _: notify.migrate(), lambda _: None, each) == [(1, "b"), (2, "b")]
        assert notify.trigger(hello, to="ada").status == "processed"
    assert version(empty_url) == later.VERSION


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_a_trigger_inside_a_hosts_migration(
    empty_url: str, upgrade: Callable[..., Any], host: sa.Engine, each: bool, own: bool
) -> None:
    older(empty_url)
    source: Any = {"url": empty_url} if own else {"bind": host}
    with nk.Engine(**source, workflows=[hello]) as notify:
        done = upgrade(
            lambda connection: notify.within(connection).trigger(hello, to="ada"),
            lambda connection: notify.within(connection).trigger(hello, to="ada"),
            each,
        )
        assert done == [(1, "b"), (2, "b")]
        assert notify.inbox("ada").unread_count() == 2


def test_a_file_upgraded_in_another_thread_during_a_hosts_migration(
    tmp_path: Path, upgrade: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    older(url)

    def elsewhere(_: sa.Connection) -> None:
        with nk.Engine(url, workflows=[hello]) as notify:
            thread = threading.Thread(target=notify.migrate)
            thread.start()
            thread.join()

    with behind(monkeypatch):
        assert upgrade(elsewhere, elsewhere, False) == [(1, "b"), (2, "b")]
    assert version(url) == later.VERSION


def test_eight_files_upgraded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(8)]
    for url in urls:
        older(url)
    together = threading.Barrier(len(urls))

    def migrate(url: str) -> str | None:
        with nk.Engine(url) as notify:
            together.wait()
            notify.migrate()
        return version(url)

    with behind(monkeypatch), ThreadPoolExecutor(len(urls)) as pool:
        assert list(pool.map(migrate, urls)) == [later.VERSION] * len(urls)
