"""The host's transaction, awaited: what may be passed as one, and its sync face, which is joined as any other."""

from __future__ import annotations

from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session

from notifykit.errors import UnitError
from notifykit.unit_of_work.host import refusal

AsyncHost: TypeAlias = AsyncSession | async_scoped_session[AsyncSession] | AsyncConnection
AsyncBind: TypeAlias = AsyncEngine


def awaited(host: object) -> AsyncSession | AsyncConnection:
    """The session or connection that was passed to the awaited notifier.

    Raises:
        UnitError: It is of the sync kind, or no transaction at all.
    """
    target = host() if isinstance(host, async_scoped_session) else host
    if isinstance(target, AsyncConnection) and target.sync_connection is None:
        raise UnitError("this AsyncConnection is not started: use it inside `async with`, or await it first")
    if isinstance(target, AsyncSession | AsyncConnection):
        return target
    raise UnitError(refusal(host, "an AsyncSession, async_scoped_session or AsyncConnection"))


def sync_face(host: AsyncSession | AsyncConnection) -> Session | sa.Connection:
    """What an awaited session or connection is inside `run_sync`."""
    if isinstance(host, AsyncSession):
        return host.sync_session
    assert host.sync_connection is not None
    return host.sync_connection
