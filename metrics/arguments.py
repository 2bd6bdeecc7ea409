"""The arguments of metrics, as types and as the settings of a record."""

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.core.errors import UserError
from bench.core.record import describe
from metrics.base import Metric


def convert(name: str, metric: object, values: dict[str, Any]) -> dict[str, Any]:
    """Convert arguments to the types of the metric's dataclass fields; arguments of another class stay as they are.

    Args:
        name: what messages call the metric.
        metric: its class, or a function that makes it.
        values: as `bench.core.arguments.parse` gives them.

    Raises:
        UserError: for a value that does not have the field's type.
    """
    types: dict[str, Any] = {each.name: each.type for each in fields(metric)} if is_dataclass(metric) else {}
    converted = dict(values)
    for key, value in values.items():
        if key in types and not isinstance(types[key], str):
            try:
                converted[key] = TypeAdapter(types[key]).validate_python(value)
            except ValidationError as error:
                problem = describe(error).removeprefix("value: ")
                several = error.errors()[0]["type"] == "tuple_type"
                hint = f"; several values stand in brackets, such as {key}=({value!r},)" if several else ""
                raise UserError(f"metric {name}, {key}: {problem}{hint}") from None
    return converted


def rebuild(metric: Metric, settings: Mapping[str, Any]) -> Metric | None:
    """Make a metric like another one that has the settings of a record; None where none has exactly these.

    Settings are named like the constructor's arguments or follow from these. A tuple of words is stored as text,
    separated by commas, and "all" where it is empty.

    Args:
        metric: of the same class.
        settings: as `Metric.settings` gives them.
    """
    if metric.settings() == settings:
        return metric
    kind, values = type(metric), {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in settings:
            value = settings[name]
            if isinstance(parameter.default, tuple) and isinstance(value, str):
                value = () if value == "all" else tuple(value.split(", "))
            # Text stands for a default that depends on the data.
            if not (parameter.default is None and isinstance(value, str)):
                values[name] = value
    try:
        rebuilt = kind(**convert(metric.name, kind, values))
    except (UserError, TypeError, ValueError):
        return None
    return rebuilt if rebuilt.settings() == settings and rebuilt.name == metric.name else None
