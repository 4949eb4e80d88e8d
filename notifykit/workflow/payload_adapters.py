"""Payloads validated and written as JSON: by a model, a dataclass, a JSON Schema that was stored, or as they are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import PydanticSerializationError, to_json

from notifykit.errors import ConfigurationError, DefinitionError, InputError, PayloadError
from notifykit.settings import PAYLOAD_BYTES, PAYLOAD_DEPTH
from notifykit.texts import error_text
from notifykit.workflow.payload import Problems, examined, has_suspects, plain, suspicious

ROOT = "payload"
Serialized = tuple[dict[str, Any], str] | PayloadError
"""A payload's JSON form and text, or what is wrong with it."""


class PayloadAdapter(Protocol):
    """Validates payloads, writes them as JSON, and makes them of it again."""

    @property
    def model(self) -> type[Any] | None:
        """The class that payloads are instances of, or None."""
        ...

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema, or None where any mapping will do."""
        ...

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """A payload from the arguments of a call."""
        ...

    def serialize_many(self, payloads: Sequence[Any]) -> list[Serialized]:
        """Validate many."""
        ...

    def deserialize(self, payload: Mapping[str, Any]) -> Any:
        """A stored payload as what it was made from."""
        ...


def adapter_for(payload: Any) -> PayloadAdapter:
    """The adapter for what a workflow's `payload=` says.

    Raises:
        DefinitionError: It is no model, no dataclass and not None.
        ConfigurationError: It is a JSON Schema.
    """
    if payload is None:
        return ANY_MAPPING
    if isinstance(payload, SchemaOnly):
        return payload
    if isinstance(payload, type) and (issubclass(payload, BaseModel) or dataclasses.is_dataclass(payload)):
        if issubclass(payload, RootModel):
            raise DefinitionError(
                f"payload: {payload.__name__} is a RootModel; a payload has fields, give a model that has"
            )
        return ModelAdapter(payload)
    if isinstance(payload, Mapping):
        raise ConfigurationError(
            "payload: a JSON Schema needs the extra `jsonschema`, which comes later; give a model or a dataclass"
        )
    raise DefinitionError(f"payload: a pydantic model, a dataclass or None is expected, not {payload!r}")


def refused(bad: Problems) -> PayloadError:
    """One error that names every bad field."""
    return PayloadError("; ".join(f"{path}: {message}" for path, message in bad), field=bad[0][0], problems=tuple(bad))


class AnyMapping:
    """Any mapping."""

    model: type[Any] | None = None
    schema: dict[str, Any] | None = None

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """The arguments as a dictionary."""
        return dict(*args, **kwargs)

    def serialize_many(self, payloads: Sequence[Any]) -> list[Serialized]:
        """Make each plain."""
        return [self._serialize(payload) for payload in payloads]

    def _serialize(self, payload: Any) -> Serialized:
        if payload is None:
            return {}, "{}"
        if isinstance(payload, BaseModel) or (dataclasses.is_dataclass(payload) and not isinstance(payload, type)):
            found, text, bad = examined(payload, ROOT)
            return refused(bad) if bad else (found, text)
        try:
            return plain(payload, ROOT)
        except InputError as error:
            return PayloadError(
                str(error), field=error.field, problems=((error.field, str(error).removeprefix(f"{error.field}: ")),)
            )

    def deserialize(self, payload: Mapping[str, Any]) -> Any:
        """The mapping itself."""
        return payload


ANY_MAPPING = AnyMapping()


class SchemaOnly(AnyMapping):
    """What a process without the code knows of a payload: the schema's own required fields and defaults."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """The JSON Schema as it was stored; of one that is none nothing is known."""
        self.schema: dict[str, Any] = schema
        reference = schema.get("$ref")
        named = _mapping(schema.get("$defs")).get(reference.rsplit("/", 1)[-1]) if isinstance(reference, str) else None
        top = schema if reference is None else _mapping(named)
        required = top.get("required")
        self._required = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        self._defaults = {
            name: field["default"]
            for name, field in _mapping(top.get("properties")).items()
            if isinstance(field, Mapping) and "default" in field
        }

    def _serialize(self, payload: Any) -> Serialized:
        found = super()._serialize(payload)
        if isinstance(found, PayloadError):
            return found
        values = found[0]
        if missing := [name for name in self._required if name not in values]:
            return refused([(f"{ROOT}.{name}", "field required") for name in missing])
        if self._defaults.keys() <= values.keys():
            return found
        filled = self._defaults | values
        return filled, to_json(filled).decode()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


class SchemaGenerator(GenerateJsonSchema):
    """Schemas for people and for hashes: what has no JSON form is left out without a warning."""

    ignored_warning_kinds: ClassVar[set[JsonSchemaWarningKind]] = {  # type: ignore[misc]
        "skipped-choice",
        "non-serializable-default",
        "skipped-discriminator",
    }


class ModelAdapter:
    """A pydantic model or a dataclass."""

    def __init__(self, model: type[Any]) -> None:
        """The class."""
        self.model: type[Any] | None = model
        self._class = model
        self._is_model = issubclass(model, BaseModel)
        self._computed = (
            frozenset(cast("type[BaseModel]", model).model_computed_fields) if self._is_model else frozenset()
        )

    @functools.cached_property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the JSON form; only a title where the model has none."""
        try:
            return self._adapter.json_schema(by_alias=False, schema_generator=SchemaGenerator)
        except PydanticInvalidForJsonSchema:
            return {"title": self._class.__name__}

    @functools.cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._class)

    @functools.cached_property
    def _many(self) -> TypeAdapter[list[Any]]:
        # Without this a NaN in a field of any type would silently become null.
        config = ConfigDict(ser_json_inf_nan="constants")
        return TypeAdapter(list[self._class], config=config)  # type: ignore[name-defined]

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """An instance."""
        try:
            return self._class(*args, **kwargs)
        except ValidationError as error:
            raise refused(_by_place(error, 0)[0]) from error

    def serialize_many(self, payloads: Sequence[Any]) -> list[Serialized]:
        """Validate many in one call; where a function of the model raises, one by one: it is one payload's error."""
        try:
            return self._together(payloads)
        except Exception as error:  # pydantic lets through what a validator raises besides ValueError
            if len(payloads) == 1:
                return [_failed(error)]
            return [found for payload in payloads for found in self.serialize_many([payload])]

    def _together(self, payloads: Sequence[Any]) -> list[Serialized]:
        """Many at once; the good ones of a mixed chunk are validated once more without the bad."""
        given = [self._given(payload) for payload in payloads]
        bad: dict[int, Problems] = {}
        try:
            made = self._many.validate_python(given, by_alias=True, by_name=True)
        except ValidationError as error:
            bad = _by_place(error, 1)
            good = [one for at, one in enumerate(given) if at not in bad]
            made = self._many.validate_python(good, by_alias=True, by_name=True)
        finished = iter(self._finished(made))
        return [refused(bad[at]) if at in bad else next(finished) for at in range(len(given))]

    def deserialize(self, payload: Mapping[str, Any]) -> Any:
        """A stored payload as an instance."""
        try:
            return self._adapter.validate_python(self._given(payload), by_alias=True, by_name=True)
        except ValidationError as error:
            raise refused(_by_place(error, 0)[0]) from error

    def _given(self, payload: Any) -> Any:
        """What is validated: instances that pydantic would wave through unseen are opened first."""
        if payload is None:
            return {}
        if isinstance(payload, self._class):
            return payload if self._checked else _opened(payload)
        if isinstance(payload, Mapping):
            return (
                {name: payload[name] for name in payload if name not in self._computed} if self._computed else payload
            )
        return payload

    @functools.cached_property
    def _checked(self) -> bool:
        """Whether an instance has been validated when it was made: SQLModel's tables and plain dataclasses have not."""
        return self._is_model and not self._class.model_config.get("table")

    def _finished(self, made: list[Any]) -> list[Serialized]:
        try:
            plains = self._many.dump_python(made, mode="json", warnings="error")
            texts = [to_json(one) for one in plains]
        except (PydanticSerializationError, UnicodeError, ValueError, RecursionError):
            return [self._examined(one) for one in made]
        if _clean(texts):
            return [(one, text.decode()) for one, text in zip(plains, texts, strict=True)]
        return [
            self._examined(one) if suspicious(text) else (value, text.decode())
            for one, value, text in zip(made, plains, texts, strict=True)
        ]

    def _examined(self, one: Any) -> Serialized:
        try:
            value = self._many.dump_python([one], mode="json", warnings="error")[0]
        except (PydanticSerializationError, UnicodeError, ValueError, RecursionError) as error:
            _, _, bad = examined(_opened(one), ROOT)
            return refused(bad or [(ROOT, f"it has no JSON form: {error_text(error)}")])
        found, text, bad = examined(value, ROOT)
        return refused(bad) if bad else (found, text)


def _clean(texts: list[bytes]) -> bool:
    """One look at a whole chunk; only where it finds something each text is looked at."""
    whole = b"\n".join(texts)
    brackets = whole.count(b"{") + whole.count(b"[")
    return brackets < PAYLOAD_DEPTH + len(texts) and len(whole) <= PAYLOAD_BYTES and not has_suspects(whole)


def _opened(instance: Any) -> Any:
    if isinstance(instance, BaseModel):
        return {name: getattr(instance, name) for name in type(instance).model_fields if hasattr(instance, name)}
    return dataclasses.asdict(instance)


def _by_place(error: ValidationError, depth: int) -> dict[int, Problems]:
    """The problems of a validation by the place of the payload in the list; without a list all at place 0."""
    bad: dict[int, Problems] = {}
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        place, path = (found["loc"][0], found["loc"][1:]) if depth else (0, found["loc"])
        message = found["msg"][:1].lower() + found["msg"][1:]
        bad.setdefault(cast("int", place), []).append((".".join(map(str, (ROOT, *path))), message))
    return bad


def _failed(error: Exception) -> PayloadError:
    found = refused([(ROOT, f"its model raised {error_text(error)}")])
    found.__cause__ = error
    return found
