"""Runs: one event on its way to one subscriber."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select

from notifykit.errors import NotFoundError
from notifykit.ids import decode_id, encode_id, transaction_id
from notifykit.model.codes import RunStatus
from notifykit.model.subscriber import public_id
from notifykit.model.tables import event, run, subscriber
from notifykit.model.values import Who
from notifykit.queries import versions
from notifykit.queries.references import (
    event_row,
    status_codes,
    subscriber_key,
    subscriber_row,
    workflow_key,
    workflow_row,
)
from notifykit.resources.pages import Listing, in_order
from notifykit.results import Page, Run
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Namespace, Unit, query
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import StoredVersion

LISTING = Listing(
    run,
    (run.c.created_at, run.c.id),
    {
        "environment": run.c.environment == bindparam("environment"),
        "event": run.c.event == bindparam("event"),
        "subscriber": run.c.subscriber == bindparam("subscriber"),
        "workflow": run.c.workflow == bindparam("workflow"),
        "status": any_of(run.c.status, "status"),
    },
)
LOAD = Statement(
    select(
        run.c.id,
        event.c.id,
        event.c.transaction_id,
        subscriber.c.subscriber_id,
        event.c.version,
        run.c.status,
        run.c.reason,
        run.c.created_at,
        run.c.finished_at,
    )
    .select_from(run)
    .join(event, event.c.id == run.c.event)
    .outerjoin(subscriber, subscriber.c.id == run.c.subscriber)
    .where(any_of(run.c.id, "ids"), run.c.environment == bindparam("environment"))
)


class Runs(Namespace):
    """One event for one subscriber each; Novu calls them notifications."""

    @query
    def list(
        self,
        *,
        transaction_id: str | None = None,
        subscriber: Who | None = None,
        workflow: str | Workflow[Any, ...] | None = None,
        status: str | Sequence[str] | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Run]:
        """One page, newest first.

        Args:
            transaction_id: Of this trigger; given or generated.
            subscriber: To this subscriber.
            workflow: Of this workflow.
            status: One status or several of `waiting`, `completed`, `failed`, `cancelled`.
            limit: Runs of the page, 1 to 1000.
            after: `next` or `previous` of an earlier page.

        Raises:
            InputError: A filter names what does not exist, or the limit or cursor is bad.
        """
        unit = self.unit
        return LISTING.page(
            unit,
            lambda ids: _load(unit, ids),
            limit=limit,
            after=after,
            environment=unit.environment,
            event=None if transaction_id is None else event_row(unit, transaction_id),
            subscriber=None if subscriber is None else subscriber_row(unit, subscriber_key(subscriber)),
            workflow=None if workflow is None else workflow_row(unit, workflow_key(workflow)),
            status=None if status is None else status_codes(status, RunStatus),
        )

    @query
    def get(self, run_id: str) -> Run:
        """One run.

        Raises:
            NotFoundError: There is none with this id.
        """
        found = _load(self.unit, [decode_id("run", run_id)])
        if not found:
            raise NotFoundError(f"there is no run {run_id!r}")
        return found[0]


def _load(unit: Unit, ids: Sequence[int]) -> list[Run]:
    """Runs by the ids of their rows, in that order."""
    rows = LOAD.rows(unit, ids=ids, environment=unit.environment)
    known = versions.by_id(unit, {row[4] for row in rows})
    return in_order(ids, {row[0]: _run(row, known[row[4]]) for row in rows})


def _run(row: tuple[Any, ...], version: StoredVersion) -> Run:
    number, event_id, given, subscriber_id, _, status, reason, created_at, finished_at = row
    return Run(
        id=encode_id("run", number),
        transaction_id=transaction_id(given, event_id),
        subscriber_id=public_id(subscriber_id),
        workflow=version.workflow.key,
        version=version.hash,
        status=RunStatus(status).word,
        reason=reason,
        created_at=created_at,
        finished_at=finished_at,
    )
