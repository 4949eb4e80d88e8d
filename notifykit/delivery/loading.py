"""Claimed jobs with all that sending needs, in a few queries whatever their number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select
from sqlmodel import col

from notifykit.delivery.attempts import last_numbers
from notifykit.delivery.claimed_delivery import ClaimedDelivery, MessageRow
from notifykit.lifecycle.jobs import ClaimedJob
from notifykit.model import Message
from notifykit.queries import addresses, preferences
from notifykit.queries.addresses import DEVICE_CHANNELS, Addresses, Target
from notifykit.queries.preferences import Preferences
from notifykit.queries.run_facts import RunFacts
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.overrides import for_step

MESSAGES = Statement(
    select(
        col(Message.id),
        col(Message.environment),
        col(Message.channel),
        col(Message.status),
        col(Message.reason),
        col(Message.subject),
        col(Message.body),
        col(Message.data),
        col(Message.expires_at),
        col(Message.created_at),
    ).where(any_of(Message.id, "ids"))
)


def load(
    unit: Unit, jobs: Sequence[ClaimedJob], known: Mapping[int, RunFacts]
) -> tuple[list[ClaimedDelivery], list[ClaimedJob]]:
    """The jobs with all they need.

    Args:
        unit: The unit of the claim.
        jobs: What it takes.
        known: What is known of their runs.

    Returns:
        The deliveries, and the jobs whose run or message is gone.
    """
    ids = sorted(job.message for job in jobs if job.message)
    messages = {row[0]: MessageRow(*row) for row in MESSAGES.rows(unit, ids=ids)} if ids else {}
    numbers = last_numbers(unit, ids)
    there = [job for job in jobs if job.run in known and (not job.message or job.message in messages)]
    reached = addresses.load(
        unit, {known[job.run].subscriber_row for job in there if _needs_devices(messages.get(job.message))}
    )
    deliveries = [
        _delivery(job, known[job.run], messages.get(job.message), reached, numbers.get(job.message, 0)) for job in there
    ]
    found = set(there)
    return deliveries, [job for job in jobs if job not in found]


def load_preferences(unit: Unit, deliveries: Collection[ClaimedDelivery]) -> dict[int, Preferences]:
    """What subscribers and tenants have chosen as of now, by environment: in one query for each.

    Args:
        unit: The unit of the claim.
        deliveries: What it takes.
    """
    groups: dict[int, list[ClaimedDelivery]] = {}
    for delivery in deliveries:
        if delivery.message is not None:
            groups.setdefault(delivery.message.environment, []).append(delivery)
    return {
        environment: preferences.load(
            unit,
            environment,
            {subject for each in group for subject in (each.facts.subscriber_row, each.facts.tenant_row)},
            {each.workflow for each in group},
        )
        for environment, group in groups.items()
    }


def _needs_devices(message: MessageRow | None) -> bool:
    return message is not None and message.channel_name in DEVICE_CHANNELS


def _delivery(
    job: ClaimedJob, facts: RunFacts, message: MessageRow | None, reached: Addresses, last: int
) -> ClaimedDelivery:
    step = facts.version.workflow.steps[job.step]
    overrides = for_step(facts.overrides, step) if facts.overrides else {}
    targets: tuple[Target, ...] = ()
    if message is not None and facts.person is not None:
        targets = reached.targets(facts.person, message.channel_name, overrides)
    return ClaimedDelivery(
        job=job,
        facts=facts,
        subscriber=facts.subscriber,
        message=message,
        overrides=overrides,
        targets=targets,
        number=last + (2 if job.previous_lease else 1),
    )
