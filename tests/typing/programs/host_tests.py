"""A host's own tests: its engine in a sandbox."""

from collections.abc import AsyncIterator, Iterator

import pytest

import notifykit as nk
from notifykit.testing import AsyncKit, Kit, sandbox
from tests.typing.programs.bookshop import Reader, dispatched, notify
from tests.typing.programs.web_app import meeting
from tests.typing.programs.web_app import notify as awaited


@pytest.fixture
def kit() -> Iterator[Kit]:
    with sandbox(notify) as kit:
        yield kit


@pytest.fixture
async def awaited_kit() -> AsyncIterator[AsyncKit]:
    async with sandbox(awaited) as kit:
        yield kit


def check_the_letter(kit: Kit, reader: Reader) -> None:
    kit.engine.trigger(dispatched(title="Emma"), to=nk.Recipient(reader.subscriber_id, email="ada@example.com"))
    kit.travel(hours=1, minutes=59)
    kit.outbox.none(dispatched, channel="email")
    assert kit.travel(minutes=1).sent == 1
    assert kit.outbox.one(dispatched, to=reader, channel="email").subject == "Emma"
    kit.fail("email", "permanent", times=1)


async def check_the_push(awaited_kit: AsyncKit) -> None:
    await awaited.trigger(meeting(city="Ghent", hour=19), to="ada")
    await awaited_kit.drain()
    assert awaited_kit.outbox.one(channel="push").title == "Ghent"
