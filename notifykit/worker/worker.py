"""The worker of one engine: it does due work by the engine's own transactions and calls to the outside."""

from __future__ import annotations

from collections.abc import Collection, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from notifykit.unit_of_work.contexts import AutocommitContext
from notifykit.unit_of_work.unit import Repeatable

if TYPE_CHECKING:
    from notifykit.delivery.calls import Call
    from notifykit.results import DrainReport, TriggerResult
    from notifykit.worker.claim_sizer import ClaimSizer
    from notifykit.worker.commands import DrainOptions, RunInUnit, SendCalls

T = TypeVar("T")


class Worker:
    """Does what is due, and records how it ended before its engine closes.

    What only due work needs is imported at its first use.
    """

    def __init__(self, context: AutocommitContext) -> None:
        """Work by the transactions of an engine."""
        self._context = context
        self._sizer: ClaimSizer | None = None

    def drain(self, only: TriggerResult | None, seconds: float | None, concurrency: int, timeout: float) -> DrainReport:
        """Do everything that is due now.

        Raises:
            InputError: An argument is refused.
            UnitError: A unit of this engine is open here.
        """
        from notifykit.worker.claim_sizer import ClaimSizer
        from notifykit.worker.commands import DrainOptions
        from notifykit.worker.draining import drain

        options = DrainOptions(seconds, concurrency, timeout)
        self._sizer = self._sizer or ClaimSizer()
        return self._run(drain(self._context.runtime, self._sizer, only, options), options)

    def close(self) -> None:
        """Record what drains could not, and close the engine."""
        runtime = self._context.runtime
        if runtime.unrecorded and not runtime.closed:
            from notifykit.worker.commands import DrainOptions
            from notifykit.worker.draining import finish

            self._context.flush_deferred()
            self._run(finish(runtime), DrainOptions())
        self._context.close()

    def _run(self, steps: Generator[RunInUnit[Any] | SendCalls, Any, T], options: DrainOptions) -> T:
        """Carry out units and calls to the outside in turn, until none is left."""
        from notifykit.worker.commands import RunInUnit
        from notifykit.worker.executors import call_executor

        context, runtime = self._context, self._context.runtime
        executor = call_executor(options.concurrency, options.timeout, self._renew)
        runtime.drains += 1
        try:
            command = next(steps)
            while True:
                answer: Any = None
                try:
                    if isinstance(command, RunInUnit):
                        work = Repeatable(command.work)
                        answer = context.run(work, write=command.write, wait=command.wait, is_last=command.is_last)
                    else:
                        executor.execute(command)
                except BaseException as error:  # the drain decides
                    command = steps.throw(error)
                else:
                    command = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            try:
                executor.close()
            finally:
                runtime.drains -= 1
                if runtime.closed and not runtime.drains:
                    runtime.database.close()

    def _renew(self, calls: Collection[Call]) -> None:
        from notifykit.delivery.sending import renew_leases

        self._context.run(Repeatable(partial(renew_leases, calls)), write=True)
