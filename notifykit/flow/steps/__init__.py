"""The kinds of steps: each is one file, its definition and its behaviour beside each other."""

from __future__ import annotations

from typing import Any

from notifykit.flow.steps.behaviour import Behaviour
from notifykit.flow.steps.custom import Custom, CustomBehaviour
from notifykit.flow.steps.delay import Delay, DelayBehaviour
from notifykit.flow.steps.in_app import InApp, InAppBehaviour
from notifykit.flow.steps.outside import Chat, Email, OutsideBehaviour, Push, Sms
from notifykit.workflow.steps import Step

__all__ = ["KINDS", "Behaviour", "Chat", "Custom", "Delay", "Email", "InApp", "Push", "Sms", "behaviour_of"]

_OUTSIDE = OutsideBehaviour()
KINDS: dict[type[Step], Behaviour[Any]] = {
    InApp: InAppBehaviour(),
    Email: _OUTSIDE,
    Sms: _OUTSIDE,
    Push: _OUTSIDE,
    Chat: _OUTSIDE,
    Delay: DelayBehaviour(),
    Custom: CustomBehaviour(),
}


def behaviour_of(step: Step) -> Behaviour[Any]:
    """What a step does."""
    return KINDS[type(step)]
