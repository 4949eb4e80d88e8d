"""The bulk law: `trigger_bulk(xs)` leaves the same rows as `for x in xs: trigger(x)`, for any chunk size."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import notifykit as nk
from tests.behaviour.stories import CHANNELS, STORIES
from tests.harness.both import Both, Notifier
from tests.harness.dump import Dump, dump

WHO = st.sampled_from(["ada", "bob", "cem", "dan"])
NAMES = st.sampled_from(["Ada", "Bob", "Cem", None])
INLINE = st.builds(
    lambda who, name, mail: {"subscriberId": who, "firstName": name} | ({"email": mail} if mail else {}),
    WHO, NAMES, st.sampled_from([None, "a@example.com", "b@example.com", "no address"]),
)  # fmt: skip
TOPIC = st.builds(
    lambda key, exclude: {"type": "Topic", "topicKey": key, "exclude": exclude},
    st.sampled_from(["team", "crew", "nowhere"]), st.lists(WHO, max_size=1),
)  # fmt: skip
ADDRESS = st.builds(lambda who: nk.Recipient(email=f"{who}@elsewhere.example", first_name="N"), WHO)
DEVICES = st.builds(lambda who: nk.Recipient(who, channels=CHANNELS), WHO)
OWN = st.builds(lambda who, order: nk.Recipient(who, payload={"order": order}), WHO, st.sampled_from([1, 2, "many"]))
RECIPIENTS = st.one_of(
    WHO, INLINE, TOPIC, DEVICES, st.just(nk.Everyone()), st.just([]), st.just(""),
    st.lists(st.one_of(WHO, WHO, INLINE, TOPIC, ADDRESS, DEVICES, OWN, st.just("")), min_size=1, max_size=4),
)  # fmt: skip
WORKFLOWS = st.sampled_from(
    ["hello", "everywhere", "greeting", "ordered", "mailed", "order-shipped", "asleep", "empty", "nowhere"]
)


@st.composite
def triggers(draw: st.DrawFn) -> dict[str, Any]:
    """One trigger of any kind, good or bad."""
    made: dict[str, Any] = {
        "name": draw(WORKFLOWS),
        "to": draw(RECIPIENTS),
        "payload": draw(st.sampled_from([{"order": 7}, {"order": 8}, {}, {"order": 7, "extra": 1}])),
    }
    if draw(st.integers(0, 3)) == 0:
        made["transactionId"] = draw(st.sampled_from(["t1", "t2", "t3"]))
    if draw(st.integers(0, 3)) == 0:
        made["actor"] = draw(
            st.sampled_from(["ada", {"subscriberId": "bob", "firstName": "Act"}, {"subscriberId": "zoe"}, {}])
        )
    if draw(st.integers(0, 3)) == 0:
        made["tenant"] = draw(st.sampled_from(["acme", {"identifier": "acme", "name": "Renamed"}, "nobody"]))
    if draw(st.integers(0, 5)) == 0:
        made["overrides"] = draw(st.sampled_from([{"email": {"subject": "O"}}, {"email": {"to": 7}}]))
    return made


def prepared(notifier: Notifier) -> Both:
    """An engine with some people, topics, a tenant and choices."""
    notify = Both(notifier, None, workflows=STORIES)
    for who in ("ada", "bob"):
        notify.subscribers.upsert(who, email=f"{who}@example.com", first_name=who)
    notify.topics.add("team", ["ada", "bob"])
    notify.topics.add("crew", ["bob"])
    notify.tenants.upsert("acme", name="Acme")
    notify.preferences.update("bob", channels={"in_app": False})
    return notify


def one_by_one(xs: list[dict[str, Any]]) -> tuple[list[Any], Dump]:
    """The results and rows of single triggers, an exception told as the error that bulk makes of it."""
    notify = prepared("sync")
    try:
        return [_single(notify, x) for x in xs], notify.read(lambda connection: dump(connection, notify.start))
    finally:
        notify.finish()


def _single(notify: Both, x: dict[str, Any]) -> Any:
    options = {
        "transaction_id" if key == "transactionId" else key: x[key]
        for key in ("transactionId", "actor", "tenant", "overrides")
        if key in x
    }
    try:
        return told(notify.trigger(x["name"], to=x["to"], payload=x["payload"], **options))
    except (nk.InputError, nk.NotFoundError):
        return ("error", 0, False, None, None)


def told(result: nk.TriggerResult) -> Any:
    """What two results must have in common."""
    if result.status == "error":
        return ("error", 0, False, None, None)
    given = result.transaction_id if not result.transaction_id.startswith("txn_") else "generated"
    return (
        result.status,
        result.recipients,
        result.duplicate,
        given,
        tuple(problem.recipient for problem in result.problems),
    )


def in_bulk(xs: list[dict[str, Any]], chunk: int, notifier: Notifier) -> tuple[list[Any], Dump]:
    """The results and rows of one bulk call."""
    notify = prepared(notifier)
    try:
        notify.engine._runtime.chunk = chunk
        found = [told(result) for result in notify.trigger_bulk(iter(xs))]
        return found, notify.read(lambda connection: dump(connection, notify.start))
    finally:
        notify.finish()


def relieved(rows: Dump) -> Dump:
    """Without the sort order of names that only differ by when they were made."""
    return {
        name: [{k: v for k, v in row.items() if k not in {"created_at", "updated_at"}} for row in found]
        for name, found in rows.items()
        if not name.startswith("workflow")
    }


@settings(max_examples=150, deadline=None)
@given(
    xs=st.lists(triggers(), min_size=1, max_size=8),
    chunk=st.integers(1, 9),
    notifier=st.sampled_from(["sync", "sync", "async"]),
)
def test_the_bulk_law(xs: list[dict[str, Any]], chunk: int, notifier: Notifier) -> None:
    single, rows = one_by_one(xs)
    bulk, bulk_rows = in_bulk(xs, chunk, notifier)
    assert bulk == single
    expected, found = relieved(rows), relieved(bulk_rows)
    for table in expected:
        assert found[table] == expected[table], table
