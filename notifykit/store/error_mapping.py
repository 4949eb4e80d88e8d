"""What a driver's error means, in a sentence that names the database and what to do."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError, TimeoutError

from notifykit.errors import ConfigurationError, StorageError, UnitError
from notifykit.settings import BUSY_TIMEOUT

WAITED = f"{BUSY_TIMEOUT.total_seconds():.0f} seconds"
LOCKED = (
    f"{{where}} is locked: another transaction kept writing for as long as we wait ({WAITED}, on engines of our own). "
    "Make that transaction shorter, or try again; if the transaction that holds it is your own, in this thread, "
    "pass session=."
)
FULL = "{where} is full: nothing of this transaction was stored. Free some disk space, then try again."
READ_ONLY = "{where} is read-only: give this process the right to write to it and, for a SQLite file, to its folder."
UNREACHED = (
    "{where} cannot be connected to: check that the server runs, and host, port, database, user and password in the "
    "URL. It said: {said}"
)
LOST = (
    "{where} is out of reach: the connection was lost. If it broke during a commit, whether that commit was kept is "
    "unknown: trigger again with the same transaction_id, which never stores an event twice."
)
DENIED = "{where} refused the login: check user, password and rights in the URL. It said: {said}"
ABSENT = "{where} does not exist: create the database first. It said: {said}"
DEADLOCK = "{where} gave this transaction up, because it and another one waited for each other: run it again."
OUTDATED = (
    "{where} gave this transaction up, because another one has changed since it began what it would have changed: "
    "run it again."
)
UNPREPARED = (
    "{where} does not know a prepared statement of ours: behind PgBouncer in transaction mode write "
    "`?prepare_threshold=none` at the end of the URL, or on an engine of your own "
    'connect_args={{"prepare_threshold": None}}.'
)
REFUSED = "{where} refused a statement: {said}"
CROWDED = "{where} takes no more connections: close some, or raise its limit."

SQLITE: dict[str, str] = {
    "SQLITE_BUSY": LOCKED,
    "SQLITE_LOCKED": LOCKED,
    "SQLITE_READONLY": READ_ONLY,
    "SQLITE_NOTADB": "{where} is not an SQLite database: check the path in the URL; the file was left as it is.",
    "SQLITE_CORRUPT": (
        "{where} is corrupt: stop writing to it, keep a copy of the file and its -wal, then restore a backup or try "
        "SQLite's `.recover`."
    ),
    "SQLITE_FULL": FULL,
    "SQLITE_CANTOPEN": "{where} cannot be opened: check that its folder exists and that this process may write there.",
    "SQLITE_IOERR": "{where} cannot be read or written: check the disk; WAL needs a local one, not a network share.",
    "SQLITE_PERM": READ_ONLY,
}
"""By the start of `sqlite_errorname`."""

SQLSTATE: dict[str, str] = {
    "08": LOST,
    "25006": READ_ONLY,
    "26000": UNPREPARED,
    "28": DENIED,
    "3D000": ABSENT,
    "40001": OUTDATED,
    "40P01": DEADLOCK,
    "42P05": UNPREPARED,
    "53100": FULL,
    "53300": CROWDED,
    "55P03": LOCKED,
    "57P": LOST,
}
"""PostgreSQL, by the start of SQLSTATE."""

MARIADB: dict[int, str] = {
    1020: OUTDATED,
    1021: FULL,
    1040: CROWDED,
    1044: DENIED,
    1045: DENIED,
    1049: ABSENT,
    1053: LOST,
    1114: FULL,
    1205: LOCKED,
    1213: DEADLOCK,
    1290: READ_ONLY,
    1698: DENIED,
    1792: READ_ONLY,
    1927: LOST,
    2002: UNREACHED,
    2003: UNREACHED,
    2006: LOST,
    2013: LOST,
}
"""MariaDB, by error number."""


VALUE = re.compile(r"""(: |Duplicate entry )(['"]).*\2""", re.DOTALL)
"""A value as servers quote it."""
GIVEN_UP = frozenset({"40001", "40P01", 1020, 1205, 1213})
"""By SQLSTATE or error number: the transaction is rolled back for another one's sake, and may be run again."""


FORBIDDEN = frozenset({"42501", "3F000", 1142, 1143, 1227, 1370})
"""The user has no right to do this, or none to do it in any schema that it sees."""
UNSEEN = 1412
"""MariaDB: the table was made or changed after this transaction's snapshot."""


def map_error(error: BaseException, where: str) -> StorageError | None:
    """What a database's error is to a caller.

    Args:
        error: SQLAlchemy's error, or the driver's own.
        where: The file or database, as a sentence starts with it.

    Returns:
        The error to raise, or None for one that means something to the code that ran the statement: a key that exists.
        From now on the given one says nothing of the values in the statement, whoever prints it.
    """
    hide_values(error)
    if isinstance(error, TimeoutError):
        return StorageError(f"{where} had no connection free in time: close transactions, or use fewer threads.")
    driver = _driver(error)
    if driver is None or _is_integrity(driver):
        return None
    return StorageError(_sentence(error, driver).format(where=where, said=said(driver)))


def hide_values(error: BaseException) -> None:
    """Take the values of a statement out of an error's text, and of those that it came from.

    Args:
        error: SQLAlchemy's error, or the driver's own; a host's engine may show all parameters.
    """
    if isinstance(error, StatementError):
        error.hide_parameters = True
    cause: BaseException | None = error
    is_servers = any(getattr(each, "sqlstate", None) for each in (error, _driver(error)))
    while cause is not None:
        cause.args = tuple(
            [_without_values(each, is_servers) if isinstance(each, str) else each for each in cause.args]
        )
        cause = cause.orig if isinstance(cause, DBAPIError) else cause.__cause__


def _without_values(text: str, is_servers: bool) -> str:
    """PostgreSQL adds lines with the failing row or key; MariaDB quotes both in its first one."""
    lines = text.splitlines()
    return VALUE.sub(r"\1\2...\2", lines[0]) if is_servers and lines else VALUE.sub(r"\1\2...\2", text)


def refused(error: SQLAlchemyError) -> str | None:
    """What is wrong with a statement that the caller wrote, or None where the database is in trouble.

    Args:
        error: What running it raised.
    """
    if isinstance(error, TimeoutError):
        return None
    if not isinstance(error, DBAPIError):
        return str(error).partition("\n")[0]
    driver = _driver(error)
    if driver is None or error.connection_invalidated or _known(driver):
        return None
    return said(driver)


def is_crowded(error: StorageError) -> bool:
    """Whether others were in the way: a lock, a turn, or connections that are all in use."""
    driver = _driver(error.__cause__)
    return isinstance(driver, TimeoutError | builtins.TimeoutError) or (
        driver is not None and _known(driver) in {LOCKED, DEADLOCK, OUTDATED}
    )


def is_of_the_work(error: Exception) -> bool:
    """Whether an error lies in the work that met it, so that other work may well succeed.

    A database out of reach, locked or full is in everybody's way, as are a closed engine and a schema that is missing.
    A transaction that was given up for another one's sake met that one: less work at once may pass.
    """
    if isinstance(error, StorageError):
        cause = error.__cause__
        driver = _driver(cause)
        if cause is None or driver is None or isinstance(driver, TimeoutError):
            return False
        return is_given_up(error) or _sentence(cause, driver) is REFUSED
    return not isinstance(error, UnitError | ConfigurationError)


def is_given_up(error: StorageError) -> bool:
    """Whether the transaction was rolled back for another one's sake: the same work, done again, may well succeed."""
    driver = _driver(error.__cause__)
    return driver is not None and not GIVEN_UP.isdisjoint(_codes(driver))


def is_forbidden(error: BaseException) -> bool:
    """Whether the user lacks a right."""
    driver = _driver(error)
    return driver is not None and not FORBIDDEN.isdisjoint(_codes(driver))


def is_trouble(error: BaseException) -> bool:
    """Whether the database is in trouble, rather than a statement wrong."""
    driver = _driver(error)
    if driver is None or isinstance(error, TimeoutError):
        return driver is not None
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or _known(driver) is not None or _is_login(driver)


def is_unseen(error: BaseException) -> bool:
    """Whether a table is there that this transaction, begun before it was made, cannot read."""
    driver = _driver(error)
    return driver is not None and UNSEEN in _codes(driver)


def reason(error: BaseException) -> str:
    """The first line of what the driver said, or SQLAlchemy where no driver was asked."""
    return said(_driver(error) or error)


@contextmanager
def mapping_errors(where: str) -> Iterator[None]:
    """Turn the database's errors into `StorageError`, around code that runs statements without `Statement`.

    Args:
        where: The file or database: `unit.dialect.where`.

    Raises:
        StorageError: The database is locked, full, read-only, corrupt or gone.
    """
    try:
        yield
    except (DBAPIError, TimeoutError) as error:
        if (meaning := map_error(error, where)) is None:
            raise
        raise meaning from error


def _sentence(error: BaseException, driver: BaseException) -> str:
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return _known(driver) or (LOST if lost else UNREACHED if _is_login(driver) else REFUSED)


def said(driver: BaseException) -> str:
    """The first line of a driver's own words: the lines that follow may hold values of a row."""
    words = [str(word) for word in driver.args if isinstance(word, str)] or [str(driver)]
    return (words[-1].strip().splitlines() or [type(driver).__name__])[0]


def _is_integrity(driver: BaseException) -> bool:
    return any(kind.__name__ == "IntegrityError" for kind in type(driver).__mro__)


def _is_login(driver: BaseException) -> bool:
    """Whether psycopg could not connect: such errors have no SQLSTATE."""
    return said(driver).startswith(("connection failed", "connection timeout", "failed to resolve"))


def _driver(error: BaseException | None) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _known(driver: BaseException) -> str | None:
    for code in _codes(driver):
        if isinstance(code, int):
            return MARIADB.get(code)
        return _by_start(SQLITE if code.startswith("SQLITE") else SQLSTATE, code)
    return None


def _codes(driver: BaseException) -> Iterator[int | str]:
    """The error's number or name; adapters of the async drivers keep the driver's error as the cause."""
    cause: Any = driver
    while cause is not None:
        if cause.args and isinstance(cause.args[0], int):
            yield cause.args[0]
        elif name := getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None):
            yield name
        cause = cause.__cause__


def _by_start(sentences: dict[str, str], code: str) -> str | None:
    return next((sentence for start, sentence in sentences.items() if code.startswith(start)), None)
