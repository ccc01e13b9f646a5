"""The one configuration system: frozen pydantic models, read from YAML, overridden by dotted keys."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vosforge.errors import InputError
from vosforge.files import at_home

SHOWN = 80
"""Maximum characters of a bad value shown in an error."""


class Record(BaseModel):
    """Frozen, validated data without unknown keys: the base of every config and spec."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


RecordT = TypeVar("RecordT", bound=Record)
Number = TypeVar("Number", int, float)
Named = TypeVar("Named")


def _ordered(ends: tuple[Number, ...]) -> tuple[Number, ...]:
    if list(ends) != sorted(ends):
        raise ValueError(f"put the lower number first, as in {sorted(ends)}")
    return ends


ASCENDING = AfterValidator(_ordered)
"""Rejects numbers that do not ascend."""
Range = Annotated[tuple[Number, Number], ASCENDING]
"""Minimum and maximum."""
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PathOfUser = Annotated[Path, AfterValidator(at_home)]
"""A path; ~ is expanded to the user's home."""


def named(kind: str, name: str, known: Mapping[str, Named]) -> Named:
    """The entry ``name`` of a table of named settings, such as presets; InputError lists the ``known`` ones."""
    if name not in known:
        raise InputError(f"unknown {kind} '{name}'; known: {', '.join(known)}")
    return known[name]


def parsed_settings(texts: Iterable[str]) -> dict[str, object]:
    """Overrides for `read_config` from texts such as ``render.samples=8``, each value read as YAML."""
    return dict(_parsed(text) for text in texts)


def read_config(
    model: type[RecordT],
    path: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    base: RecordT | None = None,
) -> RecordT:
    """A validated ``model``: ``base`` (or the model's defaults), changed by a YAML file, changed by ``overrides``.

    ``overrides``: values, records among them, by dotted keys such as ``render.samples``.
    Raises InputError in one sentence for a missing file, broken YAML, an unknown key or a bad value.
    """
    values: dict[str, Any] = base.model_dump(mode="json") if base else {}
    if path is not None:
        _merge(values, read_yaml(path))
    given = []
    for key, value in (overrides or {}).items():
        given.append(key.split("."))
        _set(values, given[-1], value.model_dump(mode="json") if isinstance(value, Record) else value)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = [str(part) for part in error.errors()[0]["loc"]]
        of_line = any(keys[: len(wrong)] == wrong[: len(keys)] for keys in given)
        where = "the command line" if of_line or path is None else str(path)
        raise InputError(f"{where}: {explain(error, model)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file in UTF-8, or in UTF-16 with a byte order mark.

    Raises InputError when it cannot be read or holds something else.
    """
    try:
        loaded = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # YAML reads dates, and refuses some by ValueError
        raise InputError(f"{path} is not valid YAML: {_problem(error)}") from None
    if loaded is not None and not isinstance(loaded, dict):
        raise InputError(f"{path} must hold keys and values, not a {type(loaded).__name__}")
    return loaded or {}


def _parsed(text: str) -> tuple[str, object]:
    key, separator, raw = text.partition("=")
    keys = [part.strip() for part in key.split(".")]
    if not separator or not all(keys):
        raise InputError(f"cannot read the setting '{text}': write it as key=value, for example render.samples=8")
    try:
        return ".".join(keys), yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the setting '{text}': '{raw}' is not valid YAML: {_problem(error)}") from None


def _problem(error: Exception) -> str:
    """A YAML error and its position, on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


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
    value = repr(problem["input"])
    value = value if len(value) <= SHOWN else f"{value[: SHOWN - 2]} …"
    if not key:
        return message
    return f"'{key}' cannot be {value}: {message[:1].lower()}{message[1:]}"


def _set(values: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise InputError(f"cannot set '{'.'.join(keys)}': '{key}' holds a value, not a group of settings")
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
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return list(model.model_fields)
