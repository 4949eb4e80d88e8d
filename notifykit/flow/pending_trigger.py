"""A trigger on its way in: what it asks for, for whom, and what has been made of it so far."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from notifykit.errors import InputError, NotifyKitError
from notifykit.flow.wire import TriggerRequest
from notifykit.model.values import Json, Topic
from notifykit.queries.subscriber_fields import GivenSubscriber
from notifykit.results import Problem, Status
from notifykit.workflow.registry import StoredVersion


@dataclass(frozen=True, slots=True)
class Direct:
    """A subscriber named by id, with what was given of him."""

    subscriber_id: str
    given: GivenSubscriber | None = None
    payload: Json | None = None


Named: TypeAlias = str | Direct
"""An id alone stays a text: a hundred thousand of them may come from a `select`."""


@dataclass(slots=True, eq=False)
class Audience:
    """Who a trigger is for.

    Attributes:
        named: By subscriber id, in order; of two definitions the last counts.
        addresses: Addresses without a subscriber.
        topics: Topics.
        everyone: Every subscriber of the scope.
        selected: A `select` was among the forms.
        problems: Refused recipients; the others are served.
        missing: `to` was None.
    """

    named: dict[str, Named]
    addresses: tuple[Direct, ...] = ()
    topics: tuple[Topic, ...] = ()
    everyone: bool = False
    selected: bool = False
    problems: tuple[Problem, ...] = ()
    missing: bool = False

    @property
    def empty(self) -> bool:
        """Nobody is asked for."""
        return not (
            self.named or self.addresses or self.topics or self.everyone or (self.selected and not self.problems)
        )

    @property
    def fans_out(self) -> bool:
        """Its size is not written in the call: text that is the same for all is kept once."""
        return bool(self.topics or self.everyone or self.selected)


NOBODY = Audience({})


@dataclass(slots=True)
class PendingTrigger:
    """One trigger on its way in.

    Attributes:
        request: What was asked for.
        status: `processed` until something refuses it.
        live: Nothing has refused it so far, and it is no duplicate.
        problems: What is wrong with it, or with some of its recipients.
        error: What `trigger` raises; None where the refusal is a result.
        version: The workflow's version.
        payload: In its JSON form.
        payload_text: The same as text.
        overrides: In the form in which they are kept, or None.
        overrides_text: The same as text.
        tenant: Identifier and given fields, or None.
        only: The one subscriber id that is all of its audience, or None.
        audience: Who is asked for otherwise.
        actor: An id, or the given fields of a subscriber.
        transaction_id: The given one, trimmed.
        event: The stored event's id.
        recipients: How many runs it has.
        duplicate: The transaction id was used before: event and recipients are the first trigger's.
        lines: The trace of the event itself.
    """

    request: TriggerRequest
    status: Status = "processed"
    live: bool = True
    problems: tuple[Problem, ...] = ()
    error: NotifyKitError | None = None
    version: StoredVersion | None = None
    payload: Json = field(default_factory=dict)
    payload_text: str = "{}"
    overrides: Json | None = None
    overrides_text: str | None = None
    tenant: tuple[str, Json] | None = None
    only: str | None = None
    audience: Audience = NOBODY
    actor: str | GivenSubscriber | None = None
    transaction_id: str | None = None
    event: int = 0
    recipients: int = 0
    duplicate: bool = False
    lines: tuple[str, ...] = ()

    @property
    def named(self) -> Collection[Named]:
        """Everybody named by id, and addresses."""
        if self.only is not None:
            return (self.only,)
        return (*self.audience.named.values(), *self.audience.addresses)

    def refuse(self, status: Status, problem: Problem, error: type[NotifyKitError] | None = None) -> None:
        """Refuse the trigger, or note one more problem of a refused one."""
        self.status, self.live = status, False
        self.problems += (problem,)
        if error is not None and self.error is None:
            self.error = (
                error(str(problem), field=problem.field) if issubclass(error, InputError) else error(str(problem))
            )

    def refuse_for(self, error: InputError, kind: type[InputError] = InputError) -> None:
        """Refuse the trigger for an error whose message begins with its field."""
        self.refuse("error", Problem(error.field, str(error).removeprefix(f"{error.field}: ")), kind)

    @property
    def pinned(self) -> StoredVersion:
        """The version, of a trigger that has passed the first check."""
        assert self.version is not None
        return self.version
