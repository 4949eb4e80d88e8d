"""`python -m notifykit`."""

from __future__ import annotations

from notifykit.cli import main

main()
