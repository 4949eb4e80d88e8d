"""What makes calls to the outside on the awaited notifier: the task that drains, or tasks beside each other."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from notifykit.clock import monotonic
from notifykit.delivery.calls import Call
from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.sending import send_async
from notifykit.settings import STOP_GRACE
from notifykit.worker.commands import EndedCalls, SendCalls
from notifykit.worker.executors import LEFT_BEHIND, RENEWAL

logger = logging.getLogger("notifykit.worker")

AsyncRenewLeases = Callable[[Collection[Call]], Awaitable[None]]
"""Renews the leases of calls under way."""


class AsyncCallExecutor(Protocol):
    """Makes the calls of a drain."""

    async def execute(self, batch: SendCalls) -> None:
        """Start calls, and return when at least one of those under way has ended; or start no more."""
        ...

    async def close(self) -> None:
        """Let go of tasks."""


def async_call_executor(concurrency: int, timeout: float, renew: AsyncRenewLeases) -> AsyncCallExecutor:
    """What makes calls: one after the other, or several at once.

    Args:
        concurrency: How many at once.
        timeout: Seconds that one of several may take.
        renew: Renews leases.
    """
    return AsyncSerialExecutor(renew) if concurrency == 1 else TaskExecutor(concurrency, timeout, renew)


class AsyncSerialExecutor:
    """Calls one after the other, in the task that drains."""

    def __init__(self, renew: AsyncRenewLeases) -> None:
        """No call yet."""
        self._renew = renew

    async def execute(self, batch: SendCalls) -> None:
        """Make the calls."""
        async with self._renewing(batch):
            for call in batch.calls:
                batch.ended.append((call, await send_async(call, asyncio.to_thread)))

    @asynccontextmanager
    async def _renewing(self, batch: SendCalls) -> AsyncIterator[None]:
        """Renew the leases of these calls while one takes long, from a task that only such a call starts."""
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        timer = loop.call_later(RENEWAL, lambda: tasks.append(loop.create_task(self._renew_forever(batch))))
        try:
            yield
        finally:
            timer.cancel()
            for task in tasks:
                task.cancel()
                await asyncio.wait([task])

    async def _renew_forever(self, batch: SendCalls) -> None:
        while True:
            try:
                await self._renew([*(call for call in batch.calls if call.has_started), *batch.unrecorded])
            except Exception:  # the next round tries again, as long as the lease lasts
                logger.exception("the lease of a call that takes long could not be renewed")
            await asyncio.sleep(RENEWAL)

    async def close(self) -> None:
        """There is nothing to end."""


class TaskExecutor:
    """Several calls at once, each in a task; one that hangs is cancelled, and left behind with its thread."""

    def __init__(self, size: int, timeout: float, renew: AsyncRenewLeases) -> None:
        """No task yet.

        Args:
            size: How many calls at once.
            timeout: Seconds after which the end of a call is not waited for any more.
            renew: Renews leases.
        """
        self._size = size
        self._timeout = timeout
        self._renew = renew
        self._queue: deque[Call] = deque()
        self._tasks: dict[asyncio.Task[Outcome | BaseException], Call] = {}
        self._renewed_at = monotonic()
        self._stop_grace = STOP_GRACE

    async def execute(self, batch: SendCalls) -> None:
        """Start calls, and wait until one has ended."""
        ended = batch.ended
        if batch.stops:
            await self._stop(ended)
            return
        self._queue.extend(batch.calls)
        try:
            while not ended and (self._queue or self._tasks):
                self._start()
                done, _ = await asyncio.wait(self._tasks, timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED)
                self._take(done, ended)
                self._abandon_late(ended)
                self._return_late(ended)
                await self._renew_due(batch.unrecorded)
        except GeneratorExit:  # nobody awaits us any more
            raise
        except asyncio.CancelledError:
            self._stop_grace = 0.0  # who cancels does not wait
            self._take([task for task in self._tasks if task.done()], ended, stops=False)
            raise
        except BaseException:
            await self._stop(ended)
            raise

    async def _stop(self, ended: EndedCalls) -> None:
        """Start no more calls, and wait a moment for those under way."""
        for call in [*self._queue, *self._tasks.values()]:
            call.revoke()
        if self._tasks:
            done, _ = await asyncio.wait(self._tasks, timeout=self._stop_grace)
            self._take(done, ended, stops=False)

    def _start(self) -> None:
        while self._queue and len(self._tasks) < self._size:
            call = self._queue.popleft()
            self._tasks[asyncio.ensure_future(_sent(call))] = call

    def _patience(self) -> float:
        """Seconds until somebody must be looked after."""
        moments = [self._renewed_at + RENEWAL, monotonic() + self._timeout]  # for calls that start meanwhile
        moments += [call.since + self._timeout for call in self._tasks.values() if call.has_started]
        moments += [call.gate.closes for call in self._queue if call.gate.closes is not None]
        return max(0.001, min(moments) - monotonic())

    def _take(
        self, done: Iterable[asyncio.Task[Outcome | BaseException]], ended: EndedCalls, *, stops: bool = True
    ) -> None:
        stopping = None
        for task in done:
            call = self._tasks.pop(task)
            if task.cancelled():
                now = call.gate.clock.now()
                ended.append((call, Outcome("abandoned", now, now)))
                continue
            outcome = task.result()
            if isinstance(outcome, BaseException):
                stopping = outcome
            else:
                ended.append((call, outcome))
        if stopping is not None and stops:
            raise stopping

    def _abandon_late(self, ended: EndedCalls) -> None:
        late = [task for task, call in self._tasks.items() if call.has_started and call.age >= self._timeout]
        for task in late:
            call = self._tasks.pop(task)
            logger.warning(LEFT_BEHIND, call.delivery.key, self._timeout)
            task.cancel()
            ended.append((call, call.timed_out(self._timeout)))

    def _return_late(self, ended: EndedCalls) -> None:
        """Let calls go that no task has come to in time."""
        late = [call for call in self._queue if call.gate.is_late]
        for call in late:
            self._queue.remove(call)
            ended.append((call, call.not_started()))

    async def _renew_due(self, others: Sequence[Call]) -> None:
        if monotonic() - self._renewed_at >= RENEWAL:
            self._renewed_at = monotonic()
            await self._renew([*(call for call in self._tasks.values() if call.has_started), *others])

    async def close(self) -> None:
        """Cancel what is still under way; what does not end then is left behind."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_GRACE)


async def _sent(call: Call) -> Outcome | BaseException:
    try:
        return await send_async(call, _in_own_thread)
    except (KeyboardInterrupt, SystemExit) as error:  # raised where the drain is, not in the loop
        return error


async def _in_own_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function that blocks in a thread that the end of the process does not wait for."""
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    future: asyncio.Future[Any] = loop.create_future()

    def resolve(answer: Any, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)

    def run() -> None:
        answer, failure = None, None
        try:
            answer = context.run(function, *arguments)
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(resolve, answer, failure)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.warning("a call ended after its loop was closed")

    threading.Thread(target=run, name="notifykit-call", daemon=True).start()
    return await future
