"""Providers: what hands a message to a service. A delivery hook of the engine comes before any of them."""

from __future__ import annotations

from notifykit.providers.console import Console
from notifykit.providers.integration import Integration

__all__ = ["Console", "Integration"]
