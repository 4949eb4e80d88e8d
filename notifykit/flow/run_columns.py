"""Runs as columns: what moves through a workflow. No object is made for a recipient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from notifykit.clock import micros
from notifykit.ids import transaction_id
from notifykit.model.codes import RunStatus
from notifykit.model.job import NewJob
from notifykit.model.values import Json
from notifykit.workflow.registry import StoredVersion

Text = tuple[str | None, str | None, str | None, str | None]
"""The subject, body, call to action and data of an in-app message, as stored."""
COMPLETED = RunStatus.COMPLETED.value

Indexes = Sequence[int]
"""Which of some runs: indexes into their columns, ascending."""


@dataclass(slots=True)
class EventContext:
    """One event as its runs see it.

    Attributes:
        id: The event's id.
        given: The given transaction id, or None.
        payload: The JSON form.
        actor: What templates see of the actor, or None.
        tenant: What templates see of the tenant, or None.
        tenant_id: The tenant's row, 0 for none.
        overrides: As given, or None.
        fans_out: A topic, everyone or a `select` is among the recipients: text that is the same for all is kept once.
        shared: The ids of the texts in the content table, by the index of their step and what they say.
    """

    id: int
    given: str | None
    payload: Json
    actor: Json | None = None
    tenant: Json | None = None
    tenant_id: int = 0
    overrides: Json | None = None
    fans_out: bool = False
    shared: dict[tuple[int, Text], int] | None = None

    @property
    def transaction_id(self) -> str:
        """The transaction id as it is shown outside."""
        return transaction_id(self.given, self.id)


@dataclass(slots=True)
class RunColumns:
    """Runs that stand at the same step of the same version; one entry a run in every column.

    Attributes:
        version: The version they are pinned to.
        ids: Run ids.
        events: Their events.
        subscribers: Subscriber rows in the order of `subscriber_fields.ROW`.
        payloads: A run's own payload, or None where it is the event's.
        topics: The topic by which each came, 0 for none; empty where the runs are stored already.
        paths: Where each stands in the chunk's `TraceLog`.
    """

    version: StoredVersion
    ids: list[int] = field(default_factory=list)
    events: list[EventContext] = field(default_factory=list)
    subscribers: list[tuple[Any, ...]] = field(default_factory=list)
    payloads: list[Json | None] = field(default_factory=list)
    topics: list[int] = field(default_factory=list)
    paths: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        """How many runs."""
        return len(self.subscribers)

    def part(self, start: int, stop: int) -> RunColumns:
        """The runs of some places, as columns of their own."""
        return RunColumns(
            self.version,
            self.ids[start:stop],
            self.events[start:stop],
            self.subscribers[start:stop],
            self.payloads[start:stop],
            self.topics[start:stop],
            self.paths[start:stop],
        )


@dataclass(frozen=True, slots=True)
class Instant:
    """The moment at which a chunk moves, in the forms that rows and lines want.

    Attributes:
        now: The time itself.
        stamp: As the database stores it.
        micros: Microseconds since 1970, for trace lines.
        text: ISO text, for step records.
    """

    now: datetime
    stamp: Any
    micros: int
    text: str

    @classmethod
    def of(cls, now: datetime, stamp: Any) -> Instant:
        """All forms of one moment."""
        return cls(now, stamp, micros(now), now.isoformat())


@dataclass(slots=True)
class Changes:
    """What moving some runs has changed: plain rows, written by `apply`, read by `explain`.

    Attributes:
        runs: The runs, with their paths at the end.
        status: A `RunStatus` for each.
        steps: Where each stands.
        messages: Rows in the order of `apply.MESSAGE`.
        contents: Rows in the order of `apply.CONTENT`.
        jobs: Jobs to make.
        unrenderable: In a preview, by place and step id: why an outside message can't be rendered.
    """

    runs: RunColumns
    status: list[int]
    steps: list[int]
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    contents: list[tuple[Any, ...]] = field(default_factory=list)
    jobs: list[NewJob] = field(default_factory=list)
    unrenderable: dict[tuple[int, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: RunColumns) -> Changes:
        """No change yet: every run would be completed at the end of its steps."""
        return cls(runs, [COMPLETED] * len(runs), [len(runs.version.workflow.steps)] * len(runs))


def without(indexes: Indexes, stopped: Sequence[int]) -> Indexes:
    """Indexes but for some of them."""
    if not stopped:
        return indexes
    gone = set(stopped)
    return [index for index in indexes if index not in gone]
