"""What users write type-checks under mypy --strict and pyright; what is wrong is refused by both, line by line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MISTAKES = HERE / "mistakes.py"
PROGRAMS = sorted((HERE / "programs").glob("[a-z]*.py"))
Errors = dict[str, dict[int, str]]

pytestmark = pytest.mark.slow


@cache
def mypy() -> Errors:
    """The errors of mypy by file and line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", "--no-pretty"]
    command += ["--config-file=", "--cache-dir", os.devnull]  # two workers that write one cache break it
    command += map(str, [MISTAKES, *PROGRAMS])
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    found: Errors = {}
    for path, line, message in re.findall(r"^(.+?):(\d+): error: (.*)$", told.stdout, re.MULTILINE):
        found.setdefault(Path(path).name, {}).setdefault(int(line), message)
    assert told.returncode in {0, 1}, told.stdout + told.stderr
    return found


@cache
def pyright() -> Errors:
    """The errors of pyright by file and line."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    told = subprocess.run([*command, *map(str, [MISTAKES, *PROGRAMS])], capture_output=True, text=True, cwd=ROOT)
    found: Errors = {}
    for each in json.loads(told.stdout)["generalDiagnostics"]:
        if each["severity"] == "error":
            line = each["range"]["start"]["line"] + 1
            found.setdefault(Path(each["file"]).name, {}).setdefault(line, each["message"])
    return found


CHECKERS = pytest.mark.parametrize("checker", [mypy, pyright])


@CHECKERS
def test_every_mistake_is_refused_and_nothing_else(checker: Callable[[], Errors]) -> None:
    lines = MISTAKES.read_text("utf-8").splitlines()
    bad = {number for number, line in enumerate(lines, 1) if "# BAD" in line}
    found = checker().get(MISTAKES.name, {})
    assert len(bad) >= 20
    assert not bad - found.keys(), f"accepted: {[lines[number - 1] for number in sorted(bad - found.keys())]}"
    assert not found.keys() - bad, f"refused: { {number: found[number] for number in found.keys() - bad} }"


@CHECKERS
def test_programs_pass(checker: Callable[[], Errors]) -> None:
    found = checker()
    assert not {path.name: found[path.name] for path in PROGRAMS if path.name in found}
