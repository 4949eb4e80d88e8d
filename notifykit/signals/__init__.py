"""Observers and delivery hooks, each isolated from the others."""

from __future__ import annotations

from notifykit.signals.on import AsyncHook, AsyncOn, AsyncSignal, Hook, On, Signal
from notifykit.signals.signals import Signals

__all__ = ["AsyncHook", "AsyncOn", "AsyncSignal", "Hook", "On", "Signal", "Signals"]
