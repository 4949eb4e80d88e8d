"""The command line: `notifykit demo`, also as `python -m notifykit demo`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from io import TextIOWrapper

EXTRA = ("typer", "rich")


def main() -> None:
    """Run the command line; says what to install where its extra is missing."""
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        needed = " and ".join(missing)
        sys.exit(f'notifykit: the command line needs {needed}; run `pip install "notifykit-engine[cli]"`.')
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that this terminal has no letters for is no reason to stop
    from notifykit.cli.app import app

    app(prog_name="notifykit")
