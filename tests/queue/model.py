"""What the queue promises of each message, without any SQL: which calls may begin, and how it may end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from notifykit.settings import ATTEMPTS, LEASE, RESCUES

FINAL = {"sent": "sent", "permanent": "failed"}


@dataclass
class Run:
    """One event for one subscriber."""

    event: str
    who: str
    is_stopped: bool = False


@dataclass
class Mail:
    """One message to the outside.

    Attributes:
        calls: How each call ended as the outside saw it: `sent`, `permanent`, `transient`, or `dark`, without an end.
        may_begin: Another call may begin.
        not_before: When: a call whose worker died is made again after its lease.
        pardons: How many calls may begin although it was stopped: it had been claimed by then.
        lifted: It was queued again after its run was stopped.
        crashes: Deaths of workers between a claim of it and its call.
        is_stoppable: A cancel, a deletion or an opt-out came before its end.
        lost: How many of the calls may have been forgotten.
    """

    calls: list[str] = field(default_factory=list)
    may_begin: bool = True
    not_before: datetime | None = None
    pardons: int = 0
    lifted: bool = False
    crashes: int = 0
    is_stoppable: bool = False
    lost: int = 0


class Model:
    """What has happened, and what may happen now; `wrong` is what must not have happened."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.runs: dict[int, Run] = {}
        self.mails: dict[int, Mail] = {}
        self.refusing: set[str] = set()
        self.refused_once: set[str] = set()
        self.wrong: list[str] = []

    def triggered(self, event: str, runs: Iterable[tuple[int, str]]) -> None:
        """An event has runs."""
        self.runs |= {run: Run(event, who) for run, who in runs}

    def mail(self, row: int) -> Mail:
        """A message; made when it is first heard of."""
        return self.mails.setdefault(row, Mail())

    def begins(self, row: int, outcome: str) -> None:
        """A call begins, and will end like that."""
        mail, run = self.mail(row), self.runs[row >> 6]
        if not mail.may_begin:
            self.wrong.append(f"{row:x} is called again after {mail.calls}")
        if mail.not_before is not None and self.now() < mail.not_before:
            self.wrong.append(f"{row:x} is called beside a call that may still be under way")
        if (run.is_stopped and not mail.lifted) or run.who in self.refusing:
            mail.pardons -= 1
            if mail.pardons < 0:
                why = "stopped" if run.is_stopped else "refused"
                self.wrong.append(f"{row:x} is called although it was {why}")
        mail.calls.append(outcome)
        mail.may_begin, mail.not_before = outcome == "transient", None

    def interrupted(self, begun: Iterable[int], open_: set[int], *, deadly: bool, claimed: Iterable[int]) -> None:
        """A worker was interrupted in a drain: what it had begun and is queued yet may begin again.

        `claimed` is what it leaves behind; where it has died, that is lost until its lease ends.
        """
        begun, claimed = list(begun), set(claimed)
        for row in begun:
            mail = self.mail(row)
            if row in open_:
                mail.may_begin, mail.lost = True, mail.lost + 1
            if row in open_ and row in claimed and deadly:
                mail.may_begin, mail.not_before = True, self.now() + LEASE
        if deadly:
            for row in claimed - set(begun):
                self.mail(row).crashes += 1

    def stopped(self, is_meant: Callable[[Run], bool], rows: Iterable[int], claimed: Iterable[int]) -> None:
        """A cancel or a deletion of some runs has returned; of all these rows, the claimed may begin yet."""
        self._pardon(is_meant, rows, claimed)
        for run in filter(is_meant, self.runs.values()):
            run.is_stopped = True
        for row, mail in self.mails.items():
            if is_meant(self.runs[row >> 6]):
                mail.lifted = False

    def refused(self, who: str, rows: Iterable[int], claimed: Iterable[int]) -> None:
        """An opt-out has returned."""
        self._pardon(lambda run: run.who == who, rows, claimed)
        self.refusing.add(who)
        self.refused_once.add(who)

    def _pardon(self, is_meant: Callable[[Run], bool], rows: Iterable[int], claimed: Iterable[int]) -> None:
        for row in rows:
            if row >> 6 in self.runs and is_meant(self.runs[row >> 6]):
                mail = self.mail(row)
                mail.is_stoppable, mail.pardons = True, int(row in set(claimed))

    def retried(self, row: int) -> None:
        """A retry queued a message again."""
        mail = self.mail(row)
        if mail.calls and mail.calls[-1] == "sent" and not mail.lost:
            self.wrong.append(f"{row:x} was sent and is queued again")
        mail.may_begin = mail.lifted = True
        mail.is_stoppable = mail.is_stoppable or self.runs[row >> 6].is_stopped

    def endings(self, row: int) -> set[str]:
        """How a message may have ended, once everything is done."""
        mail, run = self.mail(row), self.runs[row >> 6]
        if mail.calls and not mail.may_begin:
            return {FINAL.get(mail.calls[-1], "unknown")}
        found = (
            {"cancelled", "skipped"} if mail.is_stoppable or run.is_stopped or run.who in self.refused_once else set()
        )
        if mail.lost or "dark" in mail.calls:
            found |= {"unknown", *(FINAL[each] for each in mail.calls if each in FINAL)}
        if (
            "permanent" in mail.calls
            or mail.calls.count("transient") >= ATTEMPTS
            or mail.lost + mail.crashes >= RESCUES
        ):
            found.add("failed")
        return found

    def attempts(self, row: int) -> range:
        """How many attempts may be recorded: one for each call that began, no other."""
        mail = self.mail(row)
        return range(len(mail.calls) - mail.lost, len(mail.calls) + mail.crashes + 1)
