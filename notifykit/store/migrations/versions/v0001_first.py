"""The first tables. Frozen: it says what was, whatever `notifykit.model` says today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

if TYPE_CHECKING:
    from alembic.operations import Operations

MARIADB = ("mysql", "mariadb")
EXACT = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = (
    sa.Integer().with_variant(sa.DateTime(timezone=True), "postgresql").with_variant(mysql.DATETIME(fsp=6), *MARIADB)
)
LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(**EXACT), *MARIADB)


def key(length: int = 255) -> Any:
    """Text that is compared byte by byte."""
    exact = mysql.VARCHAR(length, **EXACT)
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql").with_variant(exact, *MARIADB)


def number(name: str) -> sa.Column[Any]:
    """An id that must be there."""
    return sa.Column(name, ID, nullable=False, autoincrement=False)


def small(name: str) -> sa.Column[Any]:
    """A code."""
    return sa.Column(name, sa.SmallInteger(), nullable=False, autoincrement=False)


def text(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    """Text, or JSON as text."""
    return sa.Column(name, LONG, nullable=nullable)


def moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """A time."""
    return sa.Column(name, MOMENT, nullable=nullable)


def word(name: str, length: int = 255, *, nullable: bool = False) -> sa.Column[Any]:
    """A key."""
    return sa.Column(name, key(length), nullable=nullable)


def primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    """A primary key, named."""
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def unique(table: str, *columns: str) -> sa.UniqueConstraint:
    """A unique key, named."""
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def index(op: Operations, table: str, *columns: str) -> None:
    """An index on a whole table, named."""
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def upgrade(op: Operations) -> None:
    """Make the tables."""
    who_and_where(op)
    subscribers(op)
    workflows(op)
    events(op)
    messages(op)
    waiting_work(op)


def who_and_where(op: Operations) -> None:
    """Ids, organizations, environments, tenants."""
    if op.get_context().dialect.supports_sequences:
        op.execute(sa.schema.CreateSequence(sa.Sequence("notifykit_id", start=1, increment=1000)))
    name = "notifykit_sequence"
    op.create_table(name, word("name"), number("next"), primary(name, "name"))
    name = "notifykit_organization"
    op.create_table(name, number("id"), word("key"), primary(name, "id"), unique(name, "key"))
    name = "notifykit_environment"
    op.create_table(
        name,
        number("id"),
        number("organization"),
        word("key"),
        primary(name, "id"),
        unique(name, "organization", "key"),
    )
    name = "notifykit_tenant"
    op.create_table(
        name,
        number("id"),
        number("environment"),
        word("identifier"),
        text("name"),
        text("data"),
        moment("created_at"),
        moment("updated_at"),
        primary(name, "id"),
        unique(name, "environment", "identifier"),
    )


def subscribers(op: Operations) -> None:
    """Subscribers, their channels and preferences, topics."""
    name = "notifykit_subscriber"
    op.create_table(
        name,
        number("id"),
        number("environment"),
        word("subscriber_id"),
        *map(text, ("email", "phone", "first_name", "last_name", "avatar", "locale", "timezone", "data")),
        moment("created_at"),
        moment("updated_at"),
        primary(name, "id"),
        unique(name, "environment", "subscriber_id"),
    )
    name = "notifykit_subscriber_channel"
    op.create_table(
        name,
        number("id"),
        number("subscriber"),
        *map(word, ("provider", "integration", "token_hash")),
        text("credentials", nullable=False),
        primary(name, "id"),
        sa.UniqueConstraint("subscriber", "provider", "integration", "token_hash", name=f"uq_{name}_token"),
    )
    name = "notifykit_preference"
    op.create_table(
        name,
        number("environment"),
        number("subject"),
        word("target", 300),
        small("channel"),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        moment("updated_at"),
        primary(name, "environment", "subject", "target", "channel"),
        sqlite_with_rowid=False,
    )
    name = "notifykit_topic"
    op.create_table(
        name,
        number("id"),
        number("environment"),
        word("key"),
        text("name"),
        moment("created_at"),
        primary(name, "id"),
        unique(name, "environment", "key"),
    )
    name = "notifykit_topic_member"
    op.create_table(
        name, number("topic"), number("subscriber"), primary(name, "topic", "subscriber"), sqlite_with_rowid=False
    )
    index(op, name, "subscriber")


def workflows(op: Operations) -> None:
    """Workflows and their versions."""
    name = "notifykit_workflow"
    op.create_table(
        name,
        number("id"),
        number("environment"),
        word("key"),
        text("name", nullable=False),
        word("group"),
        text("tags", nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        number("current_version"),
        primary(name, "id"),
        unique(name, "environment", "key"),
    )
    name = "notifykit_workflow_version"
    op.create_table(
        name,
        number("id"),
        number("workflow"),
        word("hash"),
        text("definition", nullable=False),
        text("payload_schema"),
        moment("created_at"),
        primary(name, "id"),
        unique(name, "workflow", "hash"),
    )


def events(op: Operations) -> None:
    """Events and runs."""
    name, given = "notifykit_event", sa.text("transaction_id IS NOT NULL")
    op.create_table(
        name,
        number("id"),
        number("environment"),
        word("transaction_id", nullable=True),
        *map(number, ("workflow", "version", "tenant", "actor")),
        text("payload", nullable=False),
        text("overrides"),
        small("status"),
        number("recipients"),
        text("errors"),
        text("trace"),
        moment("created_at"),
        primary(name, "id"),
    )
    op.create_index(
        "ux_notifykit_event_transaction_id",
        name,
        ["environment", "transaction_id"],
        unique=True,
        sqlite_where=given,
        postgresql_where=given,
    )
    name = "notifykit_run"
    op.create_table(
        name,
        *map(number, ("id", "environment", "event", "subscriber")),
        text("payload"),
        small("step"),
        small("status"),
        text("results", nullable=False),
        text("trace", nullable=False),
        text("reason"),
        moment("created_at"),
        moment("finished_at", nullable=True),
        primary(name, "id"),
        unique(name, "event", "subscriber"),
    )
    index(op, name, "subscriber")


def messages(op: Operations) -> None:
    """Messages, their shared text, and the attempts to send them."""
    name = "notifykit_content"
    op.create_table(name, number("id"), *map(text, ("subject", "body", "cta", "data")), primary(name, "id"))
    name = "notifykit_message"
    op.create_table(
        name,
        *map(number, ("id", "environment", "tenant", "subscriber", "workflow")),
        small("channel"),
        number("content"),
        *map(text, ("subject", "body", "cta", "data")),
        small("status"),
        text("reason"),
        moment("feed_at"),
        *(moment(at, nullable=True) for at in ("seen_at", "read_at", "archived_at", "expires_at")),
        moment("created_at"),
        primary(name, "id"),
    )
    feed_indexes(op, name)
    name = "notifykit_delivery_attempt"
    op.create_table(
        name,
        number("message"),
        word("target", 300),
        sa.Column("attempt", sa.Integer(), nullable=False, autoincrement=False),
        word("integration", 300),
        word("idempotency_key", 300),
        small("outcome"),
        sa.Column("status_code", sa.Integer(), nullable=True),
        text("provider_message_id"),
        text("response"),
        moment("started_at"),
        moment("finished_at", nullable=True),
        primary(name, "message", "target", "attempt"),
    )


def feed_indexes(op: Operations, table: str) -> None:
    """The inbox's indexes: partial ones where the database has them."""
    if op.get_context().dialect.name in MARIADB:
        op.create_index("ix_notifykit_message_feed_whole", table, ["subscriber", "channel", "feed_at"])
        op.create_index("ix_notifykit_message_unread_whole", table, ["subscriber", "channel", "archived_at", "read_at"])
        return
    feed = sa.text("channel = 1")
    unread = sa.text("channel = 1 AND read_at IS NULL AND archived_at IS NULL")
    op.create_index(
        "ix_notifykit_message_feed", table, ["subscriber", "feed_at"], sqlite_where=feed, postgresql_where=feed
    )
    op.create_index("ix_notifykit_message_unread", table, ["subscriber"], sqlite_where=unread, postgresql_where=unread)


def waiting_work(op: Operations) -> None:
    """Jobs."""
    name = "notifykit_job"
    op.create_table(
        name,
        moment("due_at"),
        number("id"),
        small("kind"),
        number("run"),
        number("message"),
        small("step"),
        word("needs", 300),
        word("owner", 300),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rescues", sa.Integer(), nullable=False),
        moment("lease_until", nullable=True),
        primary(name, "due_at", "id"),
        sqlite_with_rowid=False,
    )
    index(op, name, "run")
