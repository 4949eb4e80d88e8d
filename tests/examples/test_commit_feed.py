"""The example is a script of at most 60 lines, and does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.repositories import ADA, BOB, Repository

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "commit_feed.py"


def test_the_example_tells_a_repository(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit("Ada's first", by=ADA)
    repository.commit("Bob's first", by=BOB)
    repository.commit("Nobody's", by=("Nobody", ""))
    words = [sys.executable, "-W", "error", str(SCRIPT), str(repository.path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "3 authors, 1 of them without an address"
    assert lines[1] == "{'processed': 3}"
    assert "bob@example.com read 2" in lines
    assert "mail to ada@example.com about Bob's first" in lines
    assert not [line for line in lines if line.startswith("mail to bob@example.com")]


def test_it_is_at_most_60_lines() -> None:
    assert len(SCRIPT.read_text().splitlines()) <= 60
