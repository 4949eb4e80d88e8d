"""What makes calls to the outside on the sync notifier: the thread that drains, or threads beside each other."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Protocol

from notifykit.clock import monotonic
from notifykit.delivery.calls import Call
from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.sending import send
from notifykit.settings import LEASE_RENEWAL, STOP_GRACE
from notifykit.worker.commands import EndedCalls, SendCalls

logger = logging.getLogger("notifykit.worker")

RenewLeases = Callable[[Collection[Call]], None]
"""Renews the leases of calls under way."""
RENEWAL = LEASE_RENEWAL.total_seconds()
LEFT_BEHIND = "the call for %s does not end within %g seconds: left behind"


class CallExecutor(Protocol):
    """Makes the calls of a drain."""

    def execute(self, batch: SendCalls) -> None:
        """Start calls, and return when at least one of those under way has ended; or start no more."""
        ...

    def close(self) -> None:
        """Let go of threads."""


def call_executor(concurrency: int, timeout: float, renew: RenewLeases) -> CallExecutor:
    """What makes calls: one after the other, or several at once.

    Args:
        concurrency: How many at once.
        timeout: Seconds that one of several may take.
        renew: Renews leases.
    """
    return SerialExecutor(renew) if concurrency == 1 else ThreadExecutor(concurrency, timeout, renew)


class SerialExecutor:
    """Calls one after the other, in the thread that drains."""

    def __init__(self, renew: RenewLeases) -> None:
        """No call yet."""
        self._leases = LeaseRenewer(renew)

    def execute(self, batch: SendCalls) -> None:
        """Make the calls."""
        with self._leases.of(batch):
            for call in batch.calls:
                batch.ended.append((call, send(call)))

    def close(self) -> None:
        """End the thread that renews leases."""
        self._leases.close()


class LeaseRenewer:
    """Renews the lease of a call that takes long, from a thread that lives as long as its drain.

    The calling thread is inside the host's function and cannot do it. Where every call is quick the thread only waits.
    """

    def __init__(self, renew: RenewLeases) -> None:
        """Start nothing yet."""
        self._renew = renew
        self._batch = SendCalls()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def of(self, batch: SendCalls) -> Iterator[None]:
        """Renew the leases of these calls while one of them takes long: those that have ended are recorded after it."""
        if self._thread is None and any(not call.sender.is_inline for call in batch.calls):
            thread = threading.Thread(target=self._run, name="notifykit-lease", daemon=True)
            thread.start()
            self._thread = thread
        self._batch = batch
        try:
            yield
        finally:
            self._batch = SendCalls()

    def _run(self) -> None:
        while not self._closed.wait(RENEWAL):
            started = [call for call in self._batch.calls if call.has_started]
            try:
                if any(not call.seconds and call.age >= RENEWAL for call in started):
                    self._renew([*started, *self._batch.unrecorded])
            except Exception:  # the next round tries again, as long as the lease lasts
                logger.exception("the lease of a call that takes long could not be renewed")

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()


class ThreadExecutor:
    """Several calls at once, in threads of this drain's own; one that hangs is left behind."""

    def __init__(self, size: int, timeout: float, renew: RenewLeases) -> None:
        """No thread yet.

        Args:
            size: How many calls at once.
            timeout: Seconds after which the end of a call is not waited for any more.
            renew: Renews leases.
        """
        self._size = size
        self._timeout = timeout
        self._renew = renew
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._finished: SimpleQueue[tuple[Call, Outcome | BaseException]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way: set[Call] = set()
        self._abandoned: set[Call] = set()
        self._renewed_at = monotonic()

    def execute(self, batch: SendCalls) -> None:
        """Start calls, and wait until one has ended."""
        ended = batch.ended
        if batch.stops:
            self._stop(ended)
            return
        self._under_way.update(batch.calls)
        for call in batch.calls:
            self._queue.put(call)
        try:
            self._start()
            while self._under_way and not ended:
                self._take(ended, self._patience())
                self._abandon_late(ended)
                self._return_late(ended)
                self._renew_due(batch.unrecorded)
            while not self._finished.empty():
                self._take(ended, 0)
        except BaseException:
            self._stop(ended)
            raise

    def _stop(self, ended: EndedCalls) -> None:
        """Start no more calls, and wait a moment for those under way."""
        for call in self._under_way:
            call.revoke()
        deadline = monotonic() + STOP_GRACE
        while (left := deadline - monotonic()) > 0 and any(call.has_started for call in self._under_way):
            self._take(ended, left, stops=False)

    def _start(self) -> None:
        while len(self._threads) < min(self._size, len(self._under_way)):
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(self._work,), name="notifykit-call", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            try:
                self._finished.put((call, send(call)))
            except BaseException as error:  # what stops the process is raised where the drain is
                self._finished.put((call, error))
            if call in self._abandoned:
                return

    def _patience(self) -> float:
        """Seconds until somebody must be looked after."""
        moments = [self._renewed_at + RENEWAL, monotonic() + self._timeout]  # for calls that start meanwhile
        for call in self._under_way:
            if call.has_started:
                moments.append(call.since + self._timeout)
            elif call.gate.closes is not None and not call.since:
                moments.append(call.gate.closes)
        return max(0.001, min(moments) - monotonic())

    def _take(self, ended: EndedCalls, seconds: float, *, stops: bool = True) -> None:
        try:
            call, outcome = self._finished.get(timeout=seconds)
        except Empty:
            return
        if call not in self._under_way:
            return  # it was overdue, or given back
        if isinstance(outcome, BaseException):
            self._under_way.discard(call)
            if stops:
                raise outcome
            return
        self._under_way.discard(call)
        ended.append((call, outcome))

    def _abandon_late(self, ended: EndedCalls) -> None:
        for call in [call for call in self._under_way if call.has_started and call.age >= self._timeout]:
            logger.warning(LEFT_BEHIND, call.delivery.key, self._timeout)
            self._abandoned.add(call)
            self._under_way.discard(call)
            self._size += 1  # its thread serves nobody any more
            ended.append((call, call.timed_out(self._timeout)))
            self._start()

    def _return_late(self, ended: EndedCalls) -> None:
        """Let calls go that no thread has come to in time."""
        for call in [call for call in self._under_way if not call.since and call.gate.is_late]:
            if call.revoke():
                self._under_way.discard(call)
                ended.append((call, call.not_started()))

    def _renew_due(self, others: Sequence[Call]) -> None:
        if monotonic() - self._renewed_at >= RENEWAL:
            self._renewed_at = monotonic()
            self._renew([*(call for call in self._under_way if call.has_started), *others])

    def close(self) -> None:
        """End the threads, but for those that are left behind."""
        for _ in self._threads:
            self._queue.put(None)
        if not self._abandoned and not any(call.has_started for call in self._under_way):
            for thread in self._threads:
                thread.join()
