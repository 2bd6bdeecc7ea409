"""Variants of a network: NAME(OPTION=VALUE, …), where the options are the builder's parameters with defaults."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from bench.core.arguments import parse
from bench.core.errors import UserError
from bench.core.registry import Registry
from bench.core.values import shown

#: What `bench.models.build` offers every builder; these are no options.
OFFERED = ("input_shape", "num_classes")
EXAMPLE = "cnn6(activation=silu)"


class Networks(Registry):
    """The registry of networks, whose names may carry options."""

    def get(self, name: str) -> Any:
        """The builder called `name`, or the one that `module:function` points to, with the options of the name.

        Raises:
            UserError: as for `Registry.get`; for an option that the builder does not have, or a value it refuses.
        """
        base, given = _split(name)
        builder = super().get(base)
        if not given:
            return builder
        values = _checked(base, builder, given)

        @functools.wraps(builder, updated=())
        def variant(*args: Any, **kwargs: Any) -> Any:
            return builder(*args, **kwargs, **values)

        return variant

    def canonical(self, name: str) -> str:
        """The one name of a variant: options sorted, and those at their defaults left out.

        Defaults are known of built-in networks alone: reading a name must not run someone else's code.

        Raises:
            UserError: for a name of another form, or options that a built-in network does not have.
        """
        base, given = _split(name)
        if base in self._builtin:
            builder = super().get(base)
            defaults = options_of(builder)
            given = {
                key: value
                for key, value in _checked(base, builder, given).items()
                if value != defaults[key].default
            }
        joined = ",".join(f"{key}={_written(value)}" for key, value in sorted(given.items()))
        return f"{base}({joined})" if joined else base

    def origin(self, name: str) -> str:
        """As `Registry.origin`, of the network without its options."""
        return super().origin(without_options(name))

    def calling(self, name: str) -> Any:
        """As `Registry.calling`: a built-in network with options is ours too."""
        base = without_options(name)
        return super().calling(base if base in self._builtin else name)


def without_options(name: str) -> str:
    """The name of a network without its options."""
    return name.partition("(")[0]


def options_of(builder: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The options of a network's builder: its named parameters that have defaults."""
    try:
        parameters = inspect.signature(builder).parameters
    except (TypeError, ValueError):  # some written in C have no signature
        return {}
    return {
        name: each
        for name, each in parameters.items()
        if each.default is not each.empty and each.kind is not each.POSITIONAL_ONLY and name not in OFFERED
    }


def schema_of(option: inspect.Parameter) -> dict[str, Any]:
    """The JSON schema of an option's values; {} where its type is unknown."""
    from pydantic import TypeAdapter

    if option.annotation is option.empty:
        return {}
    with suppress(Exception):  # a plug-in's annotation can be anything
        return TypeAdapter(option.annotation).json_schema()
    return {}


def _split(name: str) -> tuple[str, dict[str, Any]]:
    if "[" in name and "(" not in name:
        raise UserError(
            f"expected the options of a network in parentheses, as in {EXAMPLE}, got {shown(name)}"
        )
    return parse(name, "a network", EXAMPLE)


def _checked(name: str, builder: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the values of options to the types that the builder declares."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    from bench.core.record import describe

    options, kinds, values = options_of(builder), _kinds(builder), dict(given)
    for key, value in given.items():
        if key not in options:
            has = f"its options are {', '.join(options)}" if options else "it has no options"
            raise UserError(f"network {name} has no option {shown(key)}; {has}")
        if not isinstance(value, str | int | float | None):
            raise UserError(f"network {name}, {key}: expected a number or a word, got {shown(value)}")
        if key in kinds:
            try:
                values[key] = TypeAdapter(kinds[key], config=ConfigDict(strict=True)).validate_python(value)
            except ValidationError as error:
                problem = describe(error).removeprefix("value: ")
                raise UserError(f"network {name}, {key}: {problem}") from None
    return values


def _kinds(builder: Callable[..., Any]) -> Mapping[str, Any]:
    """The declared types of a function's parameters; {} where they are unknown."""
    with suppress(Exception):  # a plug-in's annotation can be anything
        return typing.get_type_hints(builder, include_extras=True) if inspect.isfunction(builder) else {}
    return {}


def _written(value: Any) -> str:
    """A value as `parse` reads it, equal values in one way."""
    if isinstance(value, str):
        return value if value.isidentifier() and value not in ("None", "True", "False") else repr(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)
