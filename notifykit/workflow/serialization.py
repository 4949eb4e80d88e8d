"""Definitions as plain JSON and back: as they are stored, exported, and given from outside.

The form of a step follows from its class alone: its fields are the keys, their annotations say what may stand there.
So a new kind of step needs nothing here. What a field holds besides JSON is tagged: where the annotation allows a
function, `{"function": "workflow/step"}` names one of the host's and `{"expression": "..."}` is a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache, cached_property, partial, reduce
from operator import or_
from types import UnionType
from typing import (
    Annotated,
    Any,
    NamedTuple,
    NoReturn,
    NotRequired,
    Required,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError, from_json, to_json
from typing_extensions import TypedDict

from notifykit.errors import ConfigurationError, DefinitionError, nearest
from notifykit.model.codes import Channel
from notifykit.texts import error_text, label, quoted
from notifykit.workflow.payload import encode, examined
from notifykit.workflow.payload_adapters import SchemaOnly
from notifykit.workflow.steps import Step, function_name

EXPRESSION, FUNCTION = "expression", "function"
"""The tags of a text and of a function where a field takes both."""
WORKFLOW_FIELDS: dict[str, Any] = {
    "key": str,
    "name": str,
    "group": str,
    "tags": list[str],
    "active": bool,
    "critical": bool,
    "preferences": dict[Channel, bool],
    "payload": dict[str, Any] | None,
    "steps": list[Any],
}
"""The fields of a definition; what its steps hold is read by their kinds."""
KEY_NAMES = ("key", "workflowId")
WORKFLOW_ALIASES = {"key": "workflowId", "payload": "payloadSchema", "preferences": "preferenceSettings"}
STEP_ALIASES = {"id": "stepId", "kind": "type", "stop_on_fail": "shouldStopOnFail"}
"""What the reference API calls the same thing; it is understood in camelCase too."""
EXPECTED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a number",
    "float_type": "a number",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
"""What a value should have been, by pydantic's name for the error."""

TAGGED = "tagged"
"""The name of our own error for a value that lacks its tag."""

FindFunction = Callable[[str, str], Any]
"""Gives the host's function of a step and one of its fields, or anything else where there is none."""


class MissingFunction:
    """Stands for a function that this process does not have; work that needs it waits for a process that does."""

    def __init__(self, name: str) -> None:
        """Keep the function's name, `workflow/step`."""
        self.name = name

    def __call__(self, *args: object) -> NoReturn:
        """Refuse.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(f"this process has no function {self.name!r}: register the workflow's code here")

    def __repr__(self) -> str:
        """The name of what is missing."""
        return f"MissingFunction({self.name!r})"


@dataclass(frozen=True)
class UnknownStep(Step):
    """Stands for a step of a definition that a newer notifykit stored: only its id is known here."""


class Refusal(NamedTuple):
    """One thing that a definition may not say.

    Attributes:
        path: Where it stands, such as `steps.1.body`.
        message: The end of a sentence about it.
        name: The option, tag or kind that is refused.
        step: The place of the step that it stands in, or None.
    """

    path: str
    message: str
    name: str
    step: int | None = None

    def __str__(self) -> str:
        """A sentence."""
        return f"{self.path}: {self.message}" if self.path else self.message


def lacks_function(step: Step) -> bool:
    """Whether a step needs a function that this process does not have."""
    return any(isinstance(getattr(step, option.name), MissingFunction) for option in fields(step))


def step_to_dict(workflow: str, step: Step) -> dict[str, Any]:
    """A step as plain JSON; options that have their default are left out.

    Args:
        workflow: The workflow's key.
        step: A step of it.
    """
    stored: dict[str, Any] = {"kind": step.kind}
    kind: Any = type(step)
    hints = _hints(kind)
    for option in fields(step):
        value = getattr(step, option.name)
        if option.default is not MISSING and value == option.default:
            continue
        if callable(value):
            stored[option.name] = {FUNCTION: function_name(workflow, step.id)}
        elif isinstance(value, str) and _takes_function(hints[option.name]):
            stored[option.name] = {EXPRESSION: value}
        else:
            stored[option.name] = _to_json(value, option.name)
    return stored


def _to_json(value: Any, name: str) -> Any:
    scalar = value is None or isinstance(value, (str, bool, int, float))
    return value if scalar else from_json(encode(value, name))


def from_dict(data: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
    """What a mapping from outside says of a workflow.

    Args:
        data: A definition with its `key`, in either spelling.
        key: Instead of the one in the data.

    Returns:
        The arguments of `Workflow`.

    Raises:
        DefinitionError: A key is missing or unknown, or a value is of the wrong type: a line for each problem.
    """
    given, _, bad = examined(data, "", limit=None)
    refusals = [Refusal(path.removeprefix("."), message, "") for path, message in bad]
    arguments: dict[str, Any] = {}
    if isinstance(given, dict) and not refusals:
        owner = next((given[name] for name in KEY_NAMES if name in given), key)
        if key is not None:
            given = {name: value for name, value in given.items() if name not in KEY_NAMES} | {"key": key}
        arguments, refusals = read(given, lambda step, option: None, owner=owner)
    elif not refusals:
        refusals = [Refusal("", f"a mapping is expected, not {quoted(given)}", "")]
    if refusals:
        where = f"workflow {quoted(given['key'])}" if isinstance(given, dict) and "key" in given else "workflow"
        raise DefinitionError("\n".join(f"{where}: {refusal}" for refusal in refusals))
    return arguments


def read(
    given: Mapping[str, Any], function: FindFunction, *, owner: str | None = None
) -> tuple[dict[str, Any], list[Refusal]]:
    """What a definition of plain JSON says: every key known, every value of its type.

    Args:
        given: A definition with its `key`.
        function: Where the host's functions are looked up; those it lacks become `MissingFunction`.
        owner: The workflow that functions are named after, where it is not the one in the definition.

    Returns:
        The arguments of `Workflow`, and everything that is wrong: they may be used only where nothing is.
    """
    arguments, bad = _workflow_reader().read(given)
    key, steps = arguments.get("key", ""), given.get("steps")
    listed = steps if isinstance(steps, list) else []
    read_steps = [_read_step(key, owner or key, at, step, function) for at, step in enumerate(listed)]
    arguments["steps"] = [step for step, _ in read_steps]
    if arguments.get("payload") is not None:
        arguments["payload"] = SchemaOnly(arguments["payload"])
    return arguments, [*bad, *(refusal for _, refused in read_steps for refusal in refused)]


def _read_step(key: str, owner: str, at: int, given: Any, function: FindFunction) -> tuple[Step | None, list[Refusal]]:
    kind, bad = _kind(given)
    options: dict[str, Any] = {}
    if kind is not None:
        options, bad = _step_reader(kind).read(given)
    for name, value in options.items():
        if isinstance(value, MissingFunction):
            id, known = options["id"], function_name(owner, options["id"])
            if value.name != known:
                bad.append(Refusal(name, f"a function is named by its own workflow and step: {known!r}", value.name))
            found = function(id, name)
            options[name] = found if callable(found) else MissingFunction(function_name(key, id))
    if bad:
        return None, [one._replace(path=f"steps.{at}.{one.path}".rstrip("."), step=at) for one in bad]
    del options["kind"]
    return kind(**options), []


def _kind(given: Any) -> tuple[Any, list[Refusal]]:
    """The class of a step, or None."""
    if not isinstance(given, dict):
        return None, [Refusal("", f"a mapping is expected, not {quoted(given)}", label(given))]
    name = given.get("kind", given.get("type"))
    kind = Step.kinds.get(name) if isinstance(name, str) else None
    wrong = "it is missing" if name is None else f"there is no kind of step {quoted(name)}"
    return kind, [] if kind else [Refusal("kind", f"{wrong}.{nearest(label(name), Step.kinds)}", label(name))]


class _Reader:
    """Reads mappings of JSON: every key one of some fields, every value strictly of its field's type."""

    def __init__(self, hints: Mapping[str, Any], required: Collection[str], aliases: Mapping[str, str]) -> None:
        self._hints = hints
        self._required = required
        self._spellings = {name: {name, to_camel(name), aliases.get(name, name)} for name in hints}

    @cached_property
    def _adapter(self) -> TypeAdapter[dict[str, Any]]:
        made = cast("Any", TypedDict)("Fields", {name: self._field(name, hint) for name, hint in self._hints.items()})
        made.__pydantic_config__ = ConfigDict(strict=True, extra="forbid")
        return TypeAdapter(made)

    def _field(self, name: str, hint: Any) -> Any:
        spellings = AliasChoices(name, *sorted(self._spellings[name] - {name}))
        field: Any = Annotated[_json_type(hint), Field(validation_alias=spellings)]
        return Required[field] if name in self._required else NotRequired[field]

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Refusal]]:
        """The values by field; none of them where anything is wrong."""
        try:
            return self._adapter.validate_json(to_json(given)), []
        except ValidationError as error:
            details = error.errors(include_url=False)
        except ValueError as error:  # half of a surrogate pair, which JSON cannot hold
            return {}, [Refusal("", error_text(error), "")]
        paths: dict[tuple[Any, ...], list[ErrorDetails]] = {}
        for detail in details:
            paths.setdefault(_path(detail, given), []).append(detail)
        return {}, [self._refusal(path, found) for path, found in paths.items()]

    def _refusal(self, path: tuple[Any, ...], found: list[ErrorDetails]) -> Refusal:
        where, name = ".".join(map(label, path)), label(path[0])
        if found[0]["type"] == "extra_forbidden":
            twin = next((field for field, spellings in self._spellings.items() if name in spellings), None)
            unknown = f"there is no such option.{nearest(name, self._hints)}"
            return Refusal(where, f"it is given twice, also as {twin!r}" if twin else unknown, name)
        tag = next((detail["ctx"]["tag"] for detail in found if detail["type"] == TAGGED), "")
        return Refusal(where, _sentence(found), tag or name)


def _path(detail: ErrorDetails, given: Any) -> tuple[Any, ...]:
    """Where an error stands in what was given; what pydantic adds to it names members of a union."""
    path: list[Any] = []
    for part in detail["loc"]:
        inside = part in given if isinstance(given, dict) else isinstance(given, list) and part in range(len(given))
        if not inside:
            break
        path.append(part)
        given = given[part]
    return tuple(path) if detail["type"] != "missing" else (*path, detail["loc"][-1])


def _sentence(found: list[ErrorDetails]) -> str:
    """What is wrong with one value, told once for all members of a union."""
    first = found[0]
    if first["type"] == "missing":
        return "it is missing"
    if first["type"] == "literal_error":
        possible = re.findall("'([^']*)'", first["ctx"]["expected"])
        return f"{quoted(first['input'])} is not possible.{nearest(label(first['input']), possible)}"
    other = [each for each in found if each["type"] not in {"none_required", *EXPECTED}]
    if other:
        return other[0]["msg"][:1].lower() + other[0]["msg"][1:]
    expected = dict.fromkeys(EXPECTED[each["type"]] for each in found if each["type"] in EXPECTED)
    return f"{' or '.join(expected)} is expected, not {quoted(first['input'])}"


@cache
def _workflow_reader() -> _Reader:
    return _Reader(WORKFLOW_FIELDS, ("key", "steps"), WORKFLOW_ALIASES)


@cache
def _step_reader(kind: Any) -> _Reader:
    required = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    return _Reader({"kind": str, **_hints(kind)}, ["kind", *required], STEP_ALIASES)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {option.name: hints[option.name] for option in fields(kind)}


def _takes_function(hint: Any) -> bool:
    return get_origin(hint) is Callable or any(map(_takes_function, get_args(hint) if _is_union(hint) else ()))


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in {Union, UnionType}


def _json_type(hint: Any) -> Any:
    """The type of the JSON form of a field's values: functions tagged, and texts too where both may stand."""
    if get_origin(hint) is Callable:
        return _tagged((FUNCTION,))
    if get_origin(hint) in CONTAINERS:
        return get_origin(hint)[tuple(map(_json_type, get_args(hint)))]
    if not _is_union(hint):
        return NUMBERS.get(hint, hint)
    members = get_args(hint)
    if not _takes_function(hint):
        return reduce(or_, map(_json_type, members))
    tags = (EXPRESSION, FUNCTION) if str in members else (FUNCTION,)
    plain = [_json_type(each) for each in members if each is not str and not _takes_function(each)]
    return reduce(or_, plain, _tagged(tags))


def _tagged(tags: tuple[str, ...]) -> Any:
    return Annotated[Any, AfterValidator(partial(_untag, tags))]


def _untag(tags: tuple[str, ...], value: Any) -> Any:
    """What stands behind a tag.

    Raises:
        PydanticCustomError: No tag is there, or none that is known.
    """
    tag, text = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else ("", None)
    if tag in tags and isinstance(text, str):
        return text if tag == EXPRESSION else MissingFunction(text)
    forms = " or ".join(f'{{"{each}": "..."}}' for each in tags)
    problem = f"{forms} is expected, not {quoted(value)}"
    raise PydanticCustomError(TAGGED, "{problem}", {"problem": problem, "tag": tag})


def _whole(value: Any) -> Any:
    if isinstance(value, float) and not value.is_integer():
        raise PydanticCustomError("whole", "a whole number is expected")
    return value


CONTAINERS = {Sequence, Mapping, list, dict, tuple}
NUMBERS: dict[Any, Any] = {float: int | float, int: Annotated[int | float, AfterValidator(_whole)]}
"""What JSON writes for numbers: 1 is a float too, and stays 1, or its hash would change."""
