"""Many triggers in one transaction: typed ones from a generator, wire dictionaries from a file."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy import create_engine

import notifykit as nk


class Bill(BaseModel):
    month: str
    cents: int


bill = nk.Workflow(
    "bill", payload=Bill, critical=True, steps=[nk.Email("mail", subject="{{ payload.month }}", body="...")]
)
database = create_engine("postgresql+psycopg://localhost/billing")
notify = nk.Engine(bind=database, workflows=[bill], durability="full", migrate="never")


def bills() -> Iterator[nk.Trigger]:
    for number in range(100_000):
        yield bill(month="2026-01", cents=number).to(f"customer-{number}", transaction_id=f"bill-{number}")
    yield nk.Trigger("bill", to="ada", payload={"month": "2026-01", "cents": 1})


def main() -> None:
    with database.begin() as connection:
        results = notify.trigger_bulk(bills(), atomic=True, progress=print, session=connection)
        print(results.counts["processed"], results[0].transaction_id)
    lines = Path("events.jsonl").read_text().splitlines()
    for at, refused in notify.trigger_bulk(json.loads(line) for line in lines).errors.items():
        print(at, refused.status, refused.problems[0].field)
