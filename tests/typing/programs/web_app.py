"""An asynchronous application: the awaited notifier, in its own transactions and in the host's."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import notifykit as nk


class Base(DeclarativeBase):
    pass


class Member(Base):
    __tablename__ = "member"

    id: Mapped[str] = mapped_column(primary_key=True)
    city: Mapped[str]


class Meeting(BaseModel):
    city: str
    hour: int


meeting = nk.Workflow("meeting", payload=Meeting, steps=[nk.Push("ping", title="{{ payload.city }}", body="soon")])
database = create_async_engine("sqlite+aiosqlite:///club.db")
notify = nk.AsyncEngine(bind=database, workflows=[meeting])


async def notifier() -> AsyncIterator[nk.AsyncNotifier]:
    async with AsyncSession(database) as session, session.begin():
        yield notify.within(session)


async def invite(session: AsyncSession, city: str) -> int:
    to = select(Member.id).where(Member.city == city)
    result = await notify.trigger(meeting(city=city, hour=19), to=to, session=session)
    await session.commit()
    return result.recipients


async def tell(connection: AsyncConnection) -> None:
    await notify.broadcast(meeting, payload=Meeting(city="Ghent", hour=20), session=connection)
    async with notify.transaction() as unit:
        await unit.subscribers.upsert("ada", first_name="Ada")
        await unit.topics.add("ghent", ["ada"])


async def rows() -> AsyncIterator[Mapping[str, Any]]:
    async with database.connect() as connection:
        async for member in await connection.stream(select(Member.id)):
            yield {"workflowId": "meeting", "to": member.id, "payload": {"city": "Ghent", "hour": 9}}


async def everybody() -> None:
    result = await notify.trigger_bulk(rows(), progress=print)
    print(len(result.raise_for_status()), [subscriber.email async for subscriber in notify.subscribers.each()])
    print([who async for who in notify.topics.members("ghent")])


async def hours(member: str) -> list[int]:
    page = await notify.inbox(member).list(workflow=meeting)
    return [message.payload.hour for message in page.items]


@notify.on.message_failed
async def note(event: nk.MessageFailed) -> None:
    print(event.error)


@notify.on.run_finished(workflow="meeting")
def plain(event: nk.RunFinished) -> None:
    print(event.status)


@notify.deliver("push")
async def push(message: nk.PushMessage) -> str | None:
    return message.tokens[0]


async def main() -> None:
    async with nk.AsyncEngine("sqlite:///club.db", workflows=[meeting]) as engine:
        await engine.migrate()
        report = await engine.drain()
        print(report.next_due, (await engine.explain(meeting(city="Ghent", hour=1), to="ada")).counts["push"])
