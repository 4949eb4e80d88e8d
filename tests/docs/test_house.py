"""The map of the house names what is there, and its arrows are those that the linter checks."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import ConfigParser
from itertools import pairwise
from pathlib import Path

import notifykit as nk
from notifykit import testing

ROOT = Path(__file__).parents[2]
MAP = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
WORDS = {"if", "lint-imports", "pytest -m slow", "to"}
"""Set as code without being names of ours."""


def layers() -> list[list[str]]:
    """The rooms of `.importlinter`, from the top."""
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    lines = contracts["importlinter:contract:house"]["layers"].split("\n")
    return [re.split(r"\s*[|:]\s*", line) for line in lines if line]


def arrows() -> list[tuple[str, str]]:
    """The arrows of the picture, from room to room."""
    [picture] = re.findall(r"^```mermaid\n(.*?)^```$", MAP, re.MULTILINE | re.DOTALL)
    found = []
    for line in picture.splitlines()[1:]:
        stops = [stop.split(" & ") for stop in line.strip().split(" --> ")]
        for above, below in pairwise(stops):
            found += [(one, other) for one in above for other in below]
    return found


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"`((?:notifykit|tests|examples|docs|\.ci)/[\w./-]*)`", MAP))
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_name_that_it_names_exists() -> None:
    named = set(re.findall(r"`([A-Za-z]\w*(?:\.\w+)?)`", MAP)) - WORDS
    missing = []
    for name in sorted(named):
        owner, _, verb = name.rpartition(".")
        home = getattr(nk, owner, None) if owner else nk.Engine
        if not hasattr(home, verb) and not hasattr(testing, verb) and not name.startswith("NOTIFYKIT_TEST_"):
            missing.append(name)
    assert missing == []


def test_it_shows_every_room() -> None:
    rooms = [path for path in (ROOT / "notifykit").iterdir() if not path.name.startswith(("_", "py."))]
    shown = {path.name: f"`notifykit/{path.name}{'/' if path.is_dir() else ''}`" in MAP for path in rooms}
    assert [name for name, is_shown in shown.items() if not is_shown] == []


def test_its_picture_has_the_rooms_of_the_linter() -> None:
    assert {room for arrow in arrows() for room in arrow} == {room for layer in layers() for room in layer} - {
        "__main__"
    }


def test_its_arrows_point_down() -> None:
    floors = {room: floor for floor, layer in enumerate(layers()) for room in layer}
    assert [(above, below) for above, below in arrows() if floors[above] >= floors[below]] == []


def test_its_arrows_are_those_of_the_imports() -> None:
    """An arrow that is drawn is there, and one that is there is drawn, or can be followed along others."""
    done = subprocess.run([sys.executable, ROOT / ".ci" / "map.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
