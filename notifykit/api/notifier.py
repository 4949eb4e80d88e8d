"""The notifier: every verb, in the transaction of its context. The awaited twin is generated from this text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from typing_extensions import Unpack

from notifykit.model.values import Json, M, Recipients, TriggerOptions, Who
from notifykit.plan import Plan
from notifykit.resources.executions import Executions
from notifykit.resources.inbox import Inbox
from notifykit.resources.messages import Messages
from notifykit.resources.preferences import Preferences
from notifykit.resources.runs import Runs
from notifykit.resources.subscribers import Subscribers
from notifykit.resources.tenants import Tenants
from notifykit.resources.topics import Topics
from notifykit.resources.workflows import Workflows
from notifykit.results import BulkResult, CancelReport, TriggerResult
from notifykit.unit_of_work.contexts import Many, TransactionContext
from notifykit.unit_of_work.host import Host
from notifykit.unit_of_work.unit import Repeatable
from notifykit.workflow.definition import BoundWorkflow, Trigger, Workflow


class Notifier:
    """Every verb, each in a transaction of its own, or all in the one that the notifier was opened in.

    Attributes:
        subscribers: Who can be told something.
        topics: Named groups of subscribers.
        tenants: The host's customers.
        workflows: What can be triggered.
        preferences: What subscribers want to hear of.
        messages: What channel steps produced.
        runs: Events, each for one subscriber.
        executions: The lines of the trace.
    """

    def __init__(self, context: TransactionContext) -> None:
        """Notifiers are made by an engine: `within`, `transaction`, `scoped`."""
        self._context = context
        self.subscribers = Subscribers(context)
        self.topics = Topics(context)
        self.tenants = Tenants(context)
        self.workflows = Workflows(context, lambda: context.registry)
        self.preferences = Preferences(context)
        self.messages = Messages(context)
        self.runs = Runs(context)
        self.executions = Executions(context)

    def inbox(self, subscriber: Who) -> Inbox:
        """The inbox of one subscriber.

        Args:
            subscriber: A subscriber id, or an object that has one. An unknown subscriber's inbox is empty.
        """
        return Inbox(self._context, subscriber)

    def within(self, host: Host) -> Notifier:
        """This notifier inside the host's transaction: what it does commits or rolls back with the host's own rows.

        Args:
            host: A session or connection on this engine's database; a session is flushed by each verb.

        Raises:
            UnitError: It is none, or of the other notifier's kind, or this notifier stands in a transaction already.

        Example:
            ```python
            with Session(database) as session, session.begin():
                session.add(user)
                notify.within(session).subscribers.upsert(user.subscriber_id, email=user.email)
            ```
        """
        return Notifier(self._context.within(host))

    def scoped(self, *, tenant: str | None = None) -> Notifier:
        """A notifier that sees only one scope: the default tenant of triggers, the filter of inbox and messages.

        Args:
            tenant: The identifier of a tenant.

        Raises:
            InputError: It is no identifier, or another tenant than the one this notifier is scoped to.
        """
        return Notifier(self._context.scoped(tenant))

    def transaction(self) -> AbstractContextManager[Notifier]:
        """Several verbs, one transaction of ours: committed at the end of the block, rolled back by an exception.

        Inside the block call the verbs of the notifier it gives, not the engine's.

        Raises:
            UnitError: This notifier is in a transaction already.

        Example:
            ```python
            with notify.transaction() as unit:
                unit.subscribers.upsert("ada", email="ada@example.com")
                unit.trigger("welcome", to="ada")
            ```
        """
        return self._context.transaction(Notifier)

    def trigger(
        self,
        workflow: str | BoundWorkflow[Any] | Workflow[M, ...],
        *,
        to: Recipients,
        payload: M | Json | None = None,
        session: Host | None = None,
        **options: Unpack[TriggerOptions],
    ) -> TriggerResult:
        """Trigger a workflow for one or many recipients.

        Args:
            workflow: A key, a workflow, or a workflow with its payload filled in: `shipped(order=7)`.
            to: A subscriber id, a host's row with one, a `Recipient`, a `Topic`, `Everyone()`, a mapping in the form of
                the wire, a list of these, or a `select` whose first column is the subscriber id.
            payload: A mapping or an instance of the workflow's model.
            session: The host's transaction to do it in.
            **options: `actor`, `tenant`, `overrides`, `transaction_id`.

        Returns:
            What became of it. A workflow without steps, an unknown tenant and the like are a status, not an exception.

        Raises:
            NotFoundError: There is no such workflow.
            InputError: The payload or an option is refused, or no valid recipient is left; every bad field is named.
            UnitError: The session cannot be used, or a unit of this engine is open here.

        Example:
            ```python
            result = notify.trigger(shipped(order=7, carrier="ups"), to="ada").raise_for_status()
            ```
        """
        from notifykit.flow import triggering

        return self._context.joining(session).run_chunks(triggering.trigger, workflow, to, payload, options)

    def trigger_bulk(
        self,
        triggers: Many[Trigger | Mapping[str, Any]],
        *,
        atomic: bool = False,
        progress: Callable[[int], None] | None = None,
        session: Host | None = None,
    ) -> BulkResult:
        """Many triggers in one transaction; the same rows as one `trigger` after the other.

        Args:
            triggers: `shipped(order=1).to("ada")`, `Trigger(...)`, or mappings in the form of the wire; read chunk by
                chunk, so a generator of any length will do. It may not call the engine.
            atomic: Refuse all if one is refused, instead of going on with the others.
            progress: Called after each chunk with the number of triggers done so far; an exception in it rolls back.
            session: The host's transaction to do it in; the host must roll back if this raises.

        Returns:
            One result a trigger, in order; `errors` holds those that are not `processed`.

        Raises:
            InputError: `triggers` is no iterable.
            TriggerError: A trigger is refused, with `atomic`.
            UnitError: The session cannot be used, or a unit of this engine is open here.

        Example:
            ```python
            notify.trigger_bulk(shipped(order=n, carrier="ups").to(f"user-{n}") for n in range(10_000))
            ```
        """
        from notifykit.flow import triggering

        return self._context.joining(session).run_stream(
            triggering.trigger_bulk, triggers, atomic=atomic, progress=progress
        )

    def broadcast(
        self,
        workflow: str | BoundWorkflow[Any] | Workflow[M, ...],
        *,
        payload: M | Json | None = None,
        session: Host | None = None,
        **options: Unpack[TriggerOptions],
    ) -> TriggerResult:
        """Trigger a workflow for every subscriber, the actor excepted.

        Args:
            workflow: A key, a workflow, or a workflow with its payload filled in.
            payload: A mapping or an instance of the workflow's model.
            session: The host's transaction to do it in.
            **options: `actor`, `tenant`, `overrides`, `transaction_id`.

        Returns:
            What became of it, as for `trigger`.

        Raises:
            NotFoundError: There is no such workflow.
            InputError: The payload or an option is refused; every bad field is named.
            UnitError: The session cannot be used, or a unit of this engine is open here.
        """
        from notifykit.flow import triggering

        return self._context.joining(session).run_chunks(triggering.broadcast, workflow, payload, options)

    def explain(
        self,
        workflow: str | BoundWorkflow[Any] | Workflow[M, ...],
        *,
        to: Recipients,
        payload: M | Json | None = None,
        **options: Unpack[TriggerOptions],
    ) -> Plan:
        """A dry run: who, what, when, and why not the others. Nothing is written.

        Args:
            workflow: A key, a workflow, or a workflow with its payload filled in.
            to: As for `trigger`.
            payload: A mapping or an instance of the workflow's model.
            **options: `actor`, `tenant`, `overrides`, `transaction_id`.

        Returns:
            Every recipient at every step, delays included; `why_not(subscriber)` answers for anybody.

        Raises:
            NotFoundError: There is no such workflow.
            InputError: The payload or an option is refused; every bad field is named.

        Example:
            ```python
            print(notify.explain(shipped(order=7, carrier="ups"), to="ada").why_not("ada"))
            ```
        """
        from notifykit.flow import explaining

        return self._context.run(lambda unit: explaining.explain(unit, workflow, to, payload, options), write=False)

    def cancel(
        self,
        run: str | TriggerResult | None = None,
        *,
        workflow: str | Workflow[Any, ...] | None = None,
        subscriber: Who | None = None,
        session: Host | None = None,
    ) -> CancelReport:
        """Stop what has not been sent.

        Args:
            run: A transaction id, a run's id, or a trigger's result.
            workflow: Only runs of this workflow.
            subscriber: Only runs of this subscriber.
            session: The host's transaction to do it in.

        Returns:
            What was stopped, what had been sent, what was just being sent.

        Raises:
            InputError: Nothing says what to cancel.
            NotFoundError: There is no such run, workflow or subscriber.
        """
        from notifykit.lifecycle import cancelling

        return self._context.joining(session).run(
            Repeatable(lambda unit: cancelling.cancel(unit, run, workflow, subscriber)), write=True
        )
