"""The base of the tables and the types of their columns.

A registry of our own keeps the host's `SQLModel.metadata` untouched.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, DateTime, Dialect, Integer, MetaData, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

from notifykit.clock import from_micros, micros

MARIADB = ("mysql", "mariadb")
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMES)


class Base(SQLModel, registry=registry(metadata=metadata)):
    """The base of every table of notifykit."""


class Moment(TypeDecorator[datetime]):
    """An aware UTC time: integer microseconds on SQLite, native elsewhere."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column's type on one database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Integer())
        if dialect.name in MARIADB:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """An aware time as the database wants it."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time must be aware")
        if dialect.name == "sqlite":
            return micros(value)
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name in MARIADB else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """What the database gave, aware and in UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return from_micros(value)
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def long_text() -> Text:
    """Text without a practical limit on every database (MariaDB's TEXT ends at 64 KB)."""
    return Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_nopad_bin"), *MARIADB)


class JsonText(TypeDecorator[Any]):
    """JSON kept as text: the same bytes on every database."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column's type on one database."""
        if dialect.name in MARIADB:
            return dialect.type_descriptor(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_nopad_bin"))
        return self.impl_instance

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """A plain value as JSON text; None stays NULL."""
        return None if value is None else to_json(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The plain value."""
        return None if value is None else from_json(value)


def key_text(length: int = 255) -> String:
    """Text that is compared byte by byte: a key. MariaDB's default would merge 'Ada', 'ada' and 'Àda '."""
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_nopad_bin")
    return String(length).with_variant(String(length, collation="C"), "postgresql").with_variant(exact, *MARIADB)


ID = BigInteger().with_variant(Integer(), "sqlite")
"""A 63-bit integer; on SQLite the spelling that makes a primary key the row's own id."""
KEY = key_text()
LONG_KEY = key_text(300)
TEXT = long_text()
