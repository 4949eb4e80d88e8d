"""What the demo prints: a few tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from sqlalchemy import make_url

from notifykit.cli.demo import Story


def of(story: Story) -> Iterator[RenderableType]:
    """The tables of one story, in the order of its telling.

    Args:
        story: What the demo did.

    Yields:
        What to print.
    """
    yield _summary(story)
    yield _triggers(story)
    yield _messages(story)
    if story.star:
        yield _inbox(story)
        yield _trace(story)
    if story.quiet:
        yield _why_not(story)


def _summary(story: Story) -> RenderableType:
    history = story.history
    drained = story.drained
    rows = {
        "history": history.title,
        "people": f"{len(history.people):,} subscribers, {story.bad_addresses:,} of them without a mail address",
        "topics": f"{len(history.folders):,} top folders",
        "triggers": f"{sum(story.results.values()):,} in one call and one transaction",
        "runs": f"{story.runs:,} in {story.bulk_seconds:.2f} s, {_rate(story.runs, story.bulk_seconds)}",
        "read": f"{story.read:,} messages by {story.readers:,} people",
        "an hour later": f"{drained.advanced:,} runs went on and {drained.sent:,} e-mails were sent in"
        f" {story.drain_seconds:.2f} s, {_rate(drained.advanced, story.drain_seconds)}",
        "database": make_url(story.url).render_as_string(hide_password=True),
        "e-mails": str(story.letters.folder),
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return Padding(table, (1, 0, 0, 1))


def _triggers(story: Story) -> RenderableType:
    table = _table("Triggers by status", "Status", "Triggers")
    for status, count in story.results.items():
        table.add_row(status, f"{count:,}")
    return table


def _messages(story: Story) -> RenderableType:
    table = _table("Messages by channel and status", "Channel", "Status", "Messages")
    for channel, status, count in story.messages:
        table.add_row(channel, status, f"{count:,}")
    return table


def _inbox(story: Story) -> RenderableType:
    assert story.star
    table = _table(f"Inbox of {story.star.name or story.star.id}: {story.unread:,} unread", "", "Subject", "Message")
    for message in story.inbox:
        mark = Text(" " if message.read_at else "●", style="bold cyan")
        table.add_row(mark, Text(message.subject or ""), Text(message.body))
    return table


def _trace(story: Story) -> RenderableType:
    assert story.star
    about = story.trace[0].transaction_id if story.trace else ""
    table = _table(f"Trace of {about[:19]} for {story.star.name or story.star.id}", "At", "Step", "What", "Why")
    for line in story.trace:
        table.add_row(f"{line.at:%H:%M:%S}", line.step or "", line.kind, Text(_reason(line.reason, line.data)))
    return table


def _why_not(story: Story) -> RenderableType:
    assert story.quiet
    text = Text.assemble((f"Why did {story.quiet.name or story.quiet.id} get no e-mail? ", "bold"), story.why_not)
    return Padding(text, (1, 1))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for name in columns:
        is_number = name in {"Triggers", "Messages"}
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    return table


def _reason(reason: str | None, data: Any) -> str:
    told = ", ".join(f"{name} {value}" for name, value in data.items()) if data else ""
    return ": ".join(part for part in (reason, told) if part)


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.0f} a second" if seconds else "at once"
