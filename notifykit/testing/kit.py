"""What a test holds in its hand inside a sandbox."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, cast

from typing_extensions import Unpack

from notifykit.model.codes import Channel
from notifykit.model.values import Span
from notifykit.results import DrainReport
from notifykit.testing.clock import FakeClock
from notifykit.testing.outbox import How, Outbox
from notifykit.testing.travel import destination, journey

if TYPE_CHECKING:
    from notifykit.api.aio import AsyncEngine
    from notifykit.engine import Engine


class _Held:
    """What both kits have."""

    outbox: Outbox
    _clock: FakeClock

    @property
    def now(self) -> datetime:
        """The present of the sandbox."""
        return self._clock.now()

    def fail(self, channel: Channel, how: How = "transient", times: int | None = None) -> None:
        """Make a channel fail for its next calls.

        Args:
            channel: An outside channel.
            how: `permanent` and `transient` as a hook's exceptions; `crash` abandons the call with its lease, as if the
                process had died in it.
            times: How many calls; None: all from now on, 0: none any more.

        Raises:
            AssertionError: There is no such outside channel, way to fail or number of times.
        """
        self.outbox.fail(channel, how, times)


class Kit(_Held):
    """The sandbox of an `Engine`.

    Attributes:
        engine: The host's own engine.
        outbox: What it sent.
    """

    def __init__(self, engine: Engine, outbox: Outbox, clock: FakeClock) -> None:
        """Made by `sandbox`."""
        self.engine, self.outbox, self._clock = engine, outbox, clock

    def drain(self) -> DrainReport:
        """Do what is due now.

        Returns:
            What was done.
        """
        return self.engine.drain()

    def travel(self, to: datetime | None = None, **span: Unpack[Span]) -> DrainReport:
        """Move the clock, stopping to work at every due moment on the way.

        Args:
            to: The moment at which the journey ends, aware.
            **span: Or how long it is, such as `days=3`; neither does what is due now.

        Returns:
            What was done on the way, in one report.

        Raises:
            InputError: The moment is naive, or the way leads back.
        """
        stops = journey(self._clock, destination(self._clock, to, {**span}))
        next(stops)
        while True:
            try:
                stops.send(self.drain())
            except StopIteration as end:
                return cast("DrainReport", end.value)


class AsyncKit(_Held):
    """The sandbox of an `AsyncEngine`.

    Attributes:
        engine: The host's own engine.
        outbox: What it sent.
    """

    def __init__(self, engine: AsyncEngine, outbox: Outbox, clock: FakeClock) -> None:
        """Made by `sandbox`."""
        self.engine, self.outbox, self._clock = engine, outbox, clock

    async def drain(self) -> DrainReport:
        """Do what is due now.

        Returns:
            What was done.
        """
        return await self.engine.drain()

    async def travel(self, to: datetime | None = None, **span: Unpack[Span]) -> DrainReport:
        """Move the clock, stopping to work at every due moment on the way.

        Args:
            to: The moment at which the journey ends, aware.
            **span: Or how long it is, such as `days=3`; neither does what is due now.

        Returns:
            What was done on the way, in one report.

        Raises:
            InputError: The moment is naive, or the way leads back.
        """
        stops = journey(self._clock, destination(self._clock, to, {**span}))
        next(stops)
        while True:
            try:
                stops.send(await self.drain())
            except StopIteration as end:
                return cast("DrainReport", end.value)
