"""Scope: runs say of which workflow and tenant they are and how their subscriber came, jobs are known by their id.

Frozen, as every version is. MariaDB commits each step by itself, so each looks whether it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from notifykit.store.migrations.versions.v0001_first import index, moment, number, primary, small, text, unique, word

if TYPE_CHECKING:
    from alembic.operations import Operations

RUN = "notifykit_run"
JOB = "notifykit_job"
BEFORE = "_before_0002"
FILL_RUNS = f"""
UPDATE {RUN} SET topic = 0,
  workflow = COALESCE((SELECT e.workflow FROM notifykit_event e WHERE e.id = {RUN}.event), 0),
  tenant = COALESCE((SELECT e.tenant FROM notifykit_event e WHERE e.id = {RUN}.event), 0)
WHERE topic IS NULL
"""
COPY_RUNS = f"""
INSERT INTO {RUN} (id, environment, event, subscriber, payload, step, status, results, trace, reason, created_at,
  finished_at, workflow, tenant, topic)
SELECT r.id, r.environment, r.event, r.subscriber, r.payload, r.step, r.status, r.results, r.trace, r.reason,
  r.created_at, r.finished_at, COALESCE(e.workflow, 0), COALESCE(e.tenant, 0), 0
FROM {RUN}{BEFORE} r LEFT JOIN notifykit_event e ON e.id = r.event
"""
DROP_DOUBLES = f"""
DELETE FROM {JOB} WHERE EXISTS (
  SELECT 1 FROM {JOB} other WHERE other.id = {JOB}.id
  AND (other.kind > {JOB}.kind OR (other.kind = {JOB}.kind AND other.due_at < {JOB}.due_at)))
"""
"""Of a message that was queued again, the job that sends it is left: its run does not go on before."""
FILL_JOBS = f"""
UPDATE {JOB} SET environment = COALESCE((SELECT r.environment FROM {RUN} r WHERE r.id = {JOB}.subject), 1)
WHERE environment IS NULL
"""
COPY_JOBS = f"""
INSERT INTO {JOB} (due_at, id, kind, subject, message, step, needs, owner, attempt, rescues, lease_until, environment)
SELECT j.due_at, j.id, j.kind, j.run, j.message, j.step, j.needs, j.owner, j.attempt, j.rescues, j.lease_until,
  COALESCE(r.environment, 1)
FROM {JOB}{BEFORE} j LEFT JOIN {RUN} r ON r.id = j.run
"""


def upgrade(op: Operations) -> None:
    """Change runs and jobs."""
    if op.get_context().dialect.name == "sqlite":
        make_anew(op)
    else:
        alter(op)


def make_anew(op: Operations) -> None:
    """On SQLite, which cannot change a key: new tables, filled from the old ones."""
    op.rename_table(RUN, RUN + BEFORE)
    op.drop_index("ix_notifykit_run_subscriber")
    op.create_table(
        RUN,
        *map(number, ("id", "environment", "event", "subscriber")),
        text("payload"),
        small("step"),
        small("status"),
        text("results", nullable=False),
        text("trace", nullable=False),
        text("reason"),
        moment("created_at"),
        moment("finished_at", nullable=True),
        *map(number, ("workflow", "tenant", "topic")),
        primary(RUN, "id"),
        unique(RUN, "event", "subscriber"),
    )
    op.execute(COPY_RUNS)
    op.drop_table(RUN + BEFORE)
    index(op, RUN, "subscriber")
    op.execute(DROP_DOUBLES)
    op.rename_table(JOB, JOB + BEFORE)
    op.drop_index("ix_notifykit_job_run")
    op.create_table(
        JOB,
        moment("due_at"),
        number("id"),
        small("kind"),
        number("subject"),
        number("message"),
        small("step"),
        word("needs", 300),
        word("owner", 300),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rescues", sa.Integer(), nullable=False),
        moment("lease_until", nullable=True),
        number("environment"),
        primary(JOB, "id"),
    )
    op.execute(COPY_JOBS)
    op.drop_table(JOB + BEFORE)
    index(op, JOB, "due_at", "id")
    index(op, JOB, "subject")


def alter(op: Operations) -> None:
    """On a server: the same tables, changed."""
    add(op, RUN, "workflow", "tenant", "topic")
    op.execute(FILL_RUNS)
    require(op, RUN, "workflow", "tenant", "topic")
    if "run" in columns(op, JOB):
        op.alter_column(JOB, "run", new_column_name="subject", existing_type=sa.BigInteger(), existing_nullable=False)
    add(op, JOB, "environment")
    op.execute(FILL_JOBS)
    require(op, JOB, "environment")
    if sa.inspect(op.get_bind()).get_pk_constraint(JOB)["constrained_columns"] != ["id"]:
        op.execute(DROP_DOUBLES)
        named = "PRIMARY KEY" if op.get_context().dialect.name != "postgresql" else f"CONSTRAINT pk_{JOB}"
        op.execute(f"ALTER TABLE {JOB} DROP {named}, ADD CONSTRAINT pk_{JOB} PRIMARY KEY (id)")
    there = {each["name"] for each in sa.inspect(op.get_bind()).get_indexes(JOB)}
    if f"ix_{JOB}_due_at_id" not in there:
        index(op, JOB, "due_at", "id")
    if f"ix_{JOB}_subject" not in there:
        index(op, JOB, "subject")
    if f"ix_{JOB}_run" in there:
        op.drop_index(f"ix_{JOB}_run", JOB)


def columns(op: Operations, table: str) -> dict[str, bool]:
    """The columns of a table, and whether each may be NULL."""
    return {each["name"]: each["nullable"] for each in sa.inspect(op.get_bind()).get_columns(table)}


def add(op: Operations, table: str, *names: str) -> None:
    """Add ids that may be NULL until they are filled."""
    there = columns(op, table)
    for name in names:
        if name not in there:
            op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=True))


def require(op: Operations, table: str, *names: str) -> None:
    """Let filled ids be NULL no more."""
    there = columns(op, table)
    for name in names:
        if there[name]:
            op.alter_column(table, name, existing_type=sa.BigInteger(), nullable=False)
