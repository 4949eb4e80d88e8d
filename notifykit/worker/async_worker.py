"""The awaited twin of `notifykit.worker.worker`."""

from __future__ import annotations

from collections.abc import Collection, Generator
from functools import partial
from typing import Any, TypeVar

from notifykit.delivery.calls import Call
from notifykit.delivery.sending import renew_leases
from notifykit.results import DrainReport, TriggerResult
from notifykit.unit_of_work.async_contexts import AsyncAutocommitContext
from notifykit.unit_of_work.unit import Repeatable
from notifykit.worker.async_executors import async_call_executor
from notifykit.worker.claim_sizer import ClaimSizer
from notifykit.worker.commands import DrainOptions, RunInUnit, SendCalls
from notifykit.worker.draining import drain, finish

T = TypeVar("T")


class AsyncWorker:
    """Does what is due, and records how it ended before its engine closes."""

    def __init__(self, context: AsyncAutocommitContext) -> None:
        """Work by the transactions of an engine."""
        self._context = context
        self._sizer = ClaimSizer()

    async def drain(
        self, only: TriggerResult | None, seconds: float | None, concurrency: int, timeout: float
    ) -> DrainReport:
        """Do everything that is due now.

        Raises:
            InputError: An argument is refused.
            UnitError: A unit of this engine is open here.
        """
        options = DrainOptions(seconds, concurrency, timeout)
        return await self._run(drain(self._context.runtime, self._sizer, only, options), options)

    async def close(self) -> None:
        """Record what drains could not, and close the engine."""
        runtime = self._context.runtime
        if runtime.unrecorded and not runtime.closed:
            await self._context.flush_deferred()
            await self._run(finish(runtime), DrainOptions())
        await self._context.close()

    async def _run(self, steps: Generator[RunInUnit[Any] | SendCalls, Any, T], options: DrainOptions) -> T:
        """Carry out units and calls to the outside in turn, until none is left."""
        context, runtime = self._context, self._context.runtime
        executor = async_call_executor(options.concurrency, options.timeout, self._renew)
        runtime.drains += 1
        try:
            command = next(steps)
            while True:
                answer: Any = None
                try:
                    if isinstance(command, RunInUnit):
                        work, is_last = Repeatable(command.work), command.is_last
                        answer = await context.run(work, write=command.write, wait=command.wait, is_last=is_last)
                    else:
                        await executor.execute(command)
                except BaseException as error:  # the drain decides
                    command = steps.throw(error)
                else:
                    command = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            try:
                await executor.close()
            finally:
                runtime.drains -= 1
                if runtime.closed and not runtime.drains:
                    await runtime.database.close()

    async def _renew(self, calls: Collection[Call]) -> None:
        await self._context.run(Repeatable(partial(renew_leases, calls)), write=True)
