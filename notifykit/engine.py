"""The engine: the front notifier, with hooks and work beside the verbs. The awaited twin is generated from this text.

What only one verb of a notifier needs is imported at its first use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, overload

from blinker import Namespace

from notifykit.api.notifier import Notifier
from notifykit.clock import Clock
from notifykit.outgoing import ChatMessage, EmailMessage, PushMessage, SmsMessage
from notifykit.providers import Integration
from notifykit.results import DrainReport, TriggerResult
from notifykit.settings import CALL_TIMEOUT
from notifykit.signals import Hook, On
from notifykit.unit_of_work.contexts import AutocommitContext, new_runtime
from notifykit.unit_of_work.host import Bind
from notifykit.worker.worker import Worker
from notifykit.workflow.definition import Workflow


class Engine(Notifier):
    """The front notifier: every verb, and hooks and work beside them.

    Attributes:
        on: The signals as typed decorators: `@engine.on.message_sent`.
        signals: The same as a blinker namespace of this engine's own: `engine.signals["message_sent"].connect(fn)`.

    Example:
        ```python
        notify = nk.Engine("sqlite:///app.db", workflows=[shipped])
        notify.trigger(shipped(order=7, carrier="ups"), to="ada")
        notify.drain()
        ```
    """

    on: On
    signals: Namespace

    def __init__(
        self,
        url: str | None = None,
        *,
        bind: Bind | None = None,
        workflows: Iterable[Workflow[Any, ...]] = (),
        integrations: Iterable[Integration] = (),
        migrate: Literal["auto", "always", "never"] = "auto",
        durability: Literal["normal", "full"] = "normal",
        clock: Clock | None = None,
    ) -> None:
        """Make an engine; nothing is opened before its first use.

        Args:
            url: An SQLAlchemy URL: SQLite, PostgreSQL or MariaDB. Without one the database is private and in memory.
                Behind PgBouncer in transaction mode end it with `?prepare_threshold=none`.
            bind: The host's own engine, to share its database.
            workflows: Registered at once.
            integrations: Providers, in the order in which they are asked.
            migrate: `auto` makes tables and upgrades SQLite files, `always` upgrades servers too, `never` only looks.
            durability: `full` survives a loss of power on SQLite too.
            clock: Where time comes from; the operating system's by default.

        Raises:
            ConfigurationError: The URL is wrong, its driver is missing, or `url` and `bind` are both given.
            DefinitionError: A workflow is refused.
        """
        self._runtime = new_runtime(
            url, bind, integrations=integrations, migrate=migrate, durability=durability, clock=clock
        )
        self._own = AutocommitContext(self._runtime)
        self._worker = Worker(self._own)
        super().__init__(self._own)
        self._runtime.signals.sender = self
        self.signals = self._runtime.signals
        self.on = On(self._runtime.signals)
        self.workflows.register(*workflows)

    @overload
    def deliver(self, channel: Literal["email"]) -> Callable[[Hook[EmailMessage]], Hook[EmailMessage]]: ...
    @overload
    def deliver(self, channel: Literal["sms"]) -> Callable[[Hook[SmsMessage]], Hook[SmsMessage]]: ...
    @overload
    def deliver(self, channel: Literal["push"]) -> Callable[[Hook[PushMessage]], Hook[PushMessage]]: ...
    @overload
    def deliver(self, channel: Literal["chat"]) -> Callable[[Hook[ChatMessage]], Hook[ChatMessage]]: ...
    def deliver(self, channel: str) -> Callable[[Any], Any]:
        """Send a channel yourself: return a receipt, raise to fail.

        The hook comes before any integration. What it returns, a `Receipt`, an id or None, is the receipt; a
        `PermanentDeliveryError` is not tried again, any other exception is.

        Args:
            channel: `email`, `sms`, `push` or `chat`.

        Raises:
            ConfigurationError: There is no such channel, or it has a hook already.

        Example:
            ```python
            @notify.deliver("email")
            def send(message: nk.EmailMessage) -> str:
                return mailer.send(message.to, message.subject, message.text)
            ```
        """
        return self._runtime.signals.hook(channel)

    def drain(
        self,
        only: TriggerResult | None = None,
        *,
        seconds: float | None = None,
        concurrency: int = 1,
        timeout: float = CALL_TIMEOUT,
    ) -> DrainReport:
        """Do everything that is due now.

        Args:
            only: Do only the work of this trigger.
            seconds: Stop when this budget is spent; locks are waited for no longer than that either.
            concurrency: Calls to the outside that are made at once: one, here, or several beside each other, on an
                `Engine` in threads of this drain's own, on an `AsyncEngine` in tasks.
            timeout: Seconds that one of several calls may take; after that its message is `unknown`.

        Returns:
            What was done, what waits for a provider, and when the next work is due.

        Raises:
            InputError: An argument is refused.
            UnitError: A unit of this engine is open here.

        Example:
            ```python
            report = notify.drain(seconds=0.02)
            ```
        """
        return self._worker.drain(only, seconds, concurrency, timeout)

    def migrate(self) -> None:
        """Bring the schema up to date, on a server too.

        Raises:
            SchemaError: The database is newer than the library, or this user may not change its tables.
            StorageError: The database is locked, full, read-only, corrupt or gone.
        """
        self._own.migrate()

    def close(self) -> None:
        """Close the database if it is ours; a second call does nothing. Verbs raise `UnitError` afterwards."""
        self._worker.close()

    def __enter__(self) -> Engine:
        """Open nothing yet: the engine, to be closed at the end of the block."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the engine at the end of the block."""
        self.close()
