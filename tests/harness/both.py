"""One face for both notifiers: a scenario is written once, with plain calls, and runs on either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from inspect import isawaitable
from typing import Any, Literal, TypeVar

import sqlalchemy as sa

import notifykit as nk
from notifykit.api.aio import AsyncNotifier
from notifykit.testing import FakeClock
from notifykit.unit_of_work.async_contexts import AsyncNamespace
from tests.harness.outside import Outside

Notifier = Literal["sync", "async"]
T = TypeVar("T")


class Awaited:
    """An awaited notifier, namespace or inbox whose calls are run to their end on a loop."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        """The attribute, with calls that no longer need an `await`."""
        found = getattr(self._target, name)
        if callable(found) and not is_awaited(found):
            return lambda *args, **kwargs: self._plain(found(*args, **kwargs))
        return self._plain(found)

    def _plain(self, value: Any) -> Any:
        if isawaitable(value):
            return self._plain(self._runner.run(_wait(value)))
        if isinstance(value, AsyncIterator):
            return self._items(value)
        if hasattr(value, "__aenter__") and not is_awaited(value):
            return self._entered(value)
        return Awaited(value, self._runner) if is_awaited(value) else value

    def _items(self, pages: AsyncIterator[Any]) -> Iterator[Any]:
        while (item := self._runner.run(_next(pages))) is not _END:
            yield item

    @contextmanager
    def _entered(self, manager: Any) -> Iterator[Any]:
        inside = self._runner.run(manager.__aenter__())
        try:
            yield self._plain(inside)
        except BaseException as error:
            if not self._runner.run(manager.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            self._runner.run(manager.__aexit__(None, None, None))


_END = object()


async def _wait(value: Any) -> Any:
    return await value


async def _next(pages: AsyncIterator[Any]) -> Any:
    return await anext(pages, _END)


def is_awaited(value: Any) -> bool:
    """Whether it is an awaited notifier or a namespace of one."""
    return isinstance(value, AsyncNotifier | AsyncNamespace)


class Both:
    """An engine behind plain calls, whichever notifier it has; every verb of the engine is found here as an attribute.

    Attributes:
        engine: The `Engine` or `AsyncEngine` itself.
        url: Of the database; None for a private memory.
        place: The name of the kind of database.
        clock: The clock that the engine asks; it stands still.
        outside: What the delivery hooks of this engine got, and how they should fail.
    """

    def __init__(
        self,
        notifier: Notifier,
        url: str | None,
        *,
        clock: FakeClock | None = None,
        hooks: bool = True,
        place: str = "memory",
        **options: Any,
    ) -> None:
        self.notifier = notifier
        self.place = place
        self.url = url
        self.clock = clock or FakeClock()
        self.start = self.clock.now()
        self.outside = Outside()
        self._runner = asyncio.Runner() if notifier == "async" else None
        kind = nk.AsyncEngine if notifier == "async" else nk.Engine
        self.engine: Any = kind(url, clock=self.clock, **options)
        self._face: Any = Awaited(self.engine, self._runner) if self._runner else self.engine
        if hooks:
            self.outside.serve(self.engine, awaited=notifier == "async")

    @property
    def url_is_private(self) -> bool:
        """The database is this engine's own memory: no second engine can see it."""
        return self.url is None

    def __getattr__(self, name: str) -> Any:
        """Whatever the engine has."""
        return getattr(self._face, name)

    def wait(self, value: Any) -> Any:
        """The end of a coroutine on the engine's own loop; for what only one notifier has."""
        assert self._runner is not None
        return self._runner.run(_wait(value))

    def settled(self, value: Any) -> Any:
        """What a call of either notifier's kind gave, awaited where it has to be."""
        return self.wait(value) if isawaitable(value) else value

    def plain(self, notifier: Any) -> Any:
        """A notifier of this engine behind plain calls."""
        return Awaited(notifier, self._runner) if self._runner else notifier

    def travel(self, **span: float) -> nk.DrainReport:
        """Move the clock, stopping to work at every due moment on the way, as the kit of `notifykit.testing` does."""
        target = self.clock.now() + timedelta(**span)
        report: nk.DrainReport = self._face.drain()
        while report.next_due is not None and report.next_due <= target:
            self.clock.move(seconds=max(0.0, (report.next_due - self.clock.now()).total_seconds()))
            report = self._face.drain()
        self.clock.move(seconds=(target - self.clock.now()).total_seconds())
        return report

    def read(self, question: Callable[[sa.Connection], T]) -> T:
        """Ask the engine's own database something, in a transaction that only reads."""
        database = self.engine._runtime.database
        if self._runner is None:
            with database.transaction(write=False) as connection:
                return question(connection)

        async def ask() -> T:
            async with database.transaction(write=False) as transaction:
                answer: T = await transaction.call(question)
                return answer

        return self._runner.run(ask())

    def count(self, table: Any, *conditions: Any) -> int:
        """How many rows a table has."""
        return self.read(
            lambda connection: connection.execute(
                sa.select(sa.func.count()).select_from(table).where(*conditions)
            ).scalar_one()
        )

    def finish(self) -> None:
        """Close the engine and its loop."""
        try:
            self._face.close()
        finally:
            if self._runner is not None:
                self._runner.close()
