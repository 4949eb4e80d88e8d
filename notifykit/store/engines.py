"""From a URL to an engine of our own."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import get_args

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from notifykit.errors import ConfigurationError, nearest
from notifykit.store.dialect import Dialect
from notifykit.store.joining import refuse_moved
from notifykit.store.mariadb import MariadbDialect
from notifykit.store.pools import KeptPool, OwnPool
from notifykit.store.postgres import PSYCOPG, PostgresDialect
from notifykit.store.sqlite import Durability, SqliteDialect, install

MEMORY = "sqlite://"
ALIASES = {"postgres": "postgresql", "mysql": "mariadb"}
DATABASES = ("sqlite", "postgresql", "mariadb")
SYNC = {"aiosqlite": "pysqlite", "asyncmy": "pymysql", "psycopg_async": "psycopg"}
"""The twin of a driver on the sync notifier."""
DEFAULTS = {"sqlite": "pysqlite", "postgresql": "psycopg", "mariadb": "pymysql"}
ASYNC = {"pymysql": "asyncmy", "psycopg": "psycopg_async"}
"""The twin of a driver on the async notifier."""
ENCODE = (
    " In user and password write the characters @ : / ? # % as urllib.parse.quote_plus gives them, or pass "
    "sqlalchemy.URL.create(...)."
)
THRESHOLD = "prepare_threshold"
EXTRAS = {"postgresql": "postgres", "mariadb": "mysql"}


def parsed(url: str | URL | None) -> URL:
    """A URL whose database is one of ours and whose driver is named.

    Args:
        url: As the host wrote it; None is a private database in memory.

    Raises:
        ConfigurationError: It is no URL, or of another database.
    """
    try:
        found = make_url(MEMORY if url is None else url)
    except (ArgumentError, ValueError):  # which may quote a part of the password
        raise ConfigurationError(
            f"{_shown(url)} is not a database URL: write sqlite:///app.db, postgresql://user@host/name or "
            f"mariadb://user@host/name.{ENCODE}"
        ) from None
    backend, _, driver = found.drivername.partition("+")
    backend = ALIASES.get(backend, backend)
    if backend not in DATABASES:
        raise ConfigurationError(f"{backend!r} is no database that notifykit knows.{nearest(backend, DATABASES)}")
    return found.set(drivername=f"{backend}+{driver or DEFAULTS[backend]}")


def refuse_torn(url: URL) -> None:
    """Refuse the URL of a server whose password was torn apart: the rest of it would be taken for the host, and shown.

    Args:
        url: As SQLAlchemy read it.

    Raises:
        ConfigurationError: Host or database hold what belongs to a password.
    """
    if url.get_backend_name() != "sqlite" and "@" in f"{url.host or ''}{'' if url.username else url.database or ''}":
        raise ConfigurationError(f"'{url.drivername}://...' has an @ out of its place.{ENCODE}")


def _shown(url: object) -> str:
    """A URL that cannot be read, as an error may show it: of what could hold a password the scheme only."""
    text = str(url)
    if not any(mark in text for mark in "@:=?"):
        return repr(text)
    scheme = re.match(r"[a-z0-9+_]+://", text, re.IGNORECASE)
    return f"'{scheme.group()}...'" if scheme else "The given text"


def in_worker(url: URL) -> bool:
    """Whether the async notifier runs this URL on the sync engine, in a worker thread."""
    return url.drivername == "sqlite+pysqlite"


def is_memory(url: URL) -> bool:
    """Whether this is an SQLite database without a file."""
    name = url.database or ""
    return name in {"", ":memory:"} or name.startswith("file::memory:") or url.query.get("mode") == "memory"


def place(url: URL) -> str:
    """The file or database as errors name it, never with user or password."""
    if url.get_backend_name() == "sqlite":
        return "The database in memory" if is_memory(url) else f"The database file {url.database!r}"
    at = f"{url.host or 'localhost'}:{url.port}" if url.port else url.host or "localhost"
    return f"The database {url.database!r} at {at}"


def create(url: URL, durability: Durability) -> Engine:
    """An engine of our own for the sync notifier.

    Args:
        url: From `parsed`.
        durability: How far a commit on SQLite goes: `full` survives a loss of power.

    Raises:
        ConfigurationError: The driver is not installed or not of this notifier.
    """
    backend, _, driver = url.drivername.partition("+")
    url = url.set(drivername=f"{backend}+{SYNC.get(driver, driver)}")
    options = _options(url)
    options.setdefault("poolclass", OwnPool)
    if backend == "sqlite" and options["poolclass"] is OwnPool:
        options["max_overflow"] = -1  # writers take turns anyway, and readers are as many as threads
    try:
        engine = create_engine(url, **options)
    except (ImportError, NoSuchModuleError, ArgumentError) as error:
        raise unusable(url, error) from error
    if engine.dialect.is_async:
        raise ConfigurationError(
            f"the driver {driver!r} is for the async notifier: write {backend}+{DEFAULTS[backend]}://"
        )
    return finished(engine, url, durability)


def _options(url: URL) -> dict[str, object]:
    options: dict[str, object] = {"hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        if is_memory(url):
            options["poolclass"] = KeptPool
            options["connect_args"] = {"check_same_thread": False}
        return options
    if url.get_driver_name() in PSYCOPG:
        # UTF8 whatever the server, its role or the environment say
        options["connect_args"] = {"client_encoding": "utf8", **_threshold(url)}
    return options | {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}


def _threshold(url: URL) -> dict[str, int | None]:
    """From the query of a URL, where psycopg takes texts only: after how many runs a statement is prepared.

    Raises:
        ConfigurationError: It is no number, nor `none`.
    """
    given = url.query.get(THRESHOLD)
    if given is None:
        return {}
    if given == "none":
        return {THRESHOLD: None}
    if not (isinstance(given, str) and given.isdecimal()):
        raise ConfigurationError(
            f"{THRESHOLD}={given!r} in the URL is not possible: write a number, or `none` for never, as PgBouncer in "
            "transaction mode needs it."
        )
    return {THRESHOLD: int(given)}


def create_awaited(url: URL, durability: Durability) -> Engine:
    """The sync face of an async engine of our own: to be used in greenlets only.

    Raises:
        ConfigurationError: The driver is not installed or not of this notifier.
    """
    from sqlalchemy.ext.asyncio import create_async_engine

    backend, _, driver = url.drivername.partition("+")
    url = url.set(drivername=f"{backend}+{ASYNC.get(driver, driver)}")
    options = _options(url)
    try:
        engine = create_async_engine(url, **options).sync_engine
    except (ImportError, NoSuchModuleError, ArgumentError) as error:
        raise unusable(url, error) from error
    except Exception as error:
        if "async" not in str(error):
            raise
        raise ConfigurationError(f"the driver {driver!r} is for the sync notifier: write {backend}://") from error
    return finished(engine, url, durability)


def finished(engine: Engine, url: URL, durability: Durability) -> Engine:
    """The engine with our listeners, where its database needs them.

    Raises:
        ConfigurationError: There is no such durability.
    """
    check_option("durability", durability, get_args(Durability))
    if engine.dialect.name == "sqlite":
        install(engine, durability, memory=is_memory(url))
    return engine


def check_option(name: str, value: object, valid: Collection[str]) -> None:
    """Refuse a word that is none of those that an option may be.

    Raises:
        ConfigurationError: It is none of them.
    """
    if value not in valid:
        raise ConfigurationError(f"{name}: {value!r} is not possible.{nearest(str(value), valid)}")


def unusable(url: URL, error: Exception) -> ConfigurationError:
    """Why an engine cannot be made, and what to install."""
    backend = url.get_backend_name()
    if isinstance(error, ImportError) and backend in EXTRAS:
        ours = url.get_driver_name() in {*DEFAULTS.values(), *SYNC, *ASYNC.values()}
        other = "" if ours else f"write {backend}:// and "
        return ConfigurationError(
            f"{url.drivername}:// needs a driver that is not installed ({error}): "
            f'{other}pip install "notifykit-engine[{EXTRAS[backend]}]"'
        )
    return ConfigurationError(f"{url.drivername}:// cannot be used: {error}")


def dialect_of(engine: Engine, *, own: bool) -> Dialect:
    """What is special about the database behind an engine.

    Raises:
        ConfigurationError: Its database is not one of ours.
    """
    refuse_moved(engine)
    refuse_torn(engine.url)
    core, where = engine.dialect, place(engine.url)
    if core.name == "sqlite":
        return SqliteDialect(core, where, own=own)
    if core.name == "postgresql":
        return PostgresDialect(core, where)
    if core.name in {"mysql", "mariadb"}:
        return MariadbDialect(core, where)
    raise ConfigurationError(f"{core.name!r} is no database that notifykit knows.{nearest(core.name, DATABASES)}")
