"""Repositories for the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.repositories import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository without a commit."""
    return Repository(tmp_path / "repository")
