"""Engines whose verbs run in a host's transaction that holds a snapshot, while another process is a step ahead.

Each verb is first rehearsed on an engine of its own and rolled back; what it would have made (workflows, subscribers,
topics ...) that engine then commits, after the host's snapshot was taken. So the verb meets rows that its snapshot
does not show, and must leave exactly the rows that it leaves without all this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import notifykit as nk
from notifykit.model import metadata
from notifykit.model.subscriber import EPHEMERAL
from notifykit.store import engines
from notifykit.store.error_mapping import is_given_up
from notifykit.unit_of_work.retry_policy import is_repeatable
from tests.harness.both import Both, Notifier

LEVELS = ("REPEATABLE READ", "SERIALIZABLE")
VERBS = {"trigger", "trigger_bulk", "broadcast", "explain", "cancel"}
NOUNS = {"subscribers", "topics", "tenants", "preferences", "messages", "runs", "executions"}
UNRIVALLED = {"create", "bulk_upsert", "explain"}
"""What they answer tells whether somebody else was there before; or they write nothing."""
SHARED = tuple(
    metadata.tables[f"notifykit_{name}"]
    for name in ("workflow", "workflow_version", "subscriber", "subscriber_channel", "topic", "topic_member", "tenant")
)
"""What a verb makes if it is absent."""

Path = tuple[Any, ...]
"""From a notifier to a verb: names, and pairs of a name and what it is called with."""


class Hosting:
    """A host's engine on the database of an engine of ours.

    Attributes:
        level: Its level of isolation.
    """

    def __init__(self, both: Both, level: str) -> None:
        self._both = both
        self.level = level
        assert both.url is not None
        target = engines.parsed(both.url)
        if both.notifier == "async":
            driver = target.get_driver_name()
            target = target.set(drivername=f"{target.get_backend_name()}+{engines.ASYNC[driver]}")
            self.engine: Any = create_async_engine(target, isolation_level=level)
        else:
            self.engine = sa.create_engine(target, isolation_level=level)

    @contextmanager
    def transaction(self, *settings: str) -> Iterator[Any]:
        """The verbs of our engine inside a session with a snapshot, committed at the end.

        Args:
            *settings: Statements that come before the snapshot is taken.
        """
        look = sa.select(sa.func.count()).select_from(metadata.tables["notifykit_organization"])
        both = self._both
        session: Any = Session(self.engine) if both.notifier == "sync" else AsyncSession(self.engine)
        try:
            for statement in (*map(sa.text, settings), look):
                both.settled(session.execute(statement))
            notifier = both.engine.within(session)
            yield both.plain(notifier)
            both.settled(session.commit())
        finally:
            both.settled(session.close())

    def close(self) -> None:
        """Give the connections back."""
        self._both.settled(self.engine.dispose())


class Hosted(Both):
    """An engine whose verbs run in transactions of a host.

    Attributes:
        joined: How many verbs ran in a host's transaction.
        met: How many of them met rows that their snapshot did not show.
        repeated: How many of those the database gave up, and the host did again.
    """

    def __init__(self, notifier: Notifier, url: str | None, *, level: str, **options: Any) -> None:
        super().__init__(notifier, url, **options)
        self.joined = self.met = self.repeated = 0
        self.host = Hosting(self, level)
        self.rival = nk.Engine(url, clock=self.clock)

    def __getattr__(self, name: str) -> Any:
        """A verb or noun inside a host's transaction, and whatever else the engine has."""
        if name in VERBS:
            return self._verb((name,))
        if name in NOUNS:
            return Noun(self, (name,))
        if name == "inbox":
            return self._inbox
        return super().__getattr__(name)

    def _inbox(self, subscriber: Any) -> Any:
        self._face.inbox(subscriber)  # who is refused is refused at once
        return Noun(self, (("inbox", subscriber),))

    def _verb(self, path: Path) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if "session" in kwargs:
                return _at(self._face, path)(*args, **kwargs)
            self.joined += 1
            try:
                return self._in_host(path, args, kwargs, rival=path[-1] not in UNRIVALLED)
            except (nk.StorageError, DBAPIError) as error:
                if not is_over(error):
                    raise
                self.repeated += 1
                return self._in_host(path, args, kwargs, rival=False)

        return call

    def _in_host(self, path: Path, args: Any, kwargs: Any, *, rival: bool) -> Any:
        with self.host.transaction() as notifier:
            made = self._rehearsed(path, args, kwargs) if rival and _is_repeatable((args, kwargs)) else {}
            if made:
                self.met += 1
                with self.rival._runtime.database.engine.begin() as connection:
                    for table, rows in made.items():
                        connection.execute(table.insert(), rows)
            answer = _at(notifier, path)(*args, **kwargs)
            return iter(list(answer)) if isinstance(answer, Iterator) else answer

    def _rehearsed(self, path: Path, args: Any, kwargs: Any) -> Mapping[sa.Table, list[dict[str, Any]]]:
        """The rows that a verb would make where they are absent, by table."""
        self.rival._runtime.registry.registered = self.engine._runtime.registry.registered
        made: dict[sa.Table, list[dict[str, Any]]] = {}
        try:
            with self.rival.transaction() as notifier:
                connection = notifier._context._unit.connection  # type: ignore[attr-defined]
                before = {table: set(connection.scalars(sa.select(_key(table)))) for table in SHARED}
                _at(notifier, path)(*args, **kwargs)
                for table in SHARED:
                    found = connection.execute(sa.select(_key(table), table)).mappings()
                    new = [dict(row) for row in found if row["key of the row"] not in before[table]]
                    if new:
                        made[table] = [{column.name: row[column.name] for column in table.c} for row in new]
                raise Rehearsed
        except Rehearsed:
            return _of_listed(made)
        except Exception:  # the verb itself will tell
            return {}

    def finish(self) -> None:
        """Close the host's engine and the rival too."""
        self.rival.close()
        self.host.close()
        super().finish()


class Rehearsed(Exception):
    """The end of a rehearsal."""


class Noun:
    """A namespace or inbox whose verbs run in a host's transaction."""

    def __init__(self, hosted: Hosted, path: Path) -> None:
        self._hosted = hosted
        self._path = path

    def __getattr__(self, name: str) -> Any:
        """One verb."""
        return self._hosted._verb((*self._path, name))


def _at(notifier: Any, path: Path) -> Any:
    for step in path:
        notifier = getattr(notifier, step) if isinstance(step, str) else getattr(notifier, step[0])(*step[1:])
    return notifier


def _key(table: sa.Table) -> sa.ColumnElement[str]:
    """The primary key as one text."""
    parts = [sa.cast(column, sa.String(20)) for column in table.primary_key]
    return sa.func.concat(*parts[:1], *(part for each in parts[1:] for part in (".", each))).label("key of the row")


def _of_listed(made: dict[sa.Table, list[dict[str, Any]]]) -> Mapping[sa.Table, list[dict[str, Any]]]:
    """All but addresses without a subscriber, whose ids are no other process's."""
    unlisted = {
        row["id"] for rows in made.values() for row in rows if str(row.get("subscriber_id", "")).startswith(EPHEMERAL)
    }
    kept = {
        table: [row for row in rows if row.get("subscriber", row.get("id")) not in unlisted]
        for table, rows in made.items()
    }
    return {table: rows for table, rows in kept.items() if rows}


def _is_repeatable(given: object) -> bool:
    try:
        return is_repeatable(given)
    except RecursionError:  # a payload that will be refused
        return False


def is_over(error: BaseException) -> bool:
    """Whether the host has to run its transaction again: told by us, or by its own commit."""
    if isinstance(error, nk.StorageError):
        return is_given_up(error)
    return getattr(getattr(error, "orig", None), "sqlstate", None) == "40001"
