"""Marks: what reading, seeing and archiving change, as statements, and who hears of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Update, bindparam, func, literal_column, select, update

from notifykit.events import MessageRead, MessageSeen
from notifykit.model.codes import ChannelCode
from notifykit.model.tables import message
from notifykit.queries.messages import summaries
from notifykit.store.statement import Statement, any_of
from notifykit.unit_of_work.unit import Unit

CHUNK = 1000
"""Messages that are changed, or told of, together."""

# The literal and not a parameter: only then does SQLite see that the partial indexes of the feed serve.
IN_APP = message.c.channel == literal_column(str(ChannelCode.IN_APP.value))
MINE = (message.c.subscriber == bindparam("subscriber"), IN_APP)
# The sum keeps SQLite from walking the whole feed where the ids lead to the rows.
MINE_OF_THESE = (
    any_of(message.c.id, "ids"),
    message.c.subscriber + literal_column("0") == bindparam("subscriber"),
    IN_APP,
)
SCOPED = message.c.tenant == bindparam("tenant")
READ, SEEN, ARCHIVED = message.c.read_at, message.c.seen_at, message.c.archived_at
SCOPES: dict[bool, tuple[ColumnElement[bool], ...]] = {False: (), True: (SCOPED,)}


class Marking(NamedTuple):
    """What one kind of mark changes: where it changes anything, and which columns."""

    where: ColumnElement[bool]
    values: Mapping[str, Any]


NOW = bindparam("now", type_=message.c.read_at.type)
MARKS: dict[str, Marking] = {
    "read": Marking(READ.is_(None), {"read_at": NOW, "seen_at": func.coalesce(SEEN, NOW)}),
    "unread": Marking(READ.is_not(None) | ARCHIVED.is_not(None), {"read_at": None, "archived_at": None}),
    "seen": Marking(SEEN.is_(None), {"seen_at": NOW}),
    "unseen": Marking(SEEN.is_not(None), {"seen_at": None}),
    "archived": Marking(
        ARCHIVED.is_(None),
        {"archived_at": NOW, "read_at": func.coalesce(READ, NOW), "seen_at": func.coalesce(SEEN, NOW)},
    ),
    "unarchived": Marking(ARCHIVED.is_not(None), {"archived_at": None}),
}
SETTLES = {"read": ("read", "seen"), "seen": ("seen",), "archived": ("read", "seen")}
"""Of which signals a mark may give rise to."""
MARKED = {
    how: Statement(select(message.c.id).where(message.c.id == bindparam("id"), column == bindparam("now")))
    for how, column in {"read": READ, "seen": SEEN, "archived": ARCHIVED}.items()
}
"""That a message was marked at this instant: what tells of it is true."""


def _change(how: str, *which: ColumnElement[bool]) -> Update:
    return update(message).where(*which, MARKS[how].where).values(**MARKS[how].values)


def _fresh(how: str, *which: ColumnElement[bool]) -> Select[Any]:
    """Which messages a mark will change, and whether they were read and seen before."""
    return (
        select(message.c.id, READ.is_(None), SEEN.is_(None))
        .where(*which, MARKS[how].where)
        .order_by(message.c.id)
        .with_for_update()
    )


ALL_SHOWN = (*MINE, ARCHIVED.is_(None))
CHANGE = {
    (how, scoped): Statement(_change(how, *MINE_OF_THESE, *only)) for how in MARKS for scoped, only in SCOPES.items()
}
CHANGE_ALL = {
    (how, scoped): Statement(_change(how, *ALL_SHOWN, *only)) for how in MARKS for scoped, only in SCOPES.items()
}
FRESH = {
    (how, scoped): Statement(_fresh(how, *MINE_OF_THESE, *only)) for how in SETTLES for scoped, only in SCOPES.items()
}
FRESH_ALL = {
    (how, scoped): Statement(_fresh(how, *ALL_SHOWN, *only)) for how in SETTLES for scoped, only in SCOPES.items()
}


def mark(unit: Unit, how: str, values: Mapping[str, Any]) -> int:
    """Mark messages of one subscriber.

    Args:
        unit: A unit that may write.
        how: One of `MARKS`.
        values: The `subscriber`, the `tenant` of the scope if there is one, and `ids`, or all that is not archived.

    Returns:
        How many changed.
    """
    key = (how, "tenant" in values)
    change, fresh = (CHANGE, FRESH) if "ids" in values else (CHANGE_ALL, FRESH_ALL)
    settled = [name for name in SETTLES.get(how, ()) if unit.listens(f"message_{name}")]
    rows = fresh[key].rows(unit, **values) if settled else []
    changed = change[key].run(unit, now=unit.now, **values)
    if rows:
        unit.effects.commit_probes.append((MARKED[how], {"id": rows[0][0], "now": unit.now}))
        _tell(unit, rows, settled)
    return changed


def _tell(unit: Unit, rows: Sequence[tuple[Any, ...]], settled: Sequence[str]) -> None:
    rest = iter(rows)
    while chunk := list(islice(rest, CHUNK)):
        found = summaries(unit, [row[0] for row in chunk])
        for number, unread, unseen in chunk:
            if unseen and "seen" in settled:
                unit.emit(MessageSeen(found[number]))
            if unread and "read" in settled:
                unit.emit(MessageRead(found[number]))
