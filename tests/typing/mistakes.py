"""Mistakes that both type checkers must refuse: every line marked BAD, and no other."""

from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import notifykit as nk
from notifykit.testing import AsyncKit, Kit


class Parcel(BaseModel):
    number: int


class Letter(BaseModel):
    stamp: str


@dataclass
class Card:
    picture: str


parcel = nk.Workflow("parcel", payload=Parcel, steps=[nk.InApp("bell", body="b")])
card = nk.Workflow("card", payload=Card, steps=[nk.InApp("bell", body="b")])
free = nk.Workflow("free", steps=[nk.InApp("bell", body="b")])
notify = nk.Engine(workflows=[parcel, card, free])
awaited = nk.AsyncEngine(workflows=[parcel, card, free])
session = Session(create_engine("sqlite://"))
async_session = AsyncSession(create_async_engine("sqlite+aiosqlite://"))

# What is right passes.
notify.trigger(parcel, to="ada", payload=Parcel(number=1))
notify.trigger(card(picture="lake"), to=["ada", nk.Topic("friends"), nk.Recipient("bob", payload={"picture": "sea"})])
notify.trigger("parcel", to="ada", payload={"number": 1}, actor="bob", session=session)
notify.trigger(free, to="ada", payload={"anything": 1}, tenant="north")

# Payloads
notify.trigger(parcel, to="ada", payload=Letter(stamp="s"))  # BAD another workflow's payload
notify.trigger(parcel, to="ada", payload="number")  # BAD no payload at all
notify.trigger(parcel(number="one"), to="ada")  # BAD wrong type of a field
notify.trigger(parcel(), to="ada")  # BAD a field is missing
notify.trigger(card(picture="lake", frame="oak"), to="ada")  # BAD no such field
notify.broadcast(card(pikture="lake"))  # BAD a misspelt field

# Arguments
notify.trigger(parcel, payload=Parcel(number=1))  # BAD nobody to tell
notify.trigger("parcel", to="ada", playload={})  # BAD a misspelt keyword
notify.trigger("parcel", to=7)  # BAD a number is no recipient
notify.subscribers.upsert("ada", mail="ada@example.com")  # BAD no such fact
notify.inbox("ada").mark("reed", ["msg_1"])  # BAD no such mark
notify.preferences.update("ada", channels={"fax": True})  # BAD no such channel
print(notify.inbox("ada").list(workflow=parcel).items[0].payload.weight)  # BAD no such field
notify.trigger_bulk([1, 2])  # BAD numbers are no triggers
notify.scoped(environment="test")  # BAD not there yet

# Definitions
nk.Delay("wait", minuts=1)  # BAD a misspelt unit
nk.Email("mail", subject="s", body="b", wen="true")  # BAD a misspelt option
nk.Workflow("plain", payload=Parcel)  # BAD no steps
nk.Engine(migrate="sometimes")  # BAD no such mode
nk.AsyncEngine(bind=create_engine("sqlite://"))  # BAD a sync engine for the awaited notifier

# Sessions
notify.trigger(free, to="ada", session=async_session)  # BAD an async session on the sync notifier
notify.within(async_session)  # BAD the same
awaited.within(session)  # BAD a sync session on the awaited notifier


# Hooks
@notify.on.message_snt  # BAD no such signal
def misspelt(event: nk.MessageSent) -> None: ...


@notify.on.message_sent  # BAD another signal's event
def another(event: nk.MessageFailed) -> None: ...


@notify.on.message_sent  # BAD a coroutine function on the sync notifier
async def coroutine(event: nk.MessageSent) -> None: ...


@notify.on.message_sent(channel="fax")  # BAD no such channel
def faxed(event: nk.MessageSent) -> None: ...


@notify.deliver("email")  # BAD another channel's message
def texts(message: nk.SmsMessage) -> str:
    return message.phone


@awaited.deliver("fax")  # BAD no such channel
async def fax(message: nk.SmsMessage) -> str:
    return message.phone


# The awaited notifier
async def forgotten() -> None:
    awaited.trigger(free, to="ada")  # BAD never awaited
    await awaited.trigger(parcel(weight=1), to="ada")  # BAD no such field
    with awaited.transaction():  # BAD an async context manager
        pass
    for subscriber in awaited.subscribers.each():  # BAD an async iterator
        del subscriber


# The test kit
def kits(kit: Kit, other: AsyncKit) -> None:
    kit.travel(day=1)  # BAD a misspelt unit
    print(kit.outbox.one(parcel, channel="email").phone)  # BAD an e-mail has no phone
    kit.fail("email", "loudly")  # BAD no such way to fail
    print(other.travel(days=1).sent)  # BAD never awaited
