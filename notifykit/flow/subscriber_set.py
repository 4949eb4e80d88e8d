"""The subscribers that a batch of triggers names: each as of its event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from notifykit.flow.pending_trigger import Direct, Named, PendingTrigger
from notifykit.queries.subscriber_fields import GivenSubscriber, Row
from notifykit.queries.subscriber_rows import State, load_many, save_many, state_of
from notifykit.unit_of_work.unit import Unit


@dataclass(slots=True)
class SubscriberSet:
    """Subscribers that a batch names, as they stand in the order of its triggers.

    Attributes:
        rows: By subscriber id.
        members: Members of small topics as they are stored, by row id.
        states: Of those that something was given of.
    """

    unit: Unit
    rows: dict[str, Row] = field(default_factory=dict)
    members: dict[int, Row] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)

    def load(self, triggers: Sequence[PendingTrigger], named: Iterable[Iterable[Named]]) -> None:
        """Read, and make where they are unknown, all subscribers that the triggers name.

        A new one is inserted before anything is laid over it: whoever comes first, the row that is there counts. In a
        rehearsal it gets an id below 0 instead.
        """
        keys: set[str] = set()
        given: list[Direct | GivenSubscriber] = []
        for many in named:
            for one in many:
                keys.add(one) if isinstance(one, str) else given.append(one)
        for pending in triggers:
            if pending.actor is not None:
                keys.add(pending.actor) if isinstance(pending.actor, str) else given.append(pending.actor)
        keys.update(one.subscriber_id for one in given)
        merging = {one.subscriber_id for one in given if _gives(one)}
        self.rows = load_many(self.unit, keys)
        self._make(sorted(keys - self.rows.keys()))
        for key in merging:
            self.states[key] = state_of(key, self.rows[key])

    def _make(self, keys: Sequence[str]) -> None:
        new = [state_of(key, None) for key in keys]
        if self.unit.dry:
            for at, state in enumerate(new, 1):
                state.row = (-at, *state.row[1:])
        elif new:
            save_many(self.unit, new)
        self.rows.update((state.row[1], state.row) for state in new)

    def take(self, one: Direct | GivenSubscriber) -> Row:
        """A subscriber as of now, what is given laid over."""
        given = one if isinstance(one, GivenSubscriber) else one.given
        if given is not None and not given.is_bare:
            state = self.states[one.subscriber_id]
            state.take(GivenSubscriber(one.subscriber_id, given.fields, given.channels))
            self.rows[one.subscriber_id] = state.row
        return self.rows[one.subscriber_id]

    def actor(self, pending: PendingTrigger) -> Row | None:
        """The actor of an event as of now, what is given laid over."""
        actor = pending.actor
        if actor is None:
            return None
        return self.rows[actor] if isinstance(actor, str) else self.take(actor)

    def save(self) -> None:
        """Write what differs from what is stored."""
        if self.states and not self.unit.dry:
            save_many(self.unit, [state for state in self.states.values() if state.given])


def _gives(one: Direct | GivenSubscriber) -> bool:
    given = one if isinstance(one, GivenSubscriber) else one.given
    return given is not None and not given.is_bare


def given_devices(pending: PendingTrigger) -> set[str]:
    """The ids of those whom a trigger gives addresses for push or chat."""
    given = [one.given for one in pending.audience.named.values() if not isinstance(one, str)]
    if isinstance(pending.actor, GivenSubscriber):
        given.append(pending.actor)
    return {one.subscriber_id for one in given if one is not None and one.channels}
