"""The fixtures of `tests/store`: a database of each kind, with its tables."""

from __future__ import annotations

from tests.store.conftest import *  # noqa: F403
