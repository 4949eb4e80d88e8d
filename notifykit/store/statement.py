"""Statements: built with Core once, compiled once a dialect, run at the driver with tuples.

Core with dictionaries costs 2.2 times as much on the hot way. Values go through the bind processors of their columns'
types and rows through the result processors, so a `datetime` is a `datetime` on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pydantic_core import to_json
from sqlalchemy import ClauseElement, ColumnElement, Connection, Executable, Integer, Text, TypeDecorator, bindparam
from sqlalchemy import Dialect as SqlDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Processor = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One statement in one dialect."""

    text: str
    defaults: Mapping[str, Any]
    encode: tuple[tuple[str, Processor | None], ...]
    decode: tuple[tuple[int, Processor], ...]

    def arguments(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The driver's arguments, in order."""
        given = {**self.defaults, **values} if self.defaults else values
        return tuple([given[name] if encode is None else encode(given[name]) for name, encode in self.encode])


class StatementRunner(Protocol):
    """Compiles statements for one database, and runs them at its driver."""

    def prepared(self, statement: Statement) -> Prepared:
        """A statement as this database wants it."""
        ...

    def fetch(self, connection: Connection, text: str, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        ...

    def change(self, connection: Connection, text: str, arguments: Any) -> int:
        """Run a change; how many rows it hit."""
        ...


class ExecutionContext(Protocol):
    """Where a statement runs: an open transaction, and what is special about its database."""

    @property
    def connection(self) -> Connection:
        """The transaction's."""
        ...

    @property
    def dialect(self) -> StatementRunner:
        """The database's."""
        ...


class Statement:
    """A Core statement with named parameters (`bindparam("name")`), to be kept as a module's constant.

    Example:
        ```python
        FIND = Statement(select(Event.id).where(Event.environment == bindparam("environment"), any_of(Event.id, "ids")))
        rows = FIND.rows(unit, environment=1, ids=[1, 2, 3])
        ```
    """

    __slots__ = ("core", "forms")

    def __init__(self, core: Executable) -> None:
        """Keep the statement; it is compiled when a dialect first runs it."""
        self.core = core
        self.forms: dict[Hashable, Prepared] = {}

    def rows(self, unit: ExecutionContext, **values: Any) -> list[tuple[Any, ...]]:
        """Every row, as a plain tuple."""
        dialect = unit.dialect
        prepared = dialect.prepared(self)
        found = dialect.fetch(unit.connection, prepared.text, prepared.arguments(values))
        if len(prepared.decode) == 1:
            ((at, processor),) = prepared.decode
            return [row if row[at] is None else (*row[:at], processor(row[at]), *row[at + 1 :]) for row in found]
        if prepared.decode:
            return [_decoded(row, prepared.decode) for row in found]
        return found if not found or type(found[0]) is tuple else [tuple(row) for row in found]

    def row(self, unit: ExecutionContext, **values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        found = self.rows(unit, **values)
        return found[0] if found else None

    def run(self, unit: ExecutionContext, **values: Any) -> int:
        """Run a change; how many rows it hit."""
        prepared = unit.dialect.prepared(self)
        return unit.dialect.change(unit.connection, prepared.text, prepared.arguments(values))

    def many(self, unit: ExecutionContext, values: Sequence[Mapping[str, Any]]) -> None:
        """Run a change once for each mapping, in one call to the driver."""
        if values:
            prepared = unit.dialect.prepared(self)
            rows = [prepared.arguments(each) for each in values]
            unit.dialect.change(unit.connection, prepared.text, rows)


def _decoded(row: Sequence[Any], decode: tuple[tuple[int, Processor], ...]) -> tuple[Any, ...]:
    """A row with its cells decoded; NULL is None in every type."""
    cells: list[Any] | None = None
    for at, processor in decode:
        if row[at] is not None:
            cells = list(row) if cells is None else cells
            cells[at] = processor(row[at])
    return tuple(row) if cells is None else tuple(cells)


def prepare(core: Executable, dialect: SqlDialect) -> Prepared:
    """Compile a statement for a dialect whose parameters are positional."""
    compiled = cast("ClauseElement", core).compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    required = {name for name, bind in compiled.binds.items() if bind.required}
    encode: dict[str, Processor] = {}
    for name, bind in compiled.binds.items():
        processor = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if processor is not None:
            encode[name] = processor
    text, names, defaults = compiled.string, tuple(compiled.positiontup or ()), dict(compiled.params)
    if compiled.post_compile_params:  # `column.in_([1, 2])` with constants
        fixed = compiled.construct_expanded_state(dict.fromkeys(required))
        text, names, defaults = fixed.statement, tuple(fixed.positiontup or ()), dict(fixed.parameters)
        encode |= cast("dict[str, Processor]", fixed.processors)
    decode = []
    for at, column in enumerate(compiled._result_columns):  # the public face of this is a CursorResult of Core's own
        result = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if result is not None:
            decode.append((at, result))
    for name in required:  # a missing value is an error, not a NULL
        defaults.pop(name, None)
    return Prepared(text, defaults, tuple((name, encode.get(name)) for name in names), tuple(decode))


class SetForm:
    """How a set of values is one parameter: JSON, where a database has nothing of its own.

    `Dialect.set_form` says which one a database has; `prepare` finds it at SQLAlchemy's dialect.
    """

    type: TypeEngine[Any] = Text()
    """The parameter's."""

    def bound(self, members: list[Any]) -> Any:
        """The set as the driver wants it."""
        return to_json(members).decode()

    def contains(self, column: str, parameter: str, *, numbers: bool) -> str:
        """SQL that says whether the set has the column's value: a subquery, for a join would be planned outermost."""
        return f"{column} IN (SELECT value FROM json_each({parameter}))"


def form_of(dialect: SqlDialect) -> SetForm:
    """The form of sets in one dialect."""
    return cast("SetForm", getattr(dialect, "notifykit_set_form"))  # noqa: B009 (no attribute of SQLAlchemy's)


class SetOf(TypeDecorator[Iterable[Any]]):
    """A set of values in one parameter."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlDialect) -> Any:
        """The parameter's type on one database."""
        return dialect.type_descriptor(form_of(dialect).type)

    def process_bind_param(self, value: Iterable[Any] | None, dialect: SqlDialect) -> Any:
        """The set as the driver wants it."""
        return form_of(dialect).bound(list(value or ()))


class AnyOf(ColumnElement[bool]):
    """`column IN (set)`, the set one parameter."""

    inherit_cache = False

    def __init__(self, column: Any, name: str) -> None:
        """Compare a column with the set that will be passed under a name."""
        self.column = column
        self.bind = bindparam(name, type_=SetOf(), required=True)


def any_of(column: Any, name: str) -> ColumnElement[bool]:
    """`column` is one of the values passed as the parameter `name` (any iterable of numbers or texts)."""
    return AnyOf(column, name)


@compiles(AnyOf)
def _any_of(element: AnyOf, compiler: SQLCompiler, **kw: Any) -> str:
    column, bind = compiler.process(element.column, **kw), compiler.process(element.bind, **kw)
    numbers = isinstance(element.column.type.dialect_impl(compiler.dialect), Integer)
    return form_of(compiler.dialect).contains(column, bind, numbers=numbers)
