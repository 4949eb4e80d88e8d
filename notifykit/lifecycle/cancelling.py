"""Cancel: stop what has not been sent."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select

from notifykit.errors import InputError, NotFoundError
from notifykit.ids import decode_id
from notifykit.lifecycle.runs import end_runs
from notifykit.model.tables import run
from notifykit.model.values import Who
from notifykit.queries.references import ABSENT, event_row, subscriber_key, subscriber_row, workflow_key, workflow_row
from notifykit.results import CancelReport, TriggerResult
from notifykit.store.statement import Statement
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow

REASON = "cancelled"
FIND_RUN = Statement(
    select(run.c.id).where(run.c.environment == bindparam("environment"), run.c.id == bindparam("number"))
)


def cancel(
    unit: Unit, which: str | TriggerResult | None, workflow: str | Workflow[Any, ...] | None, subscriber: Who | None
) -> CancelReport:
    """Stop waiting runs and queued messages: of a transaction or run, of a workflow, of a subscriber, or of all given.

    Raises:
        InputError: Nothing is given.
        NotFoundError: What is given does not exist.
    """
    scopes: dict[str, int] = {}
    if which is not None:
        text = which.transaction_id if isinstance(which, TriggerResult) else str(which)
        scopes |= (
            {"run": _run(unit, text)}
            if text.startswith("run_")
            else {"event": _known(event_row(unit, text), "trigger", text)}
        )
    if workflow is not None:
        key = workflow_key(workflow)
        scopes["workflow"] = _known(workflow_row(unit, key), "workflow", key)
    if subscriber is not None:
        who = subscriber_key(subscriber)
        scopes["subscriber"] = _known(subscriber_row(unit, who), "subscriber", who)
    if not scopes:
        raise InputError("cancel: say what: a result or transaction id, `workflow=` or `subscriber=`", field="run")
    return end_runs(unit, reason=REASON, **scopes)


def _run(unit: Unit, text: str) -> int:
    number = decode_id("run", text)
    if FIND_RUN.row(unit, environment=unit.environment, number=number) is None:
        raise NotFoundError(f"there is no run {text!r} to cancel")
    return number


def _known(number: int, noun: str, name: str) -> int:
    if number == ABSENT:
        raise NotFoundError(f"there is no {noun} {name!r} to cancel")
    return number
