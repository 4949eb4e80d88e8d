"""The host's transaction: what may be passed as one, whether it is on this engine's database, and joining it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import InvalidRequestError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from notifykit.doors.runtime import Runtime
from notifykit.errors import UnitError
from notifykit.store.database import Database
from notifykit.store.engines import is_memory

Host: TypeAlias = Session | scoped_session[Session] | sa.Connection
AsyncHost: TypeAlias = AsyncSession | async_scoped_session[AsyncSession] | AsyncConnection
Bind: TypeAlias = sa.Engine
AsyncBind: TypeAlias = AsyncEngine

AWAITED = (AsyncSession, async_scoped_session, AsyncConnection)
BLOCKING = (Session, scoped_session, sa.Connection)
NO_TRANSACTION = {
    sa.Engine: "an engine is no transaction: share it by `bind=` of the constructor, and pass a Session here",
    AsyncEngine: "an engine is no transaction: share it by `bind=` of the constructor, and pass an AsyncSession here",
    sessionmaker: "a sessionmaker is no session: call it first",
    async_sessionmaker: "a sessionmaker is no session: call it first",
}
LOCAL = {None, "", "localhost", "127.0.0.1", "::1"}


def blocking(host: object) -> Session | sa.Connection:
    """The session or connection that was passed to the sync door.

    Raises:
        UnitError: It is of the awaited kind, or no transaction at all.
    """
    if isinstance(host, AWAITED):
        raise UnitError(
            f"an {type(host).__name__} was passed to the sync door: use AsyncEngine, or pass a Session or Connection"
        )
    target = host() if isinstance(host, scoped_session) else host
    if isinstance(target, Session | sa.Connection):
        return target
    raise UnitError(_refusal(host, "a Session, scoped_session or Connection"))


def awaited(host: object) -> AsyncSession | AsyncConnection:
    """The session or connection that was passed to the awaited door.

    Raises:
        UnitError: It is of the sync kind, or no transaction at all.
    """
    if isinstance(host, BLOCKING):
        raise UnitError(f"a {type(host).__name__} was passed to the awaited door: use Engine, or pass an AsyncSession")
    target = host() if isinstance(host, async_scoped_session) else host
    if isinstance(target, AsyncConnection) and target.sync_connection is None:
        raise UnitError("this AsyncConnection is not started: use it inside `async with`, or await it first")
    if isinstance(target, AsyncSession | AsyncConnection):
        return target
    raise UnitError(_refusal(host, "an AsyncSession, async_scoped_session or AsyncConnection"))


def sync_face(host: AsyncSession | AsyncConnection) -> Session | sa.Connection:
    """What an awaited session or connection is inside `run_sync`."""
    if isinstance(host, AsyncSession):
        return host.sync_session
    assert host.sync_connection is not None
    return host.sync_connection


def connection_of(host: Session | sa.Connection) -> sa.Connection:
    """The connection of a host's transaction.

    Raises:
        UnitError: It is closed, or commits every statement.
    """
    connection = host if isinstance(host, sa.Connection) else _opened(host)
    if connection.closed:
        raise UnitError("this connection is closed: pass the one of an open transaction")
    if (
        connection.dialect.name != "sqlite"
        and connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    ):
        raise UnitError("this connection commits every statement (AUTOCOMMIT): pass one with a transaction")
    return connection


def flush(host: Session | sa.Connection) -> None:
    """Let our statements see what the host's session has not written yet."""
    if isinstance(host, Session):
        host.flush()


def check_database(runtime: Runtime[Any], host: Session | sa.Connection) -> None:
    """Refuse a transaction on another database, where that can be told.

    Raises:
        UnitError: It is another database.
    """
    theirs = host.engine if isinstance(host, sa.Connection) else _bind(host).engine
    database = runtime.database
    ours = database.engine if isinstance(database, Database) else database.database.engine
    if theirs is ours:
        return
    if _place(theirs.url) is None or _place(theirs.url) != _place(ours.url):
        raise UnitError(
            f"this transaction is on {theirs.url.render_as_string()}, the engine on {ours.url.render_as_string()}: "
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


def _place(url: sa.URL) -> tuple[Any, ...] | None:
    """What two URLs of one database have in common; None for private memory, which only its own engine reaches."""
    name = "mysql" if url.get_backend_name() == "mariadb" else url.get_backend_name()
    if name == "sqlite":
        return None if is_memory(url) else (name, _path(url))
    host = None if url.host in LOCAL else url.host
    return (name, host, url.port, url.database)


def _path(url: sa.URL) -> str:
    return str(Path((url.database or "").removeprefix("file:").partition("?")[0]).resolve())


def _refusal(host: object, wanted: str) -> str:
    for kind, sentence in NO_TRANSACTION.items():
        if isinstance(host, kind):
            return sentence
    return f"{wanted} is expected, not {type(host).__name__}"
