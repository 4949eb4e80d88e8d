"""The public surface: what it has, that it is written down, and that it explains itself."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import notifykit as nk
from notifykit import model, providers, testing
from notifykit.api import aio
from notifykit.unit_of_work.unit import Namespace

PROMISED = """
UNSET Actor AsyncEngine AsyncNotifier AsyncOn AsyncSignal Attempt BoundWorkflow BulkFinished BulkResult BulkUpsert
CancelReport Channel Chat ChatMessage Clock Condition ConfigurationError ConflictError Context Custom DefinitionError
Delay DeliveryError DrainReport Email EmailMessage Engine Everyone Execution ExecutionKind HasSubscriberId HookFailed
InApp InboxMessage InputError Json Message MessageCreated MessageDetails MessageFailed MessageQueued MessageRead
MessageSeen MessageSent MessageSkipped NotFoundError Notifier NotifyKitError On OutgoingMessage Page PayloadError
PermanentDeliveryError Plan Planned Problem Push PushMessage Receipt Recipient Recipients Run RunFinished SchemaError
Signal SkipReason Sms SmsMessage Span Status Step StorageError Subscriber SubscriberChannel TenantRef Topic
TopicDetails TransientDeliveryError Trigger TriggerError TriggerOptions TriggerProcessed TriggerResult UnitError Unset
WorkScheduled Workflow WorkflowOptions
""".split()  # noqa: SIM905 - one name a line would be a page
"""What hosts import: a name goes from here only with a line in the changelog."""
PACKAGES = [pytest.param(package, id=package.__name__) for package in (nk, model, providers, testing)]
HANDED_ON = {"notifykit.providers": {"Integration"}}
"""Names that a package takes from a room below it: providers may not import each other, nor their package."""
NAMESPACES = [*Namespace.__subclasses__(), *aio.AsyncNamespace.__subclasses__()]


def imported(package: ModuleType) -> set[str]:
    """The names that a package's own text takes from the modules in it, or defines."""
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text("utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {
        alias.name for node in nodes if (node.module or "").startswith(f"{package.__name__}.") for alias in node.names
    }
    return names | {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def public_classes() -> Iterator[type]:
    """Every class that a host can name, and the namespaces of the notifiers."""
    for package in (nk, providers, testing):
        yield from (found for name in package.__all__ if inspect.isclass(found := getattr(package, name)))
    yield from NAMESPACES


def methods(kind: type) -> Iterator[tuple[str, object]]:
    """What a class of ours says of itself: its public methods and properties."""
    for name, found in vars(kind).items():
        if not name.startswith("_") and (inspect.isroutine(found) or isinstance(found, property)):
            yield name, found


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted(package: ModuleType) -> None:
    assert package.__all__ == sorted(package.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_complete(package: ModuleType) -> None:
    assert imported(package) - {"aio"} == set(package.__all__) - HANDED_ON.get(package.__name__, set())


def test_every_promised_name_is_there() -> None:
    assert sorted(set(PROMISED) - set(nk.__all__)) == []


def test_a_star_import_brings_every_name() -> None:
    names: dict[str, object] = {}
    exec("from notifykit import *", names)
    assert sorted(set(nk.__all__) - set(names)) == []


def test_names_that_are_imported_late_are_seen_like_the_others() -> None:
    assert dir(nk) == sorted(nk.__all__)
    assert nk.AsyncEngine is aio.AsyncEngine


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'notifykit' has no attribute 'Enginge'"):
        nk.Enginge  # type: ignore[attr-defined]  # noqa: B018


def test_every_public_class_explains_itself() -> None:
    silent = [kind.__name__ for kind in public_classes() if not (kind.__doc__ or "").strip()]
    assert silent == []


def test_every_public_method_explains_itself() -> None:
    silent = [
        f"{kind.__name__}.{name}"
        for kind in public_classes()
        for name, found in methods(kind)
        if not inspect.getdoc(found)
    ]
    assert silent == []
