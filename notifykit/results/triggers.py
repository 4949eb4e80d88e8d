"""What triggers answer."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args, overload

from notifykit.errors import TriggerError
from notifykit.ids import transaction_id
from notifykit.model.values import Value
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
