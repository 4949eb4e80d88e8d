"""Every python block of the README and of docs runs; what it prints is what its `#>` lines say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import notifykit as nk

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"^ *#> ?(.*)$", re.MULTILINE)


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """The python blocks of a page, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(1)), found.group(1)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES if any(blocks(page))])
def test_every_block_of_a_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for line, source in blocks(page):
        exec(compile("\n" * line + source, page, "exec", dont_inherit=True), names)
        assert capsys.readouterr().out.splitlines() == EXPECTED.findall(source), (
            f"{page.name}, block at line {line + 1}"
        )
    for value in names.values():
        if isinstance(value, nk.Engine):
            value.close()
        elif isinstance(value, sa.Engine):
            value.dispose()


def test_the_pages_have_blocks() -> None:
    assert {page.name for page in PAGES if any(blocks(page))} >= {"README.md", "quickstart.md", "deploying.md"}


def test_every_file_that_a_page_links_to_exists() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_ten_lines_of_the_readme_are_ten_lines() -> None:
    [(_, source)] = list(blocks(ROOT / "README.md"))
    statements = [line for line in source.splitlines() if line.strip() and not line.startswith("#>")]
    assert len(statements) == 10
