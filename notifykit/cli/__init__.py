"""The command line: `notifykit demo`, also as `python -m notifykit demo`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

EXTRA = ("typer", "rich")


def main() -> None:
    """Run the command line; says what to install where its extra is missing."""
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        needed = " and ".join(missing)
        sys.exit(f'notifykit: the command line needs {needed}; run `pip install "notifykit-engine[cli]"`.')
    from notifykit.cli.app import app

    app(prog_name="notifykit")
