"""Recipients: every form that `to` takes, brought to ids, addresses, topics and everyone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, cast

from sqlalchemy import Executable, SelectBase
from sqlalchemy.exc import SQLAlchemyError

from notifykit.errors import InputError, StorageError
from notifykit.flow.pending_trigger import Audience, Direct, PendingTrigger
from notifykit.flow.wire import TriggerRequest
from notifykit.model.values import Everyone, Json, Recipient, Topic
from notifykit.queries.references import key_problem
from notifykit.queries.subscriber_fields import GivenSubscriber, parse_many
from notifykit.render.compiled import compiled
from notifykit.results import Problem
from notifykit.store.error_mapping import mapping_errors, refused
from notifykit.texts import label
from notifykit.unit_of_work.unit import Unit
from notifykit.workflow.definition import Workflow


@dataclass(frozen=True, slots=True)
class _Facts:
    """A recipient given with facts of his own, not yet checked."""

    place: int
    path: str
    facts: dict[str, Any]
    address_only: bool
    payload: Any


def keep_recipients(pending: TriggerRequest) -> None:
    """Read recipients that may be iterable only once into a list: they are looked at more than once."""
    to = pending.get("to")
    if type(to) in {str, list, tuple} or isinstance(to, (bytes, bytearray)):
        return
    if isinstance(to, Iterable) and not _is_one(to):
        pending["to"] = list(to)


def stands_alone(to: Any) -> bool:
    """Whether everyone or a `select` is among the recipients: such a trigger sees all that came before it written."""
    if isinstance(to, (Everyone, SelectBase)):
        return True
    return isinstance(to, (list, tuple)) and any(isinstance(one, (Everyone, SelectBase)) for one in to)


def read_only(pending: PendingTrigger) -> bool:
    """Take a lone subscriber id, the usual case, without more ado; whether it is one."""
    to = pending.request.get("to")
    if type(to) is str and key_problem(key := to.strip()) is None:
        pending.only = key
        return True
    return False


def read(unit: Unit, triggers: Sequence[PendingTrigger]) -> list[Audience]:
    """Read the recipients of a chunk; those given with facts are validated in one call.

    Args:
        unit: Where a `select` runs.
        triggers: Requests whose workflow and payload are known.
    """
    out: list[Audience] = []
    waiting: list[_Facts] = []
    for place, pending in enumerate(triggers):
        audience = Audience({})
        out.append(audience)
        to = pending.request.get("to")
        if to is None:
            audience.missing = True
        else:
            _read_all(unit, pending, audience, place, to, waiting)
    for one, found in zip(waiting, parse_many([each.facts for each in waiting]), strict=True):
        _with_facts(triggers[one.place], out[one.place], one, found)
    for place in {one.place for one in waiting if out[one.place].problems}:
        out[place].problems = tuple(sorted(out[place].problems, key=_position))
    return out


def _position(problem: Problem) -> int:
    """Where in `to` a refused recipient stood; problems are told in that order."""
    _, _, place = problem.field.partition(".")
    digits = place.partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


def read_actors(actors: Sequence[Any]) -> list[str | GivenSubscriber | Problem]:
    """Actors: an id, a host's row, or a subscriber's fields."""
    given = [dict(actor) for actor in actors if isinstance(actor, Mapping)]
    parsed = iter(parse_many(given))
    return [_parsed_actor(next(parsed)) if isinstance(actor, Mapping) else _actor_id(actor) for actor in actors]


def _parsed_actor(found: GivenSubscriber | list[Problem]) -> GivenSubscriber | Problem:
    if isinstance(found, list):
        return Problem(".".join(filter(None, ("actor", found[0].field))), found[0].message)
    return found


def _actor_id(actor: Any) -> str | Problem:
    key = actor if isinstance(actor, str) else getattr(actor, "subscriber_id", None)
    if not isinstance(key, str):
        return Problem(
            "actor",
            f"a subscriber id, its fields or something with a `subscriber_id` is expected, not {type(actor).__name__}",
        )
    key = str.strip(key)
    problem = key_problem(key)
    return Problem("actor", problem) if problem else key


def _id(audience: Audience, text: str, path: str) -> None:
    key = str.strip(text)  # of a subclass only the letters count: a Markup, a member of an enumeration
    if problem := key_problem(key):
        audience.problems += (Problem(path, problem, key),)
    else:
        audience.named[key] = key


def _read_all(
    unit: Unit, pending: PendingTrigger, audience: Audience, place: int, to: Any, waiting: list[_Facts]
) -> None:
    """Sort one `to` into its forms; an iterable is a list of forms."""
    if _is_one(to):
        return _read_one(unit, pending, audience, place, to, "to", waiting)
    if not isinstance(to, Iterable) or isinstance(to, (bytes, bytearray)):
        audience.problems += (Problem("to", f"{type(to).__name__} is no form of recipient"),)
        return None
    for at, one in enumerate(to):
        _read_one(unit, pending, audience, place, one, f"to.{at}", waiting)
    return None


def _is_one(to: Any) -> bool:
    return isinstance(to, (str, Mapping, Recipient, Topic, Everyone, SelectBase)) or hasattr(to, "subscriber_id")


def _read_one(
    unit: Unit, pending: PendingTrigger, audience: Audience, place: int, one: Any, path: str, waiting: list[_Facts]
) -> None:
    if isinstance(one, str):
        _id(audience, one, path)
    elif isinstance(one, Topic):
        _topic(audience, one.key, one.exclude, path)
    elif isinstance(one, Everyone):
        audience.everyone = True
    elif isinstance(one, SelectBase):
        _select(unit, pending, audience, one, path)
    elif isinstance(one, Recipient):
        waiting.append(_of_recipient(place, path, one))
    elif isinstance(one, Mapping):
        _mapping(audience, place, one, path, waiting)
    elif isinstance(key := getattr(one, "subscriber_id", None), str):
        _id(audience, key, path)
    else:
        audience.problems += (Problem(path, f"{type(one).__name__} is no form of recipient"),)


def _mapping(audience: Audience, place: int, one: Mapping[str, Any], path: str, waiting: list[_Facts]) -> None:
    kind = one.get("type")
    if kind == "Topic" or "topicKey" in one or "topic_key" in one:
        unknown = one.keys() - {"type", "topicKey", "topic_key", "exclude"}
        if unknown:
            audience.problems += (Problem(f"{path}.{min(map(label, unknown))}", "a topic has no such field"),)
        else:
            _topic(audience, one.get("topicKey", one.get("topic_key")), one.get("exclude") or (), path)
        return
    facts = {label(name): value for name, value in one.items() if not (name == "type" and kind == "Subscriber")}
    waiting.append(_Facts(place, path, facts, address_only=False, payload=None))


def _topic(audience: Audience, key: Any, exclude: Any, path: str) -> None:
    wrong = key_problem(str.strip(key)) if isinstance(key, str) else "a topic's key is a text of 1 to 255 characters"
    if wrong is not None:
        audience.problems += (Problem(f"{path}.topic_key", wrong),)
    elif isinstance(exclude, str) or not isinstance(exclude, Iterable):
        audience.problems += (Problem(f"{path}.exclude", "a list of subscriber ids is expected"),)
    else:
        left_out = [str.strip(one) if isinstance(one, str) else one for one in exclude]
        if any(not isinstance(one, str) for one in left_out):
            audience.problems += (Problem(f"{path}.exclude", "every excluded id is a text"),)
        else:
            audience.topics += (Topic(str.strip(key), tuple(left_out)),)


def _of_recipient(place: int, path: str, one: Recipient) -> _Facts:
    facts = {
        each.name: value
        for each in fields(one)
        if each.name != "payload" and (value := getattr(one, each.name)) is not None and value != ()
    }
    if "channels" in facts:
        facts["channels"] = list(facts["channels"])
    address_only = one.subscriber_id is None
    if address_only:
        facts["subscriber_id"] = "address"
    return _Facts(place, path, facts, address_only, one.payload)


def _with_facts(
    pending: PendingTrigger, audience: Audience, one: _Facts, found: GivenSubscriber | list[Problem]
) -> None:
    who = None if one.address_only else label(one.facts.get("subscriber_id", one.facts.get("subscriberId", ""))) or None
    if isinstance(found, list):
        audience.problems += tuple(
            Problem(".".join(filter(None, (one.path, each.field))), each.message, who) for each in found
        )
        return
    if one.address_only and not one.facts.keys() & {"email", "phone", "channels"}:
        audience.problems += (
            Problem(one.path, "a recipient without an id needs an address: email, phone or channels"),
        )
        return
    payload = None if one.payload is None else own_payload(pending.pinned.workflow, pending.payload, one.payload)
    if isinstance(payload, str):
        audience.problems += (Problem(f"{one.path}.payload", payload, who),)
        return
    direct = Direct(found.subscriber_id, found, payload)
    if one.address_only:
        audience.addresses += (direct,)
    else:
        audience.named[found.subscriber_id] = direct


def own_payload(workflow: Workflow[Any, ...], payload: Json, own: Any) -> Json | str:
    """A recipient's own payload merged over the call's and validated with it, or what is wrong with it."""
    if not isinstance(own, Mapping):
        return f"a mapping is expected, not {type(own).__name__}"
    try:
        merged = workflow.serialize({**payload, **own})
        for date in compiled(workflow).dates:
            date.find_time({"payload": merged})
    except InputError as error:
        return str(error)
    return merged


def _select(unit: Unit, pending: PendingTrigger, audience: Audience, query: SelectBase, path: str) -> None:
    """Run a query once and read it into memory: paging an arbitrary one would lose and repeat rows."""
    audience.selected = True
    with _explained(unit, path):
        result = unit.connection.execute(cast("Executable", query))
        names = list(result.keys())[1:]
        for row in result:
            if row[0] is None:
                audience.problems += (Problem(path, "a selected subscriber id is NULL"),)
                continue
            key = str.strip(str(row[0]))
            if problem := key_problem(key):
                audience.problems += (Problem(path, problem, key),)
            elif key not in audience.named:
                _selected(pending, audience, key, dict(zip(names, row[1:], strict=True)), path)


@contextmanager
def _explained(unit: Unit, path: str) -> Iterator[None]:
    """Tell a query that is wrong from a database that is in trouble.

    Raises:
        InputError: The database refuses the query: nothing of its unit can be gone on with.
        StorageError: The database is locked, corrupt or gone.
    """
    try:
        with mapping_errors(unit.dialect.where):
            yield
    except (StorageError, SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, StorageError) else error
        words = refused(cause) if isinstance(cause, SQLAlchemyError) else None
        if words is None:
            raise
        raise InputError(f"{path}: the database refuses this select: {words}", field=path) from cause


def _selected(pending: PendingTrigger, audience: Audience, key: str, own: dict[str, Any], path: str) -> None:
    if not own:
        audience.named[key] = key
        return
    payload = own_payload(pending.pinned.workflow, pending.payload, own)
    if isinstance(payload, str):
        audience.problems += (Problem(f"{path}.payload", payload, key),)
    else:
        audience.named[key] = Direct(key, None, payload)
