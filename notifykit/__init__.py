"""Notification infrastructure as a library: one engine inside the host's own process and transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifykit.api.notifier import Notifier
from notifykit.clock import Clock
from notifykit.engine import Engine
from notifykit.errors import (
    ConfigurationError,
    ConflictError,
    DefinitionError,
    DeliveryError,
    InputError,
    NotFoundError,
    NotifyKitError,
    PayloadError,
    PermanentDeliveryError,
    SchemaError,
    StorageError,
    TransientDeliveryError,
    TriggerError,
    UnitError,
)
from notifykit.events import (
    BulkFinished,
    HookFailed,
    MessageCreated,
    MessageFailed,
    MessageQueued,
    MessageRead,
    MessageSeen,
    MessageSent,
    MessageSkipped,
    RunFinished,
    TriggerProcessed,
    WorkScheduled,
)
from notifykit.flow.steps import Chat, Custom, Delay, Email, InApp, Push, Sms
from notifykit.model.codes import Channel
from notifykit.model.values import (
    UNSET,
    Actor,
    Everyone,
    HasSubscriberId,
    Json,
    Recipient,
    Recipients,
    Span,
    TenantRef,
    Topic,
    TriggerOptions,
    Unset,
)
from notifykit.outgoing import ChatMessage, EmailMessage, OutgoingMessage, PushMessage, Receipt, SmsMessage
from notifykit.plan import Plan, Planned, SkipReason
from notifykit.results import (
    Attempt,
    BulkResult,
    BulkUpsert,
    CancelReport,
    DrainReport,
    Execution,
    ExecutionKind,
    InboxMessage,
    Message,
    MessageDetails,
    Page,
    Problem,
    Run,
    Status,
    Subscriber,
    SubscriberChannel,
    TopicDetails,
    TriggerResult,
)
from notifykit.signals import AsyncOn, AsyncSignal, On, Signal
from notifykit.workflow.context import Context
from notifykit.workflow.definition import BoundWorkflow, Trigger, Workflow, WorkflowOptions
from notifykit.workflow.steps import Condition, Step

if TYPE_CHECKING:
    from notifykit.api.aio import AsyncEngine, AsyncNotifier

__all__ = [
    "UNSET",
    "Actor",
    "AsyncEngine",
    "AsyncNotifier",
    "AsyncOn",
    "AsyncSignal",
    "Attempt",
    "BoundWorkflow",
    "BulkFinished",
    "BulkResult",
    "BulkUpsert",
    "CancelReport",
    "Channel",
    "Chat",
    "ChatMessage",
    "Clock",
    "Condition",
    "ConfigurationError",
    "ConflictError",
    "Context",
    "Custom",
    "DefinitionError",
    "Delay",
    "DeliveryError",
    "DrainReport",
    "Email",
    "EmailMessage",
    "Engine",
    "Everyone",
    "Execution",
    "ExecutionKind",
    "HasSubscriberId",
    "HookFailed",
    "InApp",
    "InboxMessage",
    "InputError",
    "Json",
    "Message",
    "MessageCreated",
    "MessageDetails",
    "MessageFailed",
    "MessageQueued",
    "MessageRead",
    "MessageSeen",
    "MessageSent",
    "MessageSkipped",
    "NotFoundError",
    "Notifier",
    "NotifyKitError",
    "On",
    "OutgoingMessage",
    "Page",
    "PayloadError",
    "PermanentDeliveryError",
    "Plan",
    "Planned",
    "Problem",
    "Push",
    "PushMessage",
    "Receipt",
    "Recipient",
    "Recipients",
    "Run",
    "RunFinished",
    "SchemaError",
    "Signal",
    "SkipReason",
    "Sms",
    "SmsMessage",
    "Span",
    "Status",
    "Step",
    "StorageError",
    "Subscriber",
    "SubscriberChannel",
    "TenantRef",
    "Topic",
    "TopicDetails",
    "TransientDeliveryError",
    "Trigger",
    "TriggerError",
    "TriggerOptions",
    "TriggerProcessed",
    "TriggerResult",
    "UnitError",
    "Unset",
    "WorkScheduled",
    "Workflow",
    "WorkflowOptions",
]


if not TYPE_CHECKING:  # checkers would let every name pass

    def __getattr__(name):
        """Import the awaited notifiers when they are first asked for: who never awaits does without them."""
        if name not in {"AsyncNotifier", "AsyncEngine"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from notifykit.api import aio

        return getattr(aio, name)

    def __dir__():
        """The public names."""
        return __all__
