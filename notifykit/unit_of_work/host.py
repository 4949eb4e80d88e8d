"""The host's transaction: what may be passed as one, whether it is on this engine's database, and joining it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import InvalidRequestError, ResourceClosedError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from notifykit.errors import UnitError
from notifykit.unit_of_work.runtime import Runtime

Host: TypeAlias = Session | scoped_session[Session] | sa.Connection
Bind: TypeAlias = sa.Engine

LOCAL = {None, "", "localhost", "127.0.0.1", "::1"}


def blocking(host: object) -> Session | sa.Connection:
    """The session or connection that was passed to the sync notifier.

    Raises:
        UnitError: It is of the awaited kind, or no transaction at all.
    """
    target = host() if isinstance(host, scoped_session) else host
    if isinstance(target, Session | sa.Connection):
        return target
    raise UnitError(refusal(host, "a Session, scoped_session or Connection"))


def connection_of(runtime: Runtime[Any], host: Session | sa.Connection) -> sa.Connection:
    """The connection of a host's transaction.

    Raises:
        UnitError: It is closed or lost, commits every statement, or has its tables elsewhere.
        ConfigurationError: It cannot carry what we store.
    """
    connection = host if isinstance(host, sa.Connection) else _opened(host)
    if connection.closed:
        raise UnitError("this connection is closed: pass the one of an open transaction")
    if connection.invalidated:
        raise UnitError("this connection was lost: roll its transaction back, and begin another")
    runtime.database.dialect.check_joined(connection)
    return connection


def flush(host: Session | sa.Connection) -> None:
    """Let our statements see what the host's session has not written yet, where the host wants that."""
    if isinstance(host, Session) and host.autoflush:
        host.flush()


def check_database(runtime: Runtime[Any], host: Session | sa.Connection) -> None:
    """Refuse a transaction on another database, where that can be told.

    Raises:
        UnitError: It is another database.
    """
    theirs = host.engine if isinstance(host, sa.Connection) else _bind(host).engine
    ours: sa.Engine = runtime.database.engine
    if theirs is ours:
        return
    if _place(theirs.url) is None or _place(theirs.url) != _place(ours.url):
        raise UnitError(
            f"this transaction is on {_named(theirs)}, the engine on {_named(ours)}: "
            "to share the host's database pass its engine as `bind=`; in a sandbox leave `session=` out"
        )
    if theirs.dialect.paramstyle != ours.dialect.paramstyle:
        raise UnitError(
            f"this transaction runs on the driver {theirs.dialect.driver}, the engine on {ours.dialect.driver}: "
            "pass the host's engine as `bind=`"
        )


def _opened(session: Session) -> sa.Connection:
    try:
        return session.connection()
    except (InvalidRequestError, ResourceClosedError) as error:
        raise UnitError(f"this session has no usable transaction: {error}") from error


def _bind(session: Session) -> sa.Engine | sa.Connection:
    try:
        return session.get_bind()
    except InvalidRequestError as error:
        raise UnitError(
            f"this session has no one database ({error}): pass `session.connection(...)` of the right one"
        ) from error


def _named(engine: sa.Engine) -> str:
    from notifykit.store.engines import place

    name = place(engine.url)
    return name[:1].lower() + name[1:]


def _place(url: sa.URL) -> tuple[Any, ...] | None:
    """What two URLs of one database have in common; None for private memory, which only its own engine reaches."""
    from notifykit.store.engines import is_memory

    name = "mysql" if url.get_backend_name() == "mariadb" else url.get_backend_name()
    if name == "sqlite":
        return None if is_memory(url) else (name, _path(url))
    host = None if url.host in LOCAL else url.host
    return (name, host, url.port, url.database)


def _path(url: sa.URL) -> str:
    return str(Path((url.database or "").removeprefix("file:").partition("?")[0]).resolve())


def refusal(host: object, wanted: str) -> str:
    """Why a notifier cannot join what it was given.

    Args:
        host: What was given.
        wanted: What this notifier can join.
    """
    from sqlalchemy.ext import asyncio as awaited  # who never awaits does without it

    sentences: dict[type | tuple[type, ...], str] = {
        sa.Engine: "an engine is no transaction: share it by `bind=` of the constructor, and pass a Session here",
        awaited.AsyncEngine: "an engine is no transaction: share it by `bind=` of the constructor, and pass an "
        "AsyncSession here",
        (sessionmaker, awaited.async_sessionmaker): "a sessionmaker is no session: call it first",
        (awaited.AsyncSession, awaited.async_scoped_session, awaited.AsyncConnection): f"an {type(host).__name__} was "
        "passed to the sync notifier: use AsyncEngine, or pass a Session or Connection",
        (Session, scoped_session, sa.Connection): f"a {type(host).__name__} was passed to the awaited notifier: use "
        "Engine, or pass an AsyncSession",
    }
    found = (sentence for kind, sentence in sentences.items() if isinstance(host, kind))
    return next(found, f"{wanted} is expected, not {type(host).__name__}")
