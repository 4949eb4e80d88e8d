"""Secrets in payload models: pydantic writes them as asterisks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

SECRETS = (SecretStr, SecretBytes, Secret)


def secret_fields(model: type[Any]) -> Iterator[str]:
    """The paths of the fields of a model or dataclass that are, or hold, a secret.

    Args:
        model: A pydantic model or a dataclass.
    """
    yield from _inside(model, "", frozenset())


def _inside(model: type[Any], above: str, seen: frozenset[type[Any]]) -> Iterator[str]:
    for name, kind in _fields(model).items():
        yield from _kind(kind, above + name, seen | {model})


def _kind(kind: Any, path: str, seen: frozenset[type[Any]]) -> Iterator[str]:
    if isinstance(kind, type) and issubclass(kind, SECRETS):
        yield path
    elif (
        isinstance(kind, type) and kind not in seen and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))
    ):
        yield from _inside(kind, f"{path}.", seen)
    for part in get_args(kind):
        yield from _kind(part, path, seen)


def _fields(model: type[Any]) -> Mapping[str, Any]:
    if issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    try:
        return get_type_hints(model)
    except (NameError, TypeError):
        return {}
