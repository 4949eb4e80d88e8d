from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from notifykit.model import TopicMember
from notifykit.store import engines, schema
from notifykit.store.async_database import AsyncDatabase
from notifykit.store.database import Database
from notifykit.store.rows import insert_rows
from notifykit.unit_of_work.unit import Unit
from tests.store.conftest import bare, in_unit, unit_of


def add(unit: Unit, topic: int) -> None:
    insert_rows(unit, TopicMember, ("topic", "subscriber"), [(topic, 1)])


def count(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM notifykit_topic_member").scalar_one())


def driver_url(url: str) -> sa.URL:
    """The URL as a host writes it, the driver named."""
    return engines.parsed(url)


@pytest.mark.parametrize(
    "options", [{}, {"isolation_level": "AUTOCOMMIT"}, {"isolation_level": "SERIALIZABLE"}], ids=str
)
def test_our_own_units_on_a_hosts_engine(server: str, options: dict[str, str]) -> None:
    host = sa.create_engine(driver_url(server), **options)
    database = Database.bound(host)
    with unit_of(database) as unit:
        add(unit, 1)
    with pytest.raises(RuntimeError), unit_of(database) as unit:  # noqa: PT012
        add(unit, 2)
        raise RuntimeError
    with host.connect() as connection:
        assert count(connection) == 1
        if options.get("isolation_level") == "AUTOCOMMIT":
            raw = connection.connection.dbapi_connection
            assert raw is not None
            assert host.dialect.detect_autocommit_setting(raw)  # the host's connections stay as they were
    database.close()
    with host.connect() as connection:
        assert count(connection) == 1
    host.dispose()


def test_tables_are_made_beside_a_hosts_open_transaction(server: str) -> None:
    bare(server)
    host = sa.create_engine(driver_url(server))
    database = Database.bound(host)
    with host.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
    with host.connect() as connection:
        connection.exec_driver_sql("INSERT INTO orders VALUES (1)")
        database.ready(connection)
        connection.rollback()
        assert connection.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 0
        connection.exec_driver_sql("DROP TABLE orders")
        connection.commit()
    with unit_of(database) as unit:
        add(unit, 1)
    host.dispose()


@pytest.mark.parametrize(("kind", "driver"), [("postgresql", "postgresql+psycopg"), ("mariadb", "mariadb+asyncmy")])
async def test_our_own_units_on_an_async_hosts_engine(url_of: Callable[[str], str], kind: str, driver: str) -> None:
    host = create_async_engine(sa.make_url(url_of(kind)).set(drivername=driver), isolation_level="AUTOCOMMIT")
    database = AsyncDatabase.bound(host)
    await in_unit(database, add, 1)
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with database.transaction(write=True) as transaction:
            await transaction.call(lambda connection: connection.exec_driver_sql("DELETE FROM notifykit_topic_member"))
            raise RuntimeError
    async with host.connect() as connection:
        assert await connection.run_sync(count) == 1
    await database.close()
    await host.dispose()


async def test_the_migrations_run_on_every_async_driver(awaited: AsyncDatabase, awaited_url: str | None) -> None:
    if awaited.dialect.name != "sqlite":
        assert awaited_url
        bare(awaited_url)

    def upgrade(database: Database) -> str | None:
        with database.engine.begin() as connection:
            schema.upgrade(connection)
        with database.engine.connect() as connection:
            return schema.stored_version(connection)

    assert await awaited.run(upgrade, awaited.database) == schema.HEAD
