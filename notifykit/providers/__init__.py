"""Providers: what hands a message to a service, one file each. A delivery hook of the engine comes before them."""

from __future__ import annotations

from notifykit.outgoing import Integration
from notifykit.providers.console import Console

__all__ = ["Console", "Integration"]
