"""The commands and their options; what they do lies in the other files of this folder."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from notifykit.cli.demo import git, tables
from notifykit.cli.demo.command import play
from notifykit.cli.demo.history import History
from notifykit.cli.demo.letters import Letters
from notifykit.errors import NotifyKitError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
MOST = 2000


@app.callback()
def notifykit() -> None:
    """Notification infrastructure as a library."""
    logging.getLogger("notifykit").addHandler(logging.NullHandler())


@app.command()
def demo(
    repository: Annotated[
        Path | None,
        typer.Argument(help="A git repository.", show_default="the one you stand in, else a sample"),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many of its latest commits; 0 for all.")] = MOST,
    db: Annotated[
        str | None, typer.Option(metavar="URL", help="The database.", show_default="a temporary SQLite file")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where e-mails go.", show_default="a temporary folder")
    ] = None,
) -> None:
    """Make notifications out of a git history: inbox, reminders by e-mail, and why somebody got none."""
    console = Console()
    try:
        with console.status("Reading the history"):
            history = _history(repository, limit, console)
        try:
            place = Path(tempfile.mkdtemp(prefix="notifykit-demo-")) if db is None or out is None else Path()
            url = db or f"sqlite:///{place / 'demo.db'}"
            story = play(history, url=url, letters=Letters(out or place / "mail"), console=console)
        finally:
            history.close()
    except (NotifyKitError, OSError) as error:
        typer.echo(f"notifykit: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error
    for part in tables.of(story):
        console.print(part)


def _history(repository: Path | None, limit: int, console: Console) -> History:
    """The history asked for; if none was asked for, the one at hand, else the sample."""
    if repository is not None:
        return _read(repository, limit)
    try:
        return _read(Path.cwd(), limit)
    except git.NoRepositoryError as error:
        console.print(Text(f"{error} The sample history in the package is told instead."))
        return History.sample()


def _read(repository: Path, limit: int) -> History:
    git.check(repository)
    return History.read(git.commits(repository, limit=limit), str(repository.resolve()))
