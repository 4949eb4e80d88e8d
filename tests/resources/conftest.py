"""A place to stand: units on a real database, and rows made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from pydantic_core import to_json

from notifykit.clock import micros
from notifykit.flow.steps import Email, InApp
from notifykit.ids import encode_id, step_key
from notifykit.model import Content, DeliveryAttempt, Event, Message, Run, metadata
from notifykit.model.codes import AttemptClass, ChannelCode, MessageStatus, RunStatus
from notifykit.model.scope import Scope
from notifykit.model.trace import line
from notifykit.queries import versions
from notifykit.resources.executions import Executions
from notifykit.resources.inbox import Inbox
from notifykit.resources.messages import Messages
from notifykit.resources.preferences import Preferences
from notifykit.resources.runs import Runs
from notifykit.resources.subscribers import Subscribers
from notifykit.resources.tenants import Tenants
from notifykit.resources.topics import Topics
from notifykit.store.database import Database
from notifykit.store.rows import insert_rows
from notifykit.testing.clock import FakeClock
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow
from notifykit.workflow.registry import Registry
from tests.harness import databases

T = TypeVar("T")

news = Workflow("news", steps=[InApp("bell", body="b"), Email("mail", subject="s", body="b")], tags=["a", "b"])


RUN_COLUMNS = (
    "id", "environment", "event", "subscriber", "workflow", "tenant", "topic", "step", "status", "results", "trace",
    "created_at", "finished_at",
)  # fmt: skip
MESSAGE_COLUMNS = (
    "id", "environment", "tenant", "subscriber", "workflow", "channel", "content", "subject", "body", "cta", "data",
    "status", "feed_at", "created_at",
)  # fmt: skip


@dataclass
class House:
    """Where the namespaces of these tests stand."""

    database: Database
    clock: FakeClock = field(default_factory=FakeClock)
    registry: Registry = field(default_factory=Registry)
    tenant: str | None = None
    heard: list[Any] = field(default_factory=list)
    observed: set[str] = field(default_factory=set)
    due: list[datetime | None] = field(default_factory=list)

    def run(self, work: Callable[[Unit], T], *, write: bool) -> T:
        """Do the work in a unit of its own."""
        with self.database.transaction(write=write) as connection:
            unit = self.unit(connection)
            result = work(unit)
        self.heard += unit.effects.events
        self.due.append(unit.effects.due)
        for commit in unit.effects.on_commit:
            commit()
        return result

    def unit(self, connection: sa.Connection) -> Unit:
        """A unit on an open transaction."""
        return Unit(
            connection,
            self.database.dialect,
            self.clock,
            self.registry,
            self.clock.now(),
            lambda name: name in self.observed,
            scope=Scope(tenant=self.tenant),
        )

    def write(self, work: Callable[[Unit], T]) -> T:
        """Do the work in a unit that may write."""
        return self.run(work, write=True)

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self.database.transaction(write=False) as connection:
            return [tuple(row) for row in connection.exec_driver_sql(text)]

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """The statements of a block."""
        seen: list[str] = []

        def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if not statement.startswith(("BEGIN", "COMMIT")):
                seen.append(statement)

        sa.event.listen(self.database.engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            sa.event.remove(self.database.engine, "before_cursor_execute", note)

    @property
    def subscribers(self) -> Subscribers:
        return Subscribers(self)

    @property
    def topics(self) -> Topics:
        return Topics(self)

    @property
    def tenants(self) -> Tenants:
        return Tenants(self)

    @property
    def preferences(self) -> Preferences:
        return Preferences(self)

    @property
    def messages(self) -> Messages:
        return Messages(self)

    @property
    def runs(self) -> Runs:
        return Runs(self)

    @property
    def executions(self) -> Executions:
        return Executions(self)

    def inbox(self, subscriber: Any) -> Inbox:
        return Inbox(self, subscriber)

    def pk(self, subscriber_id: str) -> int:
        """The id of a subscriber's row."""
        (row,) = self.rows(f"SELECT id FROM notifykit_subscriber WHERE subscriber_id = '{subscriber_id}'")
        return int(row[0])

    def told(self, *subscriber_ids: str, workflow: Workflow[Any, ...] = news, **options: Any) -> str:
        """A stored trigger that went to subscribers, one run and one in-app message each; its transaction id."""
        return self.write(lambda unit: tell(unit, subscriber_ids, workflow, **options))


def tell(
    unit: Unit,
    subscriber_ids: tuple[str, ...],
    workflow: Workflow[Any, ...],
    *,
    given: str | None = None,
    payload: dict[str, Any] | None = None,
    actor: int = 0,
    tenant: int = 0,
    step: int = 0,
    status: MessageStatus = MessageStatus.SENT,
    shared: bool = False,
    cta: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    trace: str | None = None,
) -> str:
    """Write what a trigger would have written, without one."""
    version = versions.by_key(unit, [workflow.key])[workflow.key]
    now, (event, *runs) = unit.timestamp(unit.now), unit.ids(1 + len(subscriber_ids))
    columns = ("id", "environment", "transaction_id", "workflow", "version", "tenant", "actor", "payload", "status")
    columns += ("recipients", "created_at")
    row = (event, 1, given, version.workflow_id, version.version_id, tenant, actor, to_json(payload or {}).decode(), 1)
    insert_rows(unit, Event, columns, [(*row, len(runs), now)])
    channel = ChannelCode.of(workflow.steps[step].channel or "in_app").value
    content = step_key(event, step) if shared else 0
    if shared:
        insert_rows(unit, Content, ("id", "subject", "body"), [(content, "shared subject", "shared body")])
    found = unit.connection.execute(sa.text("SELECT subscriber_id, id FROM notifykit_subscriber"))
    people: dict[str, int] = dict(tuple(row) for row in found)
    mine = [people[name] for name in subscriber_ids]
    story = trace or line(micros(unit.now), workflow.steps[step].id, "message_created")
    insert_rows(
        unit,
        Run,
        RUN_COLUMNS,
        [
            (run, 1, event, person, version.workflow_id, tenant, 0, 0, RunStatus.COMPLETED.value, "{}", story, now, now)
            for run, person in zip(runs, mine, strict=True)
        ],
    )
    texts = [None if value is None else to_json(value).decode() for value in (cta, data)]
    said = (None, None, None, None) if shared else ("subject", "body", *texts)
    insert_rows(
        unit,
        Message,
        MESSAGE_COLUMNS,
        [
            (
                step_key(run, step),
                1,
                tenant,
                person,
                version.workflow_id,
                channel,
                content,
                *said,
                status.value,
                now,
                now,
            )
            for run, person in zip(runs, mine, strict=True)
        ],
    )
    return given or encode_id("txn", event)


def attempted(
    unit: Unit, message: int, number: int, outcome: AttemptClass, *, target: str = "", error: str = ""
) -> None:
    """One attempt to send a message."""
    now = unit.timestamp(unit.now)
    columns = ("message", "target", "attempt", "integration", "idempotency_key", "outcome", "response", "started_at")
    row = (message, target, number, "console", f"k{message}", outcome.value, error or None, now)
    insert_rows(unit, DeliveryAttempt, columns, [row])


@pytest.fixture(params=["memory", "postgresql", "mariadb"])
def house(request: pytest.FixtureRequest, servers: Callable[[str], str]) -> Iterator[House]:
    """A place to stand on every kind of database that is found here."""
    url = None if request.param == "memory" else servers(request.param)
    yield from opened(url)


@pytest.fixture
def light(tmp_path: Path) -> Iterator[House]:
    """The same on SQLite only: for what does not depend on the database, and for its plans."""
    yield from opened(f"sqlite:///{tmp_path / 'light.db'}")


def opened(url: str | None) -> Iterator[House]:
    database = Database.open(url)
    database.migrate()
    if url is not None and not url.startswith("sqlite"):
        emptied(database.engine)
    house = House(database)
    house.registry.add(news)
    house.clock.move(days=1)
    yield house
    database.close()


def emptied(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name not in databases.KEPT:
                connection.execute(table.delete())


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], str]]:
    """The URL of a database of this session on a server."""
    known: dict[str, str] = {}
    with ExitStack() as stack:

        def url(name: str) -> str:
            if name not in known:
                if reason := databases.missing(name):
                    pytest.skip(reason)
                known[name] = stack.enter_context(databases.on_server(name))
            return known[name]

        yield url


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)
