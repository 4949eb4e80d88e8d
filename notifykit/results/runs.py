"""Runs, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from notifykit.model.codes import RunState
from notifykit.model.values import Json, Value


@dataclass(frozen=True, eq=False, repr=False)
class Run(Value):
    """One event for one subscriber; Novu calls it a notification. `version` is the content hash it is pinned to."""

    id: str
    transaction_id: str
    subscriber_id: str
    workflow: str
    version: str
    status: RunState
    reason: str | None
    created_at: datetime
    finished_at: datetime | None


ExecutionKind = Literal[
    "event_processed",
    "recipient_refused",
    "topic_unknown",
    "topic_empty",
    "message_created",
    "message_queued",
    "message_sent",
    "message_failed",
    "message_skipped",
    "message_retried",
    "attempt",
    "step_waiting",
    "step_resumed",
    "step_completed",
    "step_skipped",
    "step_failed",
    "run_completed",
    "run_failed",
    "run_cancelled",
]
"""What a line of a trace can say.

`message_*` speak of the message of a channel step, `step_*` of any other step, `attempt` of one call to the outside,
`run_*` of the end of a run, the first four of the event itself.
"""


@dataclass(frozen=True, eq=False, repr=False)
class Execution(Value):
    """One line of a trace; lines of the event itself have step None and subscriber id `''`."""

    transaction_id: str
    subscriber_id: str
    step: str | None
    kind: ExecutionKind
    reason: str | None
    at: datetime
    data: Json
