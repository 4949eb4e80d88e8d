"""Fixtures that every test may ask for.

`notify` is the behaviour suite's engine: each test that asks for it runs on both notifiers and on every database
that is found here, and leaves the same rows on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.harness import databases, hosted, leaks, statements
from tests.harness.both import Both, Notifier
from tests.harness.dump import Dump, dump

DOORS: tuple[Notifier, ...] = get_args(Notifier)
VARIANTS = [pytest.param((notifier, name), id=f"{notifier}-{name}") for name in databases.NAMES for notifier in DOORS]
HAND_MADE = {"lifecycle", "resources", "store"}
"""Tests of these rooms write rows by hand, where what they belong to does not matter."""
MARKERS = (
    "uneven: rows depend on ids or chunks (back-off, blocks), so they are not compared between databases",
    "orphaned: leaves rows behind on purpose",
    "own: about transactions of our own, or about who was there first; left out where verbs run in a host's",
    "servers: about what only servers have",
    "table: one row of many of a table of values; both notifiers, but in memory only",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the suite run in a host's transactions."""
    parser.addoption("--host-isolation", choices=hosted.LEVELS, help="run each verb in a host's transaction like this")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers of this suite."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a host's transactions run what can run there."""
    if config.getoption("host_isolation"):
        told: list[Any] = items
        left = {item for item in told if item.get_closest_marker("own") or "notify" not in item.fixturenames}
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def place_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[databases.Opened]:
    """The session's database of a name: opened at first use, dropped at the end, skipped with a reason if absent."""
    known: dict[str, databases.Place | str] = {}
    with ExitStack() as stack:

        def place(name: databases.Name) -> databases.Place:
            if name not in known:
                folder = tmp_path_factory.mktemp(name)
                known[name] = databases.missing(name) or stack.enter_context(databases.opened(name, folder))
            found = known[name]
            if isinstance(found, str):
                pytest.skip(found)
            return found

        yield place


@pytest.fixture(scope="session")
def dumps() -> dict[str, Dump]:
    """What the first variant of each scenario left: the others must leave the same."""
    return {}


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a thread alive, a connection out of its pool, or rows that nothing will ever finish."""
    loose = request.node.get_closest_marker("orphaned") or HAND_MADE & set(request.path.parts)
    with leaks.watched(), nullcontext() if loose else leaks.rows_watched():
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a scenario on every notifier and database, a table of values in memory only."""
    if "variant" in metafunc.fixturenames:
        table = metafunc.definition.get_closest_marker("table")
        served = metafunc.config.getoption("host_isolation") or metafunc.definition.get_closest_marker("servers")
        variants = VARIANTS[-2 * len(DOORS) :] if served else VARIANTS
        chosen = variants[: len(DOORS)] if table else variants
        metafunc.parametrize("variant", chosen, indirect=True)


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> tuple[Notifier, databases.Name]:
    """One notifier and one database."""
    chosen: tuple[Notifier, databases.Name] = request.param
    return chosen


@pytest.fixture
def house(
    request: pytest.FixtureRequest, variant: tuple[Notifier, databases.Name], place_of: databases.Opened, tmp_path: Path
) -> Iterator[Callable[..., Both]]:
    """Opens engines on this test's database: a second one is another process's view of the same rows."""
    notifier, name = variant
    url = place_of(name).fresh(tmp_path)
    level = request.config.getoption("host_isolation")
    with ExitStack() as stack:

        def opened(**options: Any) -> Both:
            kind: Callable[..., Both] = partial(hosted.Hosted, level=level) if level else Both
            both = kind(options.pop("notifier", notifier), url, place=name, **options)
            stack.callback(both.finish)
            return both

        yield opened


@pytest.fixture
def notify(request: pytest.FixtureRequest, house: Callable[..., Both], dumps: dict[str, Dump]) -> Iterator[Both]:
    """An engine with a clock that stands still and hooks on every channel; its rows are compared at the end."""
    both = house()
    yield both
    report = getattr(request.node, "report_of_call", None)
    if report is None or not report.passed:
        return
    if not request.node.get_closest_marker("uneven"):
        compared(request.node, both, dumps)


def compared(node: pytest.Item, both: Both, dumps: dict[str, Dump]) -> None:
    """Compare what a scenario left with what it left on the first variant that ran."""
    scenario = node.nodeid.replace(f"{both.notifier}-{both.place}", "", 1)
    rows = both.read(lambda connection: dump(connection, both.start))
    expected = dumps.setdefault(scenario, rows)
    for table, found in rows.items():
        assert found == expected[table], f"the rows of {table} differ from those of the first variant"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know how the test itself went."""
    report = yield
    if call.when == "call":
        item.report_of_call = report  # type: ignore[attr-defined]
    return report


@pytest.fixture
def counted() -> Any:
    """`with counted() as seen:` records the SQL statements of the block."""
    return statements.statements
