"""The base of the tables and the types of their columns.

A registry of our own keeps the host's `SQLModel.metadata` untouched. What one database alone knows, its types and the
options of its indexes, is asked of its dialect when a statement is compiled: naming a dialect here would load it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    event,
    text,
)
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

from notifykit.clock import from_micros, micros

MARIADB = ("mysql", "mariadb")
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

EXACT = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}
"""Text that MariaDB compares byte by byte: its default would merge 'Ada', 'ada' and 'Àda '."""

metadata = MetaData(naming_convention=NAMES)


class Base(SQLModel, registry=registry(metadata=metadata)):
    """The base of every table of notifykit; what validates its rows is built when a host first asks for it."""

    model_config = {"defer_build": True}


def only_where(condition: str) -> dict[str, Any]:
    """The `info` of an index on a part of a table, for the databases that have such."""
    return {"options": {name: {"where": text(condition)} for name in ("sqlite", "postgresql")}}


@event.listens_for(metadata, "before_create")
def set_options(target: MetaData, connection: Connection, **kw: Any) -> None:
    """Hand the options of tables and indexes to the dialect that makes them."""
    name = connection.dialect.name
    described: list[Any] = [item for table in target.tables.values() for item in (table, *table.indexes)]
    for item in described:
        for option, value in item.info.get("options", {}).get(name, {}).items():
            item.dialect_options[name][option] = value


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time: integer microseconds on SQLite, native elsewhere."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column's type on one database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Integer())
        if dialect.name in MARIADB:
            return dialect.type_descriptor(_mysql().DATETIME(fsp=6))
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


class LongText(TypeDecorator[str]):
    """Text without a practical limit on every database (MariaDB's TEXT ends at 64 KB)."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column's type on one database."""
        if dialect.name in MARIADB:
            return dialect.type_descriptor(_mysql().MEDIUMTEXT(**EXACT))
        return self.impl_instance


class CaseSensitiveString(TypeDecorator[str]):
    """Text that is compared byte by byte: a key."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column's type on one database."""
        length = cast("String", self.impl_instance).length
        if dialect.name in MARIADB:
            return dialect.type_descriptor(_mysql().VARCHAR(length, **EXACT))
        return String(length, collation="C") if dialect.name == "postgresql" else self.impl_instance


class JsonText(TypeDecorator[Any]):
    """JSON kept as text: the same bytes on every database."""

    impl = LongText
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """A plain value as JSON text; None stays NULL."""
        return None if value is None else to_json(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The plain value."""
        return None if value is None else from_json(value)


def _mysql() -> Any:
    from sqlalchemy.dialects import mysql

    return mysql


ID = BigInteger().with_variant(Integer(), "sqlite")
"""A 63-bit integer; on SQLite the spelling that makes a primary key the row's own id."""
KEY = CaseSensitiveString(255)
LONG_KEY = CaseSensitiveString(300)
TEXT = LongText()
WITHOUT_ROWID = {"options": {"sqlite": {"with_rowid": False}}}
"""The `info` of a small table whose rows stand in the order of their key."""
