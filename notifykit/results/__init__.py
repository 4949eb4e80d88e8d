"""What verbs answer: frozen values, never live rows."""

from __future__ import annotations

from notifykit.results.messages import Attempt, InboxMessage, Message, MessageDetails
from notifykit.results.pages import Page
from notifykit.results.recipients import BulkUpsert, Subscriber, SubscriberChannel, TopicDetails
from notifykit.results.reports import CancelReport, DrainReport
from notifykit.results.runs import Execution, ExecutionKind, Run
from notifykit.results.triggers import PROCESSED, STATUSES, BulkResult, Problem, Status, TriggerResult

__all__ = [
    "PROCESSED",
    "STATUSES",
    "Attempt",
    "BulkResult",
    "BulkUpsert",
    "CancelReport",
    "DrainReport",
    "Execution",
    "ExecutionKind",
    "InboxMessage",
    "Message",
    "MessageDetails",
    "Page",
    "Problem",
    "Run",
    "Status",
    "Subscriber",
    "SubscriberChannel",
    "TopicDetails",
    "TriggerResult",
]
