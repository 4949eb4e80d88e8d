"""What verbs answer: frozen values, never live rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, get_args, overload

from notifykit.errors import TriggerError
from notifykit.ids import transaction_id
from notifykit.model.codes import Channel, MessageState, Outcome, RunState
from notifykit.model.values import Json, M, R, Value
from notifykit.texts import VALUE_LONGEST, sanitize

Status = Literal[
    "processed",
    "trigger_not_active",
    "no_workflow_steps_defined",
    "no_workflow_active_steps_defined",
    "subscriber_id_missing",
    "no_tenant_found",
    "error",
]
STATUSES: tuple[Status, ...] = get_args(Status)
PROCESSED = STATUSES.index("processed")


@dataclass(frozen=True, eq=False, repr=False)
class Problem(Value):
    """One refused value: which field, what is wrong with it, whose it is."""

    field: str
    message: str
    recipient: str | None = None

    def __post_init__(self) -> None:
        """Problems are stored and told: what they quote is often the very text that cannot be."""
        object.__setattr__(self, "field", sanitize(self.field))
        object.__setattr__(self, "message", sanitize(self.message))
        if self.recipient is not None:
            object.__setattr__(self, "recipient", sanitize(self.recipient, VALUE_LONGEST))

    def __str__(self) -> str:
        """A sentence for `TriggerResult.error`."""
        whose = f" (recipient {self.recipient!r})" if self.recipient else ""
        return f"{self.field}: {self.message}{whose}" if self.field else f"{self.message}{whose}"


@dataclass(frozen=True, eq=False, repr=False)
class TriggerResult(Value):
    """What became of one trigger.

    Attributes:
        acknowledged: Always True, as in the reference API.
        status: `processed`, or why nothing was stored.
        error: Sentences: why it was refused, or which recipients were refused while others were served.
        problems: The same, by field.
        transaction_id: The given one, or a generated one that starts with `txn_`; `''` where nothing was stored.
        duplicate: The transaction id was used before: this is the first trigger's result.
        recipients: Subscribers served: one run each.
    """

    acknowledged: bool
    status: Status
    error: list[str]
    problems: tuple[Problem, ...]
    transaction_id: str
    duplicate: bool
    recipients: int

    def raise_for_status(self) -> TriggerResult:
        """Itself.

        Raises:
            TriggerError: The status is not `processed`.
        """
        if self.status != "processed":
            raise TriggerError(f"{self.status}: {'; '.join(self.error) or 'nothing was stored'}")
        return self


class BulkResult(Sequence[TriggerResult]):
    """What became of many triggers, in input order; compact: about 17 bytes an event, results are made on demand."""

    def __init__(self) -> None:
        """An empty result, filled by the trigger's way."""
        self._status = array("b")
        self._event = array("q")
        self._recipients = array("i")
        self._given: list[str | None] = []
        self._problems: dict[int, tuple[Problem, ...]] = {}
        self._duplicates: set[int] = set()

    def add_processed(self, event: int, recipients: int, transaction_id: str | None) -> None:
        """Append one trigger that went in as it was."""
        self._status.append(PROCESSED)
        self._event.append(event)
        self._recipients.append(recipients)
        if transaction_id is not None:
            self._give(transaction_id)

    def _give(self, transaction_id: str) -> None:
        self._given.extend([None] * (len(self._status) - 1 - len(self._given)))
        self._given.append(transaction_id)

    def add(
        self,
        status: Status,
        *,
        event: int = 0,
        recipients: int = 0,
        transaction_id: str | None = None,
        problems: tuple[Problem, ...] = (),
        duplicate: bool = False,
    ) -> None:
        """Append one trigger's outcome."""
        at = len(self._status)
        self._status.append(STATUSES.index(status))
        self._event.append(event)
        self._recipients.append(recipients)
        if transaction_id is not None:
            self._give(transaction_id)
        if problems:
            self._problems[at] = problems
        if duplicate:
            self._duplicates.add(at)

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many triggers ended with each status that occurs; a duplicate counts as `processed`."""
        found = {status: self._status.count(code) for code, status in enumerate(STATUSES)}
        return {status: count for status, count in found.items() if count}

    @property
    def errors(self) -> Mapping[int, TriggerResult]:
        """Every result that is not `processed`, by position; each with at least one problem."""
        return {at: self._result(at) for at, code in enumerate(self._status) if code != PROCESSED}

    def raise_for_status(self) -> BulkResult:
        """Itself.

        Raises:
            TriggerError: At least one trigger is not `processed`.
        """
        if errors := self.errors:
            at, first = next(iter(errors.items()))
            why = "; ".join(first.error)
            raise TriggerError(
                f"{len(errors)} of {len(self)} triggers were refused; the first, at {at}: {first.status}: {why}"
            )
        return self

    def _result(self, at: int) -> TriggerResult:
        event = self._event[at]
        given = self._given[at] if at < len(self._given) else None
        problems = self._problems.get(at, ())
        return TriggerResult(
            acknowledged=True,
            status=STATUSES[self._status[at]],
            error=[str(problem) for problem in problems],
            problems=problems,
            transaction_id=transaction_id(given, event),
            duplicate=at in self._duplicates,
            recipients=self._recipients[at],
        )

    @overload
    def __getitem__(self, index: int) -> TriggerResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TriggerResult]: ...
    def __getitem__(self, index: int | slice) -> TriggerResult | Sequence[TriggerResult]:
        """One result, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self._result(at) for at in range(len(self))[index]]
        return self._result(range(len(self))[index])

    def __len__(self) -> int:
        """How many triggers there were."""
        return len(self._status)

    def __repr__(self) -> str:
        """The counts."""
        return f"BulkResult({dict(self.counts)})"


@dataclass(frozen=True, eq=False, repr=False)
class Page(Value, Generic[R]):
    """One page of a list; iterating and `len` speak of its items.

    Attributes:
        items: The rows of this page.
        next: What to pass as `after` for the next page, or None.
        previous: What to pass as `after` for the page before; None on the first two pages (the first needs no cursor).
        has_more: There is a next page.
        total: How many there are on all pages, where it was asked for.
    """

    items: list[R]
    next: str | None = None
    previous: str | None = None
    has_more: bool = False
    total: int | None = None

    def __iter__(self) -> Iterator[R]:
        """The items."""
        return iter(self.items)

    def __len__(self) -> int:
        """How many items this page has."""
        return len(self.items)


@dataclass(frozen=True, eq=False, repr=False)
class SubscriberChannel(Value):
    """Where push or chat reaches a subscriber; credentials are readable but hidden in repr."""

    provider: str
    integration: str | None
    credentials: Json = field(repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Subscriber(Value):
    """One subscriber."""

    subscriber_id: str
    email: str | None
    phone: str | None
    first_name: str | None
    last_name: str | None
    avatar: str | None
    locale: str | None
    timezone: str | None
    data: Json
    channels: tuple[SubscriberChannel, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, eq=False, repr=False)
class BulkUpsert(Value):
    """What `subscribers.bulk_upsert` did; `failed` by position in the input."""

    created: int
    updated: int
    failed: Mapping[int, Problem]


@dataclass(frozen=True, eq=False, repr=False)
class TopicDetails(Value):
    """One topic; `members` is how many it has."""

    key: str
    name: str | None
    members: int
    created_at: datetime


@dataclass(frozen=True, eq=False, repr=False)
class Run(Value):
    """One event for one subscriber; Novu calls it a notification. `version` is the content hash it is pinned to."""

    id: str
    transaction_id: str
    subscriber_id: str
    workflow: str
    version: str
    status: RunState
    reason: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, eq=False, repr=False)
class Message(Value):
    """What one channel step produced; `provider` is who sent it: an integration's name, or `hook`."""

    id: str
    subscriber_id: str
    workflow: str
    step: str
    channel: Channel
    status: MessageState
    reason: str | None
    provider: str | None
    transaction_id: str
    created_at: datetime


@dataclass(frozen=True, eq=False, repr=False)
class Attempt(Value):
    """One call to the outside; numbers count from 1, `target` is a device token or address, shortened."""

    number: int
    target: str | None
    integration: str
    outcome: Outcome
    status_code: int | None
    provider_id: str | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, eq=False, repr=False)
class MessageDetails(Message):
    """One message with what it said and every attempt to send it."""

    subject: str | None
    body: str | None
    html: str | None
    data: Json
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, eq=False, repr=False)
class InboxMessage(Value, Generic[M]):
    """One message of an inbox.

    Attributes:
        payload: Of the type of the workflow passed to `list(workflow=)`, else the plain mapping.
        actor: `subscriber_id`, `name`, `avatar`, or None.
        redirect: Absolute http(s), or rooted at `/`.
        redirect_target: `_self`, `_blank`, `_parent` or `_top`.
        primary: A button: `label`, `url`.
        secondary: The other button.
    """

    id: str
    subject: str | None
    body: str
    payload: M
    data: Json
    transaction_id: str
    workflow: str
    step: str
    tags: tuple[str, ...]
    actor: Json | None
    tenant: str | None
    redirect: str | None
    redirect_target: str | None
    primary: Json | None
    secondary: Json | None
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    created_at: datetime


ExecutionKind = Literal[
    "event_processed",
    "recipient_refused",
    "topic_unknown",
    "topic_empty",
    "message_created",
    "message_queued",
    "message_sent",
    "message_failed",
    "message_skipped",
    "message_retried",
    "attempt",
    "step_waiting",
    "step_resumed",
    "step_completed",
    "step_skipped",
    "step_failed",
    "run_completed",
    "run_failed",
    "run_cancelled",
]
"""What a line of a trace can say.

`message_*` speak of the message of a channel step, `step_*` of any other step, `attempt` of one call to the outside,
`run_*` of the end of a run, the first four of the event itself.
"""


@dataclass(frozen=True, eq=False, repr=False)
class Execution(Value):
    """One line of a trace; lines of the event itself have step None and subscriber id `''`."""

    transaction_id: str
    subscriber_id: str
    step: str | None
    kind: ExecutionKind
    reason: str | None
    at: datetime
    data: Json


@dataclass(frozen=True, eq=False, repr=False)
class DrainReport(Value):
    """What one drain did.

    Attributes:
        advanced: Runs that went on.
        sent: Messages sent.
        failed: Messages given up.
        waiting_for: What jobs wait for and how many, such as `{"email: no provider": 12}`.
        next_due: When the next job is due, or None.
    """

    advanced: int = 0
    sent: int = 0
    failed: int = 0
    waiting_for: Mapping[str, int] = field(default_factory=dict)
    next_due: datetime | None = None


@dataclass(frozen=True, eq=False, repr=False)
class CancelReport(Value):
    """What `cancel` stopped (runs that waited and messages not yet claimed), and what it could not.

    True where anything was stopped.
    """

    stopped: int
    sent: int
    in_flight: int

    def __bool__(self) -> bool:
        """Whether anything was stopped."""
        return self.stopped > 0
