"""Plain values for an advance: no database, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import notifykit as nk
from notifykit.flow.advance import advance
from notifykit.flow.moving import AdvanceContext
from notifykit.flow.run_columns import Changes, EventContext, Instant, RunColumns
from notifykit.flow.trace_log import TraceLog
from notifykit.model.codes import ChannelCode, RunStatus
from notifykit.model.trace import lines
from notifykit.queries.addresses import Addresses, Target
from notifykit.queries.facts import Facts
from notifykit.queries.preferences import Preferences
from notifykit.queries.subscriber_fields import FIELDS
from notifykit.workflow.registry import StoredVersion

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)


def person(number: int = 1, **given: Any) -> tuple[Any, ...]:
    """A subscriber's row: with an e-mail address and a phone unless told otherwise."""
    facts = {"email": f"{number}@example.com", "phone": f"+43{number}", **given}
    return (number, f"user-{number}", *(facts.get(name) for name in FIELDS))


@dataclass
class Advanced:
    """What became of the runs."""

    changes: Changes
    trace: TraceLog

    def status(self, index: int = 0) -> str:
        """Of one run."""
        return RunStatus(self.changes.status[index]).word

    def told(self, index: int = 0) -> list[tuple[str | None, str, str | None]]:
        """Step, kind and reason of every line of a run's trace."""
        path = self.changes.runs.paths[index]
        return [(line.step, line.kind, line.reason) for line in lines(self.trace.texts[path])]

    def rule(self, index: int = 0) -> Any:
        """What the last line of a run's trace says that decided."""
        return list(lines(self.trace.texts[self.changes.runs.paths[index]]))[-1].data.get("rule")

    def record(self, step: str, index: int = 0) -> Any:
        """A step's record."""
        return self.trace.records[self.changes.runs.paths[index]][step]

    @property
    def waits(self) -> list[tuple[int, int, datetime, str]]:
        """Run, step, due time and function of every job."""
        return [(job.subject, job.step, job.due_at, job.needs) for job in self.changes.jobs]


@dataclass
class Given:
    """What an advance starts from."""

    people: list[tuple[Any, ...]] = field(default_factory=lambda: [person()])
    payload: dict[str, Any] = field(default_factory=dict)
    own: dict[int, dict[str, Any]] = field(default_factory=dict)
    overrides: dict[str, Any] | None = None
    choices: dict[tuple[nk.Channel, int], dict[str, bool]] = field(default_factory=dict)
    devices: list[tuple[str, int]] = field(default_factory=list)
    records: dict[str, Any] = field(default_factory=dict)
    fans_out: bool = False
    event: EventContext | None = None
    first: int = 100
    preview: bool = False

    def facts(self) -> Facts:
        """What subscribers have chosen, and on which devices they are reached."""
        choices: dict[int, dict[int, dict[str, bool]]] = {}
        for (channel, number), chosen in self.choices.items():
            choices.setdefault(ChannelCode.of(channel).value, {})[number] = chosen
        addresses = Addresses()
        for channel, number in self.devices:
            getattr(addresses, channel)[number] = [Target("address")]
        return Facts(Preferences(choices), addresses)

    def advance(self, *steps: nk.Step, position: int = 0, **options: Any) -> Advanced:
        """Move everybody on from a step."""
        workflow: Any = nk.Workflow("w", steps=list(steps), **options)
        instant = Instant.of(NOW, "now")
        trace = TraceLog(instant)
        event = self.event or EventContext(7, None, self.payload, overrides=self.overrides, fans_out=self.fans_out)
        path = trace.start(self.records, has_message=False) if self.records else 0
        runs = RunColumns(
            StoredVersion(1, 1, workflow, workflow.hash),
            ids=[self.first + at for at in range(len(self.people))],
            events=[event] * len(self.people),
            subscribers=list(self.people),
            payloads=[self.own.get(at) for at in range(len(self.people))],
            paths=[path] * len(self.people),
        )
        context = AdvanceContext(1, instant, frozenset(), self.facts(), trace, preview=self.preview)
        return Advanced(advance(runs, position, context), trace)
