"""Runs the migrations on the connection that the caller gave."""

from __future__ import annotations

from alembic import context

from notifykit.model import metadata
from notifykit.store.schema import versions

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=versions.name,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
