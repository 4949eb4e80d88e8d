"""Calls to the outside on the sync notifier: in the thread that drains, or in threads beside each other."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Protocol

from notifykit.clock import monotonic
from notifykit.delivery.outcomes import Outcome
from notifykit.delivery.sending import Call, overdue, send
from notifykit.settings import LEASE_RENEWAL
from notifykit.worker.work import Send

logger = logging.getLogger("notifykit.worker")

Ended = list[tuple[Call, Outcome]]
Renew = Callable[[Collection[Call]], None]
"""Renews the leases of calls under way."""
RENEWAL = LEASE_RENEWAL.total_seconds()
LAST_MOMENT = 1.0
"""Seconds in which calls under way may end when a drain is stopped."""
LEFT_BEHIND = "the call for %s does not end within %g seconds: left behind"


class Calling(Protocol):
    """How the calls of a drain are made."""

    def make(self, batch: Send) -> None:
        """Begin calls, and return when at least one of those under way has ended; or begin no more."""
        ...

    def close(self) -> None:
        """Let go of threads."""


def calling(concurrency: int, timeout: float, renew: Renew) -> Calling:
    """How calls are made: one after the other, or several at once.

    Args:
        concurrency: How many at once.
        timeout: Seconds that one of several may take.
        renew: Renews leases.
    """
    return OneByOne(renew) if concurrency == 1 else Threads(concurrency, timeout, renew)


class OneByOne:
    """Calls one after the other, in the thread that drains."""

    def __init__(self, renew: Renew) -> None:
        """No call yet."""
        self._watch = LeaseWatch(renew)

    def make(self, batch: Send) -> None:
        """Make the calls."""
        with self._watch.over(batch):
            for call in batch.calls:
                batch.ended.append((call, send(call)))

    def close(self) -> None:
        """End the thread that renews leases."""
        self._watch.close()


class LeaseWatch:
    """Renews the lease of a call that takes long, from a thread that lives as long as its drain.

    The calling thread is inside the host's function and cannot do it. Where every call is quick the thread only waits.
    """

    def __init__(self, renew: Renew) -> None:
        """Start nothing yet."""
        self._renew = renew
        self._batch = Send()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, batch: Send) -> Iterator[None]:
        """Renew the leases of these calls while one of them takes long: those that have ended are recorded after it."""
        if self._thread is None and any(not call.sender.quick for call in batch.calls):
            thread = threading.Thread(target=self._watch, name="notifykit-lease", daemon=True)
            thread.start()
            self._thread = thread
        self._batch = batch
        try:
            yield
        finally:
            self._batch = Send()

    def _watch(self) -> None:
        while not self._over.wait(RENEWAL):
            begun = [call for call in self._batch.calls if call.has_begun]
            try:
                if any(not call.seconds and age(call) >= RENEWAL for call in begun):
                    self._renew([*begun, *self._batch.kept])
            except Exception:  # the next round tries again, as long as the lease lasts
                logger.exception("the lease of a call that takes long could not be renewed")

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()


class Threads:
    """Several calls at once, in threads of this drain's own; one that hangs is left behind."""

    def __init__(self, size: int, timeout: float, renew: Renew) -> None:
        """No thread yet.

        Args:
            size: How many calls at once.
            timeout: Seconds after which the end of a call is not waited for any more.
            renew: Renews leases.
        """
        self._size = size
        self._timeout = timeout
        self._renew = renew
        self._todo: SimpleQueue[Call | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Call, Outcome | BaseException]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way: set[Call] = set()
        self._left: set[Call] = set()
        self._renewed = monotonic()

    def make(self, batch: Send) -> None:
        """Begin calls, and wait until one has ended."""
        ended = batch.ended
        if batch.stops:
            self._stop(ended)
            return
        self._under_way.update(batch.calls)
        for call in batch.calls:
            self._todo.put(call)
        try:
            self._start()
            while self._under_way and not ended:
                self._take(ended, self._pause())
                self._leave_overdue(ended)
                self._give_back(ended)
                self._keep(batch.kept)
            while not self._done.empty():
                self._take(ended, 0)
        except BaseException:
            self._stop(ended)
            raise

    def _stop(self, ended: Ended) -> None:
        """Begin no more calls, and hear of those that end in a moment."""
        for call in self._under_way:
            call.revoke()
        deadline = monotonic() + LAST_MOMENT
        while (left := deadline - monotonic()) > 0 and any(call.has_begun for call in self._under_way):
            self._take(ended, left, stops=False)

    def _start(self) -> None:
        while len(self._threads) < min(self._size, len(self._under_way)):
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(self._serve,), name="notifykit-call", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self) -> None:
        while (call := self._todo.get()) is not None:
            try:
                self._done.put((call, send(call)))
            except BaseException as error:  # what stops the process is raised where the drain is
                self._done.put((call, error))
            if call in self._left:
                return

    def _pause(self) -> float:
        """Seconds until somebody must be looked after."""
        moments = [self._renewed + RENEWAL]
        for call in self._under_way:
            if call.has_begun:
                moments.append(call.since + self._timeout)
            elif call.window.closes is not None and not call.since:
                moments.append(call.window.closes)
        return max(0.001, min(moments) - monotonic())

    def _take(self, ended: Ended, seconds: float, *, stops: bool = True) -> None:
        try:
            call, outcome = self._done.get(timeout=seconds)
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

    def _leave_overdue(self, ended: Ended) -> None:
        for call in [call for call in self._under_way if call.has_begun and age(call) >= self._timeout]:
            logger.warning(LEFT_BEHIND, call.delivery.key, self._timeout)
            self._left.add(call)
            self._under_way.discard(call)
            self._size += 1  # its thread serves nobody any more
            ended.append((call, overdue(call, self._timeout)))
            self._start()

    def _give_back(self, ended: Ended) -> None:
        """Let calls go that no thread has come to in time."""
        for call in [call for call in self._under_way if not call.since and call.window.is_late]:
            if call.revoke():
                self._under_way.discard(call)
                ended.append((call, call.unsent()))

    def _keep(self, others: Sequence[Call]) -> None:
        if monotonic() - self._renewed >= RENEWAL:
            self._renewed = monotonic()
            self._renew([*(call for call in self._under_way if call.has_begun), *others])

    def close(self) -> None:
        """End the threads, but for those that are left behind."""
        for _ in self._threads:
            self._todo.put(None)
        if not self._left and not any(call.has_begun for call in self._under_way):
            for thread in self._threads:
                thread.join()


def age(call: Call) -> float:
    """Seconds since it was the turn of a call."""
    return monotonic() - call.since
