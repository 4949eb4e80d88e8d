"""The demo's story: a git history becomes notifications, some are read, an hour passes, the rest is mailed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sqlalchemy import func, select
from sqlmodel import col

import notifykit as nk
from notifykit.cli.demo import news
from notifykit.cli.demo.history import Commit, History, Person
from notifykit.cli.demo.letters import Letters
from notifykit.clock import SystemClock, monotonic
from notifykit.model.codes import ChannelCode, MessageStatus
from notifykit.model.message import Message
from notifykit.store.database import Database

MEMBERS = 20
INBOX = 8
BUSY = 12


class DemoClock:
    """The system's clock, moved ahead as far as the story goes."""

    def __init__(self) -> None:
        """Start at the present."""
        self._real = SystemClock()
        self._ahead = timedelta()

    def now(self) -> datetime:
        """The story's present."""
        return self._real.now() + self._ahead

    def forward(self, by: timedelta) -> None:
        """Let time pass."""
        self._ahead += by


@dataclass
class Story:
    """What the demo did, for the tables that tell it."""

    history: History
    url: str
    letters: Letters
    bad_addresses: int = 0
    results: Mapping[nk.Status, int] = field(default_factory=dict)
    runs: int = 0
    bulk_seconds: float = 0
    read: int = 0
    readers: int = 0
    drained: nk.DrainReport = field(default_factory=nk.DrainReport)
    drain_seconds: float = 0
    messages: Sequence[tuple[str, str, int]] = ()
    star: Person | None = None
    unread: int = 0
    inbox: Sequence[nk.InboxMessage[Any]] = ()
    trace: Sequence[nk.Execution] = ()
    alone: bool = False
    quiet: Person | None = None
    why_not: str = ""


def play(history: History, *, url: str, letters: Letters, console: Console) -> Story:
    """Tell a history to its people.

    Args:
        history: Commits, people and folders.
        url: The database.
        letters: Where e-mails go.
        console: Where progress is shown.

    Returns:
        What there is to show.
    """
    clock = DemoClock()
    story = Story(history, url, letters)
    with (
        nk.Engine(url, workflows=[news.commit_pushed, news.release_published], clock=clock) as notify,
        _progress(console) as bar,
    ):
        cast = Cast.gather(notify, history, story)
        _tell(notify, cast, story, bar)
        _read(notify, cast, story)
        clock.forward(timedelta(hours=1))
        _remind(notify, clock, story, bar)
        _look(notify, cast, story)
    return story


@dataclass
class Cast:
    """Who plays: members of each folder, and how often everybody was told something."""

    members: Mapping[str, Sequence[str]]
    told: Counter[str] = field(default_factory=Counter)
    quiet: str | None = None
    quiet_at: Commit | None = None
    alone: bool = False

    @classmethod
    def gather(cls, notify: nk.Engine, history: History, story: Story) -> Cast:
        """Make people subscribers and folders topics; one person wants no e-mail about commits."""
        cast = cls(history.members(MEMBERS), alone=len(history.people) == 1)
        with notify.transaction() as unit:
            story.bad_addresses = _subscribe(unit, list(history.people.values()))
            for folder, members in cast.members.items():
                unit.topics.add(folder, members)
            folders_of = Counter(who for members in cast.members.values() for who in members)
            if folders_of:
                cast.quiet = folders_of.most_common(2)[-1][0]
                if not cast.alone:
                    cast.mute(unit)
        return cast

    def mute(self, notifier: nk.Notifier) -> None:
        """Let the quiet person opt out of e-mail about commits."""
        if self.quiet is not None:
            notifier.preferences.update(self.quiet, workflow=news.commit_pushed, channels={"email": False})

    def triggers(self, history: History) -> Iterator[nk.Trigger]:
        """One trigger for each commit and each tag, oldest first."""
        for commit in history:
            yield news.of_commit(commit, alone=self.alone)
            told = {who for folder in commit.folders for who in self.members[folder]}
            told -= set() if self.alone else {commit.author}
            self.told.update(told)
            if self.quiet in told:
                self.quiet_at = commit
            for tag in commit.tags:
                yield news.of_tag(tag, commit)


def _subscribe(notifier: nk.Notifier, people: Sequence[Person]) -> int:
    """Store everybody; what a history gives in place of an address is left out. Returns how often."""
    rows = [{"subscriberId": who.id, "firstName": who.name or who.id} for who in people]
    mails = [{"email": who.email} if who.email else {} for who in people]
    refused = notifier.subscribers.bulk_upsert(row | mail for row, mail in zip(rows, mails, strict=True)).failed
    notifier.subscribers.bulk_upsert(rows[position] for position in refused)
    return len(refused) + mails.count({})


def _tell(notify: nk.Engine, cast: Cast, story: Story, bar: Progress) -> None:
    total = story.history.commits + story.history.tags
    task = bar.add_task("Triggering", total=total)
    start = monotonic()
    results = notify.trigger_bulk(cast.triggers(story.history), progress=lambda done: bar.update(task, completed=done))
    story.bulk_seconds = monotonic() - start
    story.results = results.counts
    story.runs = sum(result.recipients for result in results)


def _read(notify: nk.Engine, cast: Cast, story: Story) -> None:
    """Most people read what there is; every third does not, up to a dozen, nor does the one whose inbox is shown."""
    names = sorted(cast.told)
    star = max(names, key=lambda who: cast.told[who], default=None)
    busy = {star, *names[::3][:BUSY]}
    readers = [who for who in names if who not in busy]
    with notify.transaction() as unit:
        story.read = sum(unit.inbox(who).mark_all("read") for who in readers)
    story.readers = len(readers)
    story.star = story.history.people[star] if star else None


def _remind(notify: nk.Engine, clock: DemoClock, story: Story, bar: Progress) -> None:
    task = bar.add_task("E-mails", total=None)

    @notify.deliver("email")
    def write(message: nk.EmailMessage) -> str:
        receipt = story.letters.write(message, clock)
        bar.update(task, completed=story.letters.written)
        return receipt

    start = monotonic()
    story.drained = notify.drain()
    story.drain_seconds = monotonic() - start
    bar.update(task, total=story.letters.written, completed=story.letters.written)


def _look(notify: nk.Engine, cast: Cast, story: Story) -> None:
    story.messages = _counts(story.url)
    if story.star:
        box = notify.inbox(story.star.id)
        story.unread = box.unread_count()
        story.inbox = box.list(limit=INBOX).items
        about = box.list(workflow=news.commit_pushed, limit=1).items
        if about:
            story.trace = notify.executions.list(transaction_id=about[0].transaction_id, subscriber=story.star.id)
    if cast.quiet and cast.quiet_at:
        cast.mute(notify)
        story.alone = cast.alone
        commit = cast.quiet_at
        notice, to = news.notice(commit), news.topics(commit)
        plan = notify.explain(notice, to=to) if cast.alone else notify.explain(notice, to=to, actor=commit.author)
        story.quiet = story.history.people[cast.quiet]
        story.why_not = plan.why_not(cast.quiet)


def _counts(url: str) -> list[tuple[str, str, int]]:
    """How many messages there are of each channel and status, from the tables that a host may read too."""
    kind = col(Message.channel), col(Message.status)
    counted = select(*kind, func.count()).group_by(*kind)
    database = Database.open(url, durability="normal")
    try:
        with database.transaction(write=False) as connection:
            rows = sorted(tuple(row) for row in connection.execute(counted))
    finally:
        database.close()
    return [(ChannelCode(channel).word, MessageStatus(status).word, count) for channel, status, count in rows]


def _progress(console: Console) -> Progress:
    count = MofNCompleteColumn()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
    return Progress(*columns, console=console)
