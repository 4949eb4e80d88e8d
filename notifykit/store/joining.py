"""What a host's connection must be, for our rows to live and die with its own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine

from notifykit.errors import ConfigurationError, UnitError

AUTOCOMMIT = (
    "this transaction commits every statement (AUTOCOMMIT): what is triggered in it would outlive your rollback. "
    "Pass a session or connection that does not: {remedy}. Or leave `session=` out."
)
DRIVER_MODE = (
    "{where}: the driver of your engine commits every statement, and nothing of ours could be undone on it: leave "
    "`autocommit` out of connect_args and of your listeners, and where you need it write "
    '`create_engine(..., isolation_level="AUTOCOMMIT")`.'
)
MOVED = (
    "{what} has a schema_translate_map that moves tables without a schema to {schema!r}, and notifykit's tables would "
    "not follow: pass one whose map leaves None out, and where they shall be in a schema of their own make that the "
    "default one of the engine's connections (PostgreSQL: `?options=-csearch_path%3D{schema}` at the end of the URL)."
)


def commits_everything(connection: Connection) -> bool:
    """Whether each statement of a connection is committed at once: asked for by an engine, an option or the driver."""
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return True
    raw = connection.connection.dbapi_connection
    try:
        return raw is not None and bool(connection.dialect.detect_autocommit_setting(raw))
    except NotImplementedError:
        return False


def is_put_back(connection: Connection) -> bool:
    """Whether SQLAlchemy knows of the AUTOCOMMIT of a connection, and so restores it after a transaction of ours."""
    options: Any = connection.get_execution_options()
    level = getattr(connection.dialect, "_on_connect_isolation_level", None)
    return "AUTOCOMMIT" in {options.get("isolation_level"), level}


def refuse_driver_mode(connection: Connection, where: str) -> None:
    """Refuse a host's engine whose connections would not be given back as they were.

    Raises:
        ConfigurationError: Its driver was told to commit every statement.
    """
    if not is_put_back(connection):
        raise ConfigurationError(DRIVER_MODE.format(where=where))


def refuse_moved(host: Connection | Engine) -> None:
    """Refuse a connection or engine on which our tables would be looked for elsewhere.

    Raises:
        UnitError: It is such a connection.
        ConfigurationError: It is such an engine.
    """
    schema = (host.get_execution_options().get("schema_translate_map") or {}).get(None)
    if schema is None:
        return
    if isinstance(host, Connection):
        raise UnitError(MOVED.format(what="this transaction", schema=schema))
    raise ConfigurationError(MOVED.format(what="the engine in `bind=`", schema=schema))
