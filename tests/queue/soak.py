"""One process of the soak: threads that use every verb of one engine at once, until the time is over.

`python -m tests.queue.soak URL SECONDS SEED FOLDER` writes what it did to a file of the folder.
"""

from __future__ import annotations

import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import notifykit as nk
from notifykit.errors import StorageError

THREADS = 4
PEOPLE = [f"user-{n}" for n in range(24)]
TOPIC = "all"
AGAIN = timedelta(seconds=1)
WORKFLOWS = (
    nk.Workflow("plain", steps=[nk.Email("mail", subject="s", body="b")]),
    nk.Workflow(
        "awaiting", steps=[nk.Email("mail", subject="s", body="b", stop_on_fail=True), nk.InApp("bell", body="b")]
    ),
    nk.Workflow(
        "delayed",
        steps=[nk.InApp("bell", body="b"), nk.Delay("wait", seconds=0.5), nk.Email("mail", subject="s", body="b")],
    ),
    nk.Workflow(
        "asking",
        steps=[nk.Custom("score", lambda context: {"points": 1}), nk.Email("mail", subject="s", body="b")],
    ),
)


class Ahead:
    """The system's clock, so much later."""

    def __init__(self) -> None:
        self.by = timedelta()

    def now(self) -> datetime:
        """The present of the soak's end."""
        return datetime.now(UTC) + self.by


class Calls:
    """Writes down each call to the outside: its message, when it begins and how it ends."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def note(self, *words: str) -> None:
        """One line."""
        with self._lock:
            self._file.write(" ".join(words) + "\n")

    def serve(self, notify: nk.Engine, chances: random.Random, *, fails: bool = True) -> None:
        """Be the outside of an engine; some calls fail."""

        @notify.deliver("email")
        def send(message: nk.EmailMessage) -> str:
            self.note(message.idempotency_key, "begins")
            dice = chances.random() if fails else 1.0
            if dice < 0.1:
                self.note(message.idempotency_key, "permanent")
                raise nk.PermanentDeliveryError("no")
            if dice < 0.2:
                self.note(message.idempotency_key, "transient")
                raise nk.TransientDeliveryError("busy", retry_after=AGAIN)
            self.note(message.idempotency_key, "sent")
            return "receipt"

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Hand:
    """One thread's verbs."""

    def __init__(self, notify: nk.Engine, seed: str) -> None:
        self.notify = notify
        self.chances = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.made: list[str] = []

    def work(self, end: float) -> None:
        """Verbs, until then."""
        while time.monotonic() < end:
            name = self.chances.choices(list(VERBS), [weight for weight, _ in VERBS.values()])[0]
            try:
                VERBS[name][1](self)
            except Exception as error:
                self.errors[f"{name}: {named(error)}"] += 1
            self.done[name] += 1

    def who(self) -> str:
        """Somebody."""
        return self.chances.choice(PEOPLE)

    def some(self) -> list[str]:
        """A few people."""
        return self.chances.sample(PEOPLE, self.chances.randint(1, 4))

    def trigger(self) -> None:
        """For a few, for an address, or for a topic."""
        to: Any = self.chances.choice([self.some(), nk.Recipient(email="new@example.com"), nk.Topic(TOPIC)])
        self.made.append(self.notify.trigger(self.chances.choice(WORKFLOWS), to=to).transaction_id)

    def bulk(self) -> None:
        """Several at once."""
        self.notify.trigger_bulk([nk.Trigger(self.chances.choice(WORKFLOWS), to=self.some()) for _ in range(5)])

    def cancel(self) -> None:
        """An event, or what one person is sent, or that of one workflow."""
        if self.made and self.chances.random() < 0.6:
            self.notify.cancel(self.chances.choice(self.made[-20:]))
        elif self.chances.random() < 0.8:
            self.notify.cancel(subscriber=self.who())
        else:
            self.notify.cancel(workflow=self.chances.choice(WORKFLOWS), subscriber=self.who())

    def retry(self) -> None:
        """What failed."""
        self.notify.messages.retry(self.notify.messages.list(status=["failed", "unknown"], limit=10))

    def delete(self) -> None:
        """Somebody goes and comes again."""
        who = self.who()
        try:
            self.notify.subscribers.delete(who)
        finally:
            self.upsert(who)

    def upsert(self, who: str | None = None) -> None:
        """Somebody has an address, and is in the topic."""
        self.notify.subscribers.upsert(who or self.who(), email="someone@example.com")
        if who:
            self.notify.topics.add(TOPIC, [who])

    def prefer(self) -> None:
        """In or out."""
        self.notify.preferences.update(self.who(), channels={"email": self.chances.random() < 0.7})

    def read(self) -> None:
        """An inbox is looked at and marked."""
        inbox = self.notify.inbox(self.who())
        inbox.mark("read", [message.id for message in inbox.list(limit=5)])
        if self.chances.random() < 0.2:
            inbox.mark_all("seen")

    def look(self) -> None:
        """Lists."""
        self.notify.runs.list(limit=20)
        self.notify.messages.list(limit=20)
        if self.made:
            self.notify.executions.list(transaction_id=self.made[-1])


VERBS: dict[str, tuple[int, Callable[[Hand], Any]]] = {
    "trigger": (8, Hand.trigger),
    "trigger_bulk": (2, Hand.bulk),
    "drain": (8, lambda hand: hand.notify.drain(seconds=0.1)),
    "cancel": (4, Hand.cancel),
    "retry": (3, Hand.retry),
    "delete": (2, Hand.delete),
    "upsert": (1, Hand.upsert),
    "prefer": (3, Hand.prefer),
    "read": (4, Hand.read),
    "look": (1, Hand.look),
}
DOCUMENTED = {
    "cancel: NotFoundError", "delete: NotFoundError", "prefer: NotFoundError",
}  # fmt: skip
"""Somebody else deleted who was meant."""


def named(error: Exception) -> str:
    """An error's kind, and what a database said."""
    if isinstance(error, nk.NotifyKitError) and not isinstance(error, StorageError):
        return type(error).__name__
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__} ({re.sub(r'[0-9]+', 'N', first)})"


@contextmanager
def opened(url: str, folder: Path, name: str, **options: Any) -> Iterator[nk.Engine]:
    """An engine with an outside that writes its calls down."""
    fails = options.pop("fails", True)
    calls = Calls(folder / f"{name}.calls")
    try:
        with nk.Engine(url, workflows=WORKFLOWS, **options) as notify:
            calls.serve(notify, random.Random(name), fails=fails)
            yield notify
    finally:
        calls.close()


def main(url: str, seconds: str, seed: str, folder: str) -> None:
    """Work in some threads, and write down what was done."""
    with opened(url, Path(folder), seed) as notify:
        notify.runs.list(limit=1)
        print("ready", flush=True)
        sys.stdin.readline()
        end = time.monotonic() + float(seconds)
        hands = [Hand(notify, f"{seed}-{number}") for number in range(THREADS)]
        threads = [threading.Thread(target=hand.work, args=(end,)) for hand in hands]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    done, errors = (sum((getattr(hand, kind) for hand in hands), Counter[str]()) for kind in ("done", "errors"))
    (Path(folder) / f"{seed}.json").write_text(json.dumps({"done": done, "errors": errors}))


if __name__ == "__main__":
    main(*sys.argv[1:])
