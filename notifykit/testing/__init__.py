"""The test kit: the real engine, a fake clock, a captured outbox."""

from __future__ import annotations

from notifykit.testing.clock import FakeClock
from notifykit.testing.kit import AsyncKit, Kit
from notifykit.testing.outbox import Outbox
from notifykit.testing.sandbox import sandbox

__all__ = ["AsyncKit", "FakeClock", "Kit", "Outbox", "sandbox"]
