"""What the demo prints: a few tables that fit 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from sqlalchemy import make_url

from notifykit.cli.demo.command import Story
from notifykit.results import Execution

NUMBERS = {"Triggers", "Messages"}
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[.\d]*\+00:00")


def of(story: Story) -> Iterator[RenderableType]:
    """The tables of one story, in the order of its telling.

    Args:
        story: What the demo did.

    Yields:
        What to print.
    """
    yield _summary(story)
    yield _table("Triggers by status", ("Status", "Triggers"), story.results.items())
    yield _table("Messages by channel and status", ("Channel", "Status", "Messages"), story.messages)
    if star := story.star:
        inbox = [("" if line.read_at else "●", line.subject or "", line.body) for line in story.inbox]
        yield _table(f"Inbox of {star.name or star.id}, {story.unread:,} unread", ("", "Subject", "Message"), inbox)
        about = story.trace[0].transaction_id[:19] if story.trace else "nothing"
        lines = [(f"{line.at:%H:%M:%S}", line.step or "", line.kind, _why(line)) for line in story.trace]
        yield _table(f"Trace of {about} for {star.name or star.id}", ("At (UTC)", "Step", "What", "Why"), lines)
    if quiet := story.quiet:
        name = quiet.name or quiet.id
        asked = (
            f"Having opted out now, would {name} get the e-mail?" if story.alone else f"Why did {name} get no e-mail?"
        )
        title = Text(asked, style="bold")
        yield Group(title, Padding(Text(story.why_not), (0, 0, 1, 1)))


def _summary(story: Story) -> RenderableType:
    history, drained = story.history, story.drained
    rows = {
        "history": history.title,
        "people": f"{len(history.people):,} subscribers, {story.bad_addresses:,} of them without a mail address",
        "topics": f"{len(history.folders):,} top folders",
        "triggers": f"{sum(story.results.values()):,} in one call and one transaction",
        "runs": f"{story.runs:,} in {story.bulk_seconds:.2f} s: {_rate(story.runs, story.bulk_seconds)}",
        "read": f"{story.read:,} messages by {story.readers:,} people",
        "an hour later": f"{drained.advanced:,} runs went on, {drained.sent:,} e-mails were written and"
        f" {drained.failed:,} failed in {story.drain_seconds:.2f} s: {_rate(drained.advanced, story.drain_seconds)}",
        "database": make_url(story.url).render_as_string(hide_password=True),
        "e-mails": str(story.letters.folder),
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return Padding(table, (1, 0))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else cell) for cell in row))
    return Padding(Group(Text(title, style="bold"), table), (0, 0, 1, 0))


def _why(line: Execution) -> str:
    told = ", ".join(str(value) if name == "rule" else f"{name} {value}" for name, value in line.data.items())
    return MOMENT.sub(r"\1 \2", ": ".join(part for part in (line.reason, told) if part))


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.0f} a second" if seconds else "at once"
