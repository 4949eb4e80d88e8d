"""What things are: tables and value types, one noun a file. No SQL statements, no I/O.

The table classes are public for reading: a host may join its own tables with them.
"""

from __future__ import annotations

from notifykit.model.base import Base, metadata
from notifykit.model.content import Content
from notifykit.model.delivery_attempt import DeliveryAttempt
from notifykit.model.event import Event
from notifykit.model.job import Job
from notifykit.model.message import Message
from notifykit.model.organization import Environment, Organization
from notifykit.model.preference import Preference
from notifykit.model.run import Run
from notifykit.model.sequence import IdSequence
from notifykit.model.subscriber import Subscriber, SubscriberChannel
from notifykit.model.tenant import Tenant
from notifykit.model.topic import Topic, TopicMember
from notifykit.model.workflow import Workflow, WorkflowVersion

__all__ = [
    "Base",
    "Content",
    "DeliveryAttempt",
    "Environment",
    "Event",
    "IdSequence",
    "Job",
    "Message",
    "Organization",
    "Preference",
    "Run",
    "Subscriber",
    "SubscriberChannel",
    "Tenant",
    "Topic",
    "TopicMember",
    "Workflow",
    "WorkflowVersion",
    "metadata",
]
