"""The benchmarks run; what they measure is no test."""

from __future__ import annotations

import pytest

from tests.benchmarks.__main__ import PARTS, main

SMALL = ["--events", "100", "--topic", "200", "--large", "20000", "--rounds", "1"]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_runs(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*SMALL, "--only", part])
    figures = capsys.readouterr().out.splitlines()[2:]
    assert figures
    assert all(" x " in line or "MB" in line or "bytes" in line or "/s" in line or " ms" in line for line in figures)
