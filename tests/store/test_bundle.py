"""A program in one folder, as PyInstaller makes it, with the hook that ships in the wheel."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from notifykit import __pyinstaller
from notifykit.store import schema
from notifykit.store.database import Database

ROOT = Path(__file__).parents[2]
LATER = """
from notifykit.model import metadata
def upgrade(op):
    for name in ("organization", "environment"):
        table = metadata.tables[f"notifykit_{name}"]
        op.bulk_insert(table, [{"id": 1, "key": "default", **({"organization": 1} if name == "environment" else {})}])
    op.execute("INSERT INTO notifykit_sequence (name, next) VALUES ('id', 2)")
"""
PROGRAM = """
import sys
import later
import notifykit as nk
from notifykit.store import schema

schema.REVISIONS = {"0000": "", **schema.REVISIONS, "later": sys.argv[2]}
schema.HEAD = "later"
hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello {{ payload.name }}")])
with nk.Engine(sys.argv[1], workflows=[hello]) as notify:
    try:
        notify.trigger(hello, to="ada", payload={"name": "Ada"}).raise_for_status()
        print(notify.inbox("ada").unread_count(), "unread")
    except nk.SchemaError as error:
        print(error)
"""


def test_the_folder_of_the_hook_is_an_entry_point() -> None:
    [folder] = __pyinstaller.get_hook_dirs()
    assert (Path(folder) / "hook-notifykit.py").is_file()
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'hook-dirs = "{__pyinstaller.__name__}:{__pyinstaller.get_hook_dirs.__name__}"' in declared


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a program that upgrades an old file, then triggers."""
    if find_spec("PyInstaller") is None:
        pytest.skip("PyInstaller is not installed: pip install pyinstaller")
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "later.py").write_text(LATER)
    (folder / "program.py").write_text(PROGRAM)
    built = subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=WARN", "program.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    return folder / "dist" / "program" / "program"


@pytest.fixture
def old(tmp_path: Path) -> str:
    """The URL of a file from before the first version."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    database = Database.open(url)
    with database.engine.begin() as connection:
        schema.versions.create(connection)
        connection.execute(schema.versions.insert().values(version_num="0000"))
    database.close()
    return url


def said(program: Path, *arguments: str) -> str:
    """What the bundled program prints, outside any installation."""
    ran = subprocess.run(
        [program, *arguments], cwd="/", env={}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout.strip()


@pytest.mark.slow
def test_a_bundled_program_upgrades_an_old_file(program: Path, old: str) -> None:
    assert said(program, old, "later") == "1 unread"


@pytest.mark.slow
def test_a_bundle_without_a_step_says_how_to_build_it(program: Path, old: str) -> None:
    gone = "notifykit.store.migrations.versions.v0002_gone"
    text = said(program, old, gone)
    assert f"The module {gone}" in text
    assert "--collect-all notifykit" in text
