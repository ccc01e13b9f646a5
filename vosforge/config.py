"""The one configuration system: frozen pydantic models, read from YAML, overridden by ``key.path=value`` texts."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from vosforge.errors import InputError


class Record(BaseModel):
    """Frozen, validated data that knows all its keys: the base of every config and every spec."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


RecordT = TypeVar("RecordT", bound=Record)


def read_config(
    model: type[RecordT], path: Path | None = None, overrides: Iterable[str] = (), base: RecordT | None = None
) -> RecordT:
    """A validated ``model``: ``base`` (or the model's defaults), changed by a YAML file, changed by ``overrides``.

    An override is a text such as ``render.samples=8``; its value is read as YAML.
    Raises InputError in one sentence for a missing file, broken YAML, an unknown key or a bad value.
    """
    values: dict[str, Any] = base.model_dump(mode="json") if base else {}
    where = "the command line"
    if path is not None:
        where = str(path)
        try:
            loaded = yaml.safe_load(Path(path).read_text())
        except OSError as error:
            raise InputError(f"cannot read the configuration {path}: {error.strerror}") from None
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
        if loaded is not None and not isinstance(loaded, dict):
            raise InputError(f"{path} must hold keys and values, not a {type(loaded).__name__}")
        _merge(values, loaded or {})
    for text in overrides:
        key, separator, raw = text.partition("=")
        if not separator:
            raise InputError(f"cannot read the setting '{text}': write it as key=value, for example render.samples=8")
        _set(values, key.split("."), yaml.safe_load(raw), text)
    return validated(model, values, where)


def validated(model: type[RecordT], values: Mapping[str, Any], where: str) -> RecordT:
    """``values`` as a ``model``; what is wrong becomes one InputError sentence that names ``where`` and the key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error, model)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a pydantic error as one sentence, with the nearest known key for an unknown one."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys here: {', '.join(known)}"
        return f"unknown key '{key}'; {hint}"
    if problem["type"] == "missing":
        return f"the key '{key}' is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"'{key}' cannot be {problem['input']!r}: {message[:1].lower()}{message[1:]}"


def _set(values: dict[str, Any], keys: list[str], value: object, text: str) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise InputError(f"cannot apply '{text}': '{key}' holds a value, not a group of settings")
    values[keys[-1]] = value


def _merge(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            continue
        model = field.annotation
    return list(model.model_fields)
