"""The worker of one engine: it does due work by the engine's own transactions and calls to the outside."""

from __future__ import annotations

from collections.abc import Collection, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from notifykit.unit_of_work.contexts import AutocommitContext
from notifykit.unit_of_work.unit import Repeatable

if TYPE_CHECKING:
    from notifykit.delivery.sending import Call
    from notifykit.results import DrainReport, TriggerResult
    from notifykit.worker.pace import Pace
    from notifykit.worker.work import Options, Send, Work

T = TypeVar("T")


class Worker:
    """Does what is due, and tells how it ended before its engine closes.

    What only due work needs is imported at its first use.
    """

    def __init__(self, context: AutocommitContext) -> None:
        """Work by the transactions of an engine."""
        self._context = context
        self._pace: Pace | None = None

    def drain(self, only: TriggerResult | None, seconds: float | None, concurrency: int, timeout: float) -> DrainReport:
        """Do everything that is due now.

        Raises:
            InputError: An argument is refused.
            UnitError: A unit of this engine is open here.
        """
        from notifykit.worker.draining import drain
        from notifykit.worker.pace import Pace
        from notifykit.worker.work import Options

        options = Options(seconds, concurrency, timeout)
        self._pace = self._pace or Pace()
        return self._run(drain(self._context.runtime, self._pace, only, options), options)

    def close(self) -> None:
        """Record what drains could not, and close the engine."""
        runtime = self._context.runtime
        if runtime.unrecorded and not runtime.closed:
            from notifykit.worker.draining import finish
            from notifykit.worker.work import Options

            self._context.flush_deferred()
            self._run(finish(runtime), Options())
        self._context.close()

    def _run(self, steps: Generator[Work[Any] | Send, Any, T], options: Options) -> T:
        """Do units and calls to the outside in turn, until none is left."""
        from notifykit.worker.calling import calling
        from notifykit.worker.work import Work

        context, runtime = self._context, self._context.runtime
        calls = calling(options.concurrency, options.timeout, self._renew)
        runtime.drains += 1
        try:
            step = next(steps)
            while True:
                answer: Any = None
                try:
                    if isinstance(step, Work):
                        work = Repeatable(step.call)
                        answer = context.run(work, write=step.write, wait=step.wait, is_last=step.is_last)
                    else:
                        calls.make(step)
                except BaseException as error:  # the way of due work decides
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            try:
                calls.close()
            finally:
                runtime.drains -= 1
                if runtime.closed and not runtime.drains:
                    runtime.database.close()

    def _renew(self, calls: Collection[Call]) -> None:
        from notifykit.delivery.sending import renew

        self._context.run(Repeatable(partial(renew, calls)), write=True)
