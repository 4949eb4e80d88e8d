"""A version of the tables after the newest: each kind of step that a version may need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations

VERSION = "0003"
TABLE = "notifykit_note"


def upgrade(op: Operations) -> None:
    """A table, a column with values, an index made, one dropped, and what SQLite does by making a table again."""
    there = sa.inspect(op.get_bind())
    if not there.has_table(TABLE):
        op.create_table(TABLE, sa.Column("id", sa.Integer(), primary_key=True), sa.Column("text", sa.Text()))
    if "color" not in columns(there, "notifykit_topic"):
        op.add_column("notifykit_topic", sa.Column("color", sa.String(20)))
    op.execute("UPDATE notifykit_topic SET color = 'red' WHERE color IS NULL")
    if not there.has_index("notifykit_topic", "ix_notifykit_topic_color"):
        op.create_index("ix_notifykit_topic_color", "notifykit_topic", ["color"])
    if there.has_index("notifykit_job", "ix_notifykit_job_subject"):
        op.drop_index("ix_notifykit_job_subject", "notifykit_job")
    if "data" in columns(there, "notifykit_tenant"):
        with op.batch_alter_table("notifykit_tenant") as batch:
            batch.drop_column("data")


def columns(there: sa.Inspector, table: str) -> set[str]:
    """The names of a table's columns."""
    return {column["name"] for column in there.get_columns(table)}
