"""A plain application: orders and notifications in one transaction, hooks, a worker's loop."""

from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

import notifykit as nk


class Base(DeclarativeBase):
    pass


class Reader(Base):
    __tablename__ = "reader"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]

    @property
    def subscriber_id(self) -> str:
        return f"reader-{self.id}"


class Dispatched(BaseModel):
    title: str
    parcels: int = 1


@dataclass
class Overdue:
    title: str
    days: int


dispatched = nk.Workflow(
    "book-dispatched",
    payload=Dispatched,
    tags=["orders"],
    steps=[
        nk.InApp("bell", subject="On its way", body="{{ payload.title }}", redirect="/orders"),
        nk.Delay("patience", hours=2),
        nk.Email("letter", subject="{{ payload.title }}", body="...", when="not steps.bell.read", stop_on_fail=True),
    ],
)
overdue = nk.Workflow("loan-overdue", payload=Overdue, steps=[nk.Sms("text", body="{{ payload.title }} is late")])
hello = nk.Workflow("hello", steps=[nk.InApp("bell", body="Hello {{ payload.name }}")])

database = create_engine("sqlite:///shop.db")
sessions = scoped_session(sessionmaker(database))
notify = nk.Engine(bind=database, workflows=[dispatched, overdue, hello])


def dispatch(session: Session, reader: Reader, title: str) -> str:
    notify.within(session).subscribers.upsert(reader.subscriber_id, email=reader.email, phone=None)
    result = notify.trigger(dispatched(title=title), to=reader, session=session, transaction_id=f"dispatch-{reader.id}")
    session.commit()
    return result.raise_for_status().transaction_id


def remind(reader: Reader) -> nk.CancelReport:
    with notify.transaction() as unit:
        unit.trigger(overdue(title="Emma", days=3), to=[reader, nk.Topic("librarians", exclude=["kim"])])
        unit.trigger(hello, to="ada", payload={"name": "Ada"}, actor="kim")
        unit.trigger("loan-overdue", to={"subscriberId": "ada"}, payload={"title": "Emma", "days": 3})
    notify.trigger(overdue, to=nk.Recipient("bob", phone="+1"), payload=Overdue("Persuasion", 1), session=sessions)
    return notify.cancel(workflow=overdue, subscriber=reader)


def bell(reader: Reader) -> list[str]:
    inbox = notify.scoped(tenant="north").inbox(reader)
    inbox.mark("read", [message.id for message in inbox.list(read=False)])
    return [message.payload.title for message in inbox.list(workflow=dispatched)]


def why(reader: Reader) -> str:
    return notify.explain(dispatched(title="Emma"), to=nk.Everyone()).why_not(reader)


@notify.on.message_sent(channel="email", workflow=dispatched)
def log(event: nk.MessageSent) -> None:
    print(event.message.id, event.receipt.provider_id)


@notify.on.hook_failed
def alarm(event: nk.HookFailed) -> None:
    print(event.hook, event.error)


@notify.deliver("email")
def mail(message: nk.EmailMessage) -> nk.Receipt:
    if not message.to:
        raise nk.PermanentDeliveryError("nobody to write to")
    return nk.Receipt(provider_id=message.idempotency_key)


def work() -> None:
    while (report := notify.drain(seconds=0.5)).next_due is not None:
        print(report.advanced, report.sent, report.waiting_for)
