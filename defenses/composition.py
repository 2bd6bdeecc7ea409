"""Defenses composed of others: the base of sums and wrappers, and the parsing of their names."""

import re
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from bench.core.errors import UserError, unknown_name
from defenses.base import Defense
from defenses.space import Range


@dataclass(frozen=True, kw_only=True)
class Composition(Defense, ABC):
    """A defense composed of other defenses, its components.

    Its own hyper-parameters keep their plain names; those of a component are prefixed with the component's name
    and a dot: `awp(trades)` has `gamma` and `trades.beta`. A composition as a component adds no prefix of its own.

    Attributes:
        component_types: the classes of the components.
        components: one for each class; by default with its defaults.
    """

    component_types: ClassVar[tuple[type[Defense], ...]] = ()

    components: tuple[Defense, ...] = field(default=(), metadata={"components": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        components = self.components or tuple(kind.make({}) for kind in self.component_types)
        object.__setattr__(self, "components", components)
        found = tuple(type(component) for component in self.components)
        if found != self.component_types:
            shown = " and ".join(kind.name for kind in found)
            raise UserError(f"{self.name} is not composed of {shown}")

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> Self:
        """Make a composition from hyper-parameters by name, with the prefixes.

        Raises:
            UserError: for an unknown name, a wrong type, or a value out of bounds.
        """
        own = dict(values)
        given: list[dict[str, Any]] = [{} for _ in cls.component_types]
        for key in values:
            for kind, own_values in zip(cls.component_types, given, strict=True):
                prefix = _prefix(kind)
                if key in _dotted(kind):
                    own_values[key.removeprefix(prefix)] = own.pop(key)
        known = [name for kind in cls.component_types for name in _dotted(kind)]
        for key in own:
            if key not in _own(cls):
                raise unknown_name(f"hyper-parameter of {cls.name}", key, [*_own(cls), *known])
        components = tuple(kind.make(part) for kind, part in zip(cls.component_types, given, strict=True))
        return cls(components=components, **own)

    @classmethod
    def space(cls) -> dict[str, Range]:
        """The search range of each hyper-parameter that has one, by name: its own, then those of the components."""
        inner = {
            _prefix(kind) + name: search_range
            for kind in cls.component_types
            for name, search_range in kind.space().items()
        }
        return {**super().space(), **inner}

    @classmethod
    def schemas(cls) -> dict[str, dict[str, Any]]:
        """The JSON schema of each hyper-parameter, by name: its own, then those of the components."""
        inner = {
            _prefix(kind) + name: schema
            for kind in cls.component_types
            for name, schema in kind.schemas().items()
        }
        return {**super().schemas(), **inner}

    def hyperparameters(self) -> dict[str, Any]:
        """The value of every hyper-parameter, by name: its own, then those of the components."""
        inner = {
            _prefix(type(component)) + name: value
            for component in self.components
            for name, value in component.hyperparameters().items()
        }
        return {**super().hyperparameters(), **inner}

    def replace(self, **values: Any) -> Self:
        """A copy with other values, by names with the prefixes."""
        return self.make({**self.hyperparameters(), **values})

    def attack_units(self) -> float:
        """The sum over the components."""
        return sum(component.attack_units() for component in self.components)


def _prefix(kind: type[Defense]) -> str:
    return "" if issubclass(kind, Composition) else f"{kind.name}."


def _own(kind: type[Composition]) -> list[str]:
    return list(super(Composition, kind.make({})).hyperparameters())


def _dotted(kind: type[Defense]) -> list[str]:
    return [_prefix(kind) + name for name in kind.make({}).hyperparameters()]


def is_composed(name: str) -> bool:
    """Whether a name is that of a composition, such as "jacobian+at" or "awp(trades)"."""
    return any(character in name for character in "+()")


def compose(
    name: str,
    find: Callable[[str], type[Defense]],
    add: Callable[[tuple[type[Defense], ...]], type[Defense]],
    wrappers: Mapping[str, Callable[[type[Defense]], type[Defense]]],
) -> type[Defense]:
    """Make the class of a composed name: a sum of names, or a wrapper around a sum.

    Args:
        name: such as "awp(jacobian+at)"; spaces are ignored.
        find: from a simple name to its class.
        add: from two or more classes to the class of their sum.
        wrappers: by name, from a class to the wrapped class.

    Raises:
        UserError: for a name of another form, an unknown name in it, or components that cannot be combined.
    """
    text = name.replace(" ", "")
    wrapped = re.fullmatch(r"([\w-]+)\((.*)\)", text)
    if wrapped:
        wrapper, inside = wrapped.groups()
        if wrapper not in wrappers:
            raise unknown_name("wrapper around a defense", wrapper, wrappers)
        if any(inside.startswith(f"{other}(") for other in wrappers):
            raise UserError(
                f"defense {name!r}: {wrapper} around another wrapper perturbs twice; write {inside.rstrip('+')}"
            )
        return wrappers[wrapper](compose(inside, find, add, wrappers))
    words = text.split("+")
    if any("(" in word or ")" in word for word in words) or not all(words):
        raise UserError(
            f"cannot read defense {name!r}; expected names joined by + such as jacobian+at, or a wrapper around "
            f"them such as awp(jacobian+at)"
        )
    return find(words[0]) if len(words) == 1 else add(tuple(map(find, words)))
