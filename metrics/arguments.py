"""Metrics with arguments, as users write them: NAME(KEY=VALUE, …)."""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.core.errors import UserError
from bench.core.record import describe
from bench.core.values import shown
from metrics.base import Metric


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Split NAME(KEY=VALUE, …) into the name and the arguments; the values are Python literals.

    Raises:
        UserError: for text of another form.
    """
    name, bracket, _ = text.partition("(")
    if not bracket:
        return text, {}
    try:
        call = ast.parse(f"_({text.removeprefix(name)[1:]}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        return name, {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ):  # Python's parser raises these for deep nesting
        raise UserError(
            f"expected a metric as NAME or NAME(KEY=VALUE, …) such as prs_by_layer(train_images=1000), got "
            f"{shown(text)}"
        ) from None


def convert(name: str, metric: object, values: dict[str, Any]) -> dict[str, Any]:
    """Convert arguments to the types of the metric's dataclass fields; arguments of another class stay as they are.

    Args:
        name: what messages call the metric.
        metric: its class, or a function that makes it.
        values: as `parse` gives them.

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
