"""What due jobs wait for that this process does not have: a provider, a function of the host."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, func, or_, select
from sqlmodel import col

from notifykit.delivery.routing import Router
from notifykit.model import Event, Job, Message, Run, Workflow
from notifykit.model.codes import ChannelCode, JobKind
from notifykit.queries import versions
from notifykit.settings import NO_PROVIDER, NO_PROVIDER_RETRY
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

OF_EVENT = select(col(Run.id)).where(col(Run.event) == bindparam("event"))
UNSERVED = (
    select(col(Message.channel), func.count())
    .join_from(Job, Message, col(Message.id) == col(Job.message))
    .where(
        col(Job.due_at) <= bindparam("until"),
        col(Job.kind) == JobKind.DELIVER.value,
        col(Job.owner) == "",
        any_of(Message.channel, "channels"),
    )
    .group_by(col(Message.channel))
)
LACKING = (
    select(col(Job.needs), func.count())
    .where(col(Job.due_at) <= bindparam("until"), col(Job.needs) != "", col(Job.owner) == "")
    .group_by(col(Job.needs))
)
NEWER = (
    select(col(Workflow.key), func.count())
    .select_from(Job)
    .join(Run, col(Run.id) == col(Job.subject))
    .join(Event, col(Event.id) == col(Run.event))
    .join(Workflow, col(Workflow.id) == col(Run.workflow))
    .where(
        col(Job.due_at) <= bindparam("now"),
        or_(col(Job.owner) == "", col(Job.lease_until) <= bindparam("now")),
        any_of(Event.version, "versions"),
    )
    .group_by(col(Workflow.key))
)
ALL_UNSERVED, EVENT_UNSERVED = Statement(UNSERVED), Statement(UNSERVED.where(col(Job.subject).in_(OF_EVENT)))
ALL_NEWER, EVENT_NEWER = Statement(NEWER), Statement(NEWER.where(col(Run.event) == bindparam("event")))
ALL_LACKING, EVENT_LACKING = Statement(LACKING), Statement(LACKING.where(col(Job.subject).in_(OF_EVENT)))


def waiting_for(unit: Unit, router: Router, event: int | None) -> Mapping[str, int]:
    """What work waits for here, and how much of it: `{"email: no provider": 12, "shipped/score: no function": 1}`.

    Work on definitions that a newer notifykit stored waits for a process that has it: `shipped: newer definition`.

    Args:
        unit: Any unit.
        router: Who serves what here.
        event: Only this event's work, or None.
    """
    found: dict[str, int] = {}
    only = {} if event is None else {"event": event}
    channels = [ChannelCode.of(channel).value for channel in router.unserved]
    if channels:
        statement = ALL_UNSERVED if event is None else EVENT_UNSERVED
        for channel, count in statement.rows(unit, until=unit.now + NO_PROVIDER_RETRY, channels=channels, **only):
            found[f"{ChannelCode(channel).word}: {NO_PROVIDER}"] = count
    functions = unit.registry.functions()
    statement = ALL_LACKING if event is None else EVENT_LACKING
    for needs, count in statement.rows(unit, until=unit.now, **only):
        if needs not in functions:
            found[f"{needs}: no function"] = count
    if stored := versions.newer(unit):
        statement = ALL_NEWER if event is None else EVENT_NEWER
        for key, count in statement.rows(unit, now=unit.now, versions=stored, **only):
            found[f"{key}: newer definition"] = count
    return found
