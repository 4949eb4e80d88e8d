"""The awaited twin of `notifykit.worker.worker`."""

from __future__ import annotations

from collections.abc import Collection, Generator
from functools import partial
from typing import Any, TypeVar

from notifykit.delivery.sending import Call, renew
from notifykit.results import DrainReport, TriggerResult
from notifykit.unit_of_work.async_contexts import AsyncAutocommitContext
from notifykit.unit_of_work.unit import Repeatable
from notifykit.worker.async_calling import awaited_calling
from notifykit.worker.draining import drain, finish
from notifykit.worker.pace import Pace
from notifykit.worker.work import Options, Send, Work

T = TypeVar("T")


class AsyncWorker:
    """Does what is due, and tells how it ended before its engine closes."""

    def __init__(self, context: AsyncAutocommitContext) -> None:
        """Work by the transactions of an engine."""
        self._context = context
        self._pace = Pace()

    async def drain(
        self, only: TriggerResult | None, seconds: float | None, concurrency: int, timeout: float
    ) -> DrainReport:
        """Do everything that is due now.

        Raises:
            InputError: An argument is refused.
            UnitError: A unit of this engine is open here.
        """
        options = Options(seconds, concurrency, timeout)
        return await self._run(drain(self._context.runtime, self._pace, only, options), options)

    async def close(self) -> None:
        """Record what drains could not, and close the engine."""
        runtime = self._context.runtime
        if runtime.unrecorded and not runtime.closed:
            await self._context.flush_deferred()
            await self._run(finish(runtime), Options())
        await self._context.close()

    async def _run(self, steps: Generator[Work[Any] | Send, Any, T], options: Options) -> T:
        """Do units and calls to the outside in turn, until none is left."""
        context, runtime = self._context, self._context.runtime
        calls = awaited_calling(options.concurrency, options.timeout, self._renew)
        runtime.drains += 1
        try:
            step = next(steps)
            while True:
                answer: Any = None
                try:
                    if isinstance(step, Work):
                        work = Repeatable(step.call)
                        answer = await context.run(work, write=step.write, wait=step.wait, is_last=step.is_last)
                    else:
                        await calls.make(step)
                except BaseException as error:  # the way of due work decides
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            try:
                await calls.close()
            finally:
                runtime.drains -= 1
                if runtime.closed and not runtime.drains:
                    await runtime.database.close()

    async def _renew(self, calls: Collection[Call]) -> None:
        await self._context.run(Repeatable(partial(renew, calls)), write=True)
