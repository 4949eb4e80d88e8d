"""The SQL of the page on deploying, on servers: rights that suffice, and what is to be dropped."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

import notifykit as nk
from tests.harness import databases

PAGE = (Path(__file__).parents[2] / "docs" / "deploying.md").read_text(encoding="utf-8")
SERVERS = ("postgresql", "mariadb")
MAKE = {"postgresql": "CREATE ROLE {0} LOGIN PASSWORD '{1}'", "mariadb": "CREATE USER {0}@'%%' IDENTIFIED BY '{1}'"}
DROP = {"postgresql": "DROP OWNED BY {0}; DROP ROLE {0}", "mariadb": "DROP USER {0}@'%%'"}
bell = nk.Workflow("bell", steps=[nk.InApp("bell", body="Hello")])
mail = nk.Workflow("mail", steps=[nk.Email("mail", subject="Hello", body="Hello")])


def statements(words: str) -> list[str]:
    """The statements of the one block of SQL with these words in it."""
    [block] = [each for each in re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if words in each]
    return [statement.strip() for statement in block.split(";") if statement.strip()]


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database on a server."""
    if reason := databases.missing(request.param):
        pytest.skip(reason)
    with databases.on_server(request.param) as found:
        yield found


@contextmanager
def administrator(url: str) -> Iterator[sa.Engine]:
    """An engine of SQLAlchemy's own, for statements by hand."""
    place = sa.make_url(url)
    driver = databases.SERVERS[place.get_backend_name()].driver
    engine = sa.create_engine(place.set(drivername=driver), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@contextmanager
def users(url: str, names: list[str]) -> Iterator[dict[str, str]]:
    """New users by the page's names: the name of each on the server."""
    kind, password = sa.make_url(url).get_backend_name(), secrets.token_hex(8)
    theirs = {name: f"nk_{name}_{secrets.token_hex(4)}" for name in names}
    with administrator(url) as engine:
        for name in theirs.values():
            databases.run(engine, MAKE[kind].format(name, password))
        try:
            yield {name: as_user(url, user, password) for name, user in theirs.items()}
        finally:
            for name in theirs.values():
                for statement in DROP[kind].format(name).split(";"):
                    databases.run(engine, statement)


def as_user(url: str, name: str, password: str) -> str:
    """The same database for somebody else."""
    return sa.make_url(url).set(username=name, password=password).render_as_string(hide_password=False)


def test_one_user_makes_the_tables_and_another_one_works(url: str) -> None:
    place = sa.make_url(url)
    schema = {"postgresql": "ON SCHEMA public", "mariadb": "ON shop."}[place.get_backend_name()]
    with users(url, ["deployer", "web"]) as urls, administrator(url) as engine:
        words = {name: str(sa.make_url(theirs).username) for name, theirs in urls.items()}
        words["shop"] = str(place.database)
        for statement in statements(schema):
            databases.run(engine, re.sub(r"\b(deployer|web|shop)\b", lambda found: words[found[0]], statement))
        with nk.Engine(urls["deployer"]) as deployer:
            deployer.migrate()
        with nk.Engine(urls["web"], workflows=[bell, mail], migrate="never") as web:
            everything(web)


def everything(notify: nk.Engine) -> None:
    """What users do every day."""
    notify.subscribers.upsert("ada", email="ada@example.com")
    assert notify.trigger(bell, to="ada").status == "processed"
    many = notify.trigger_bulk(nk.Trigger(mail, to=f"user-{number}") for number in range(60))
    assert many.counts == {"processed": 60}
    queued = notify.trigger(mail, to="ada")
    notify.preferences.update("ada", channels={"sms": False})
    notify.drain()
    assert notify.cancel(queued).stopped == 1
    assert notify.inbox("ada").mark_all("read") == 1
    notify.subscribers.delete("ada")


def test_nothing_is_left_of_what_was_made(url: str) -> None:
    with administrator(url) as engine:
        before = found(engine)
        with nk.Engine(url, workflows=[bell]) as notify:
            notify.trigger(bell, to="ada")
        assert len(found(engine)) > len(before)
        for statement in statements("DROP TABLE"):
            databases.run(engine, statement)
        assert found(engine) == before
        with nk.Engine(url, workflows=[bell]) as notify:
            assert notify.trigger(bell, to="ada").status == "processed"


def found(engine: sa.Engine) -> set[str]:
    """The tables, sequences and views of a database."""
    looking = sa.inspect(engine)
    return {*looking.get_table_names(), *looking.get_sequence_names(), *looking.get_view_names()}
