"""Two connections that wait for each other: the database gives one up, and ours is done again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import pytest
import sqlalchemy as sa

import notifykit as nk
from notifykit.model import Subscriber
from tests.harness import databases
from tests.harness.both import Both, Notifier

WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
    "ON processlist.id = trx_mysql_thread_id WHERE trx_state = 'LOCK WAIT' AND db = database()",
}
"""Who waits in this database; others wait in theirs."""
SUBSCRIBERS: Any = Subscriber.__table__  # type: ignore[attr-defined]
FIRST, LAST = "s000", "s099"


@pytest.fixture(params=WAITING)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database on a server."""
    if reason := databases.missing(request.param):
        pytest.skip(reason)
    with databases.on_server(request.param) as found:
        yield found


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    """The host's."""
    server = databases.SERVERS["postgresql" if url.startswith("postgresql") else "mariadb"]
    engine = sa.create_engine(sa.make_url(url).set(drivername=server.driver), isolation_level="READ COMMITTED")
    yield engine
    engine.dispose()


def wait_until_somebody_waits(connection: sa.Connection) -> None:
    end = monotonic() + 20
    while not connection.exec_driver_sql(WAITING[connection.engine.dialect.name]).scalar() and monotonic() < end:
        connection.rollback()
        sleep(0.2)  # what MariaDB tells of transactions is a tenth of a second old
    assert monotonic() < end, "nobody waits"
    connection.rollback()


def test_ours_is_done_again(url: str, engine: sa.Engine) -> None:
    """It is ours that is given up: on PostgreSQL it looks for the deadlock first, on MariaDB it has changed less."""
    name = sa.update(SUBSCRIBERS).values(first_name="host")
    begun: list[threading.Thread] = []
    errors: list[BaseException] = []
    with nk.Engine(url) as notify, engine.connect() as host, engine.connect() as looking:
        notify.subscribers.bulk_upsert([{"subscriberId": f"s{n:03}"} for n in range(100)])
        first = looking.scalar(sa.select(SUBSCRIBERS.c.id).where(SUBSCRIBERS.c.subscriber_id == FIRST))
        looking.rollback()
        sa.event.listen(notify._runtime.database.engine, "begin", lambda _: begun.append(threading.current_thread()))

        def work() -> None:
            try:
                wires = [{"subscriberId": each, "lastName": "ours"} for each in (FIRST, LAST)]
                assert notify.subscribers.bulk_upsert(wires).updated == 2
            except BaseException as error:
                errors.append(error)

        if engine.dialect.name == "postgresql":
            host.exec_driver_sql("SET deadlock_timeout = '20s'")
        host.execute(name.where(SUBSCRIBERS.c.id > first))
        thread = threading.Thread(target=work)
        thread.start()
        wait_until_somebody_waits(looking)
        host.execute(name.where(SUBSCRIBERS.c.id == first))
        host.commit()
        thread.join()
        assert errors == []
        assert begun.count(thread) == 2
        names = [(each.first_name, each.last_name) for each in map(notify.subscribers.get, (FIRST, LAST))]
        assert names == [("host", "ours")] * 2


@pytest.mark.parametrize("notifier", ["sync", "async"])
@pytest.mark.parametrize("url", ["mariadb"], indirect=True)
def test_ours_is_done_again_whole_after_waiting_too_long(url: str, engine: sa.Engine, notifier: Notifier) -> None:
    """MariaDB takes back the statement that waited, not what came before it in the transaction."""
    query = {"init_command": "SET SESSION innodb_lock_wait_timeout = 1"}
    impatient = sa.make_url(url).update_query_dict(query).render_as_string(hide_password=False)
    wires = [{"subscriberId": each, "lastName": "ours"} for each in (FIRST, LAST)]
    notify = Both(notifier, impatient)
    database = notify.engine._runtime.database
    try:
        notify.subscribers.bulk_upsert([{"subscriberId": each} for each in (FIRST, LAST)])
        with engine.connect() as host:
            host.execute(sa.update(SUBSCRIBERS).where(SUBSCRIBERS.c.subscriber_id == LAST).values(first_name="host"))
            said: list[str] = []

            def let_go(connection: sa.Connection) -> None:
                said.append("rollback")
                host.commit()

            ours = (database if notifier == "sync" else database.database).engine
            sa.event.listen(ours, "begin", lambda connection: said.append("begin"))
            sa.event.listen(ours, "commit", lambda connection: said.append("commit"))
            sa.event.listen(ours, "rollback", let_go)
            assert notify.subscribers.bulk_upsert(wires).updated == 2
            sa.event.remove(ours, "rollback", let_go)
        assert said == ["begin", "rollback", "begin", "commit"]
        names = [(each.first_name, each.last_name) for each in map(notify.subscribers.get, (FIRST, LAST))]
        assert names == [(None, "ours"), ("host", "ours")]
    finally:
        notify.finish()
