"""Defenses made of others: what sums and wrappers share, and how their names are read."""

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
    """A defense that holds others.

    Its own hyper-parameters keep their plain names, a part's stand behind the part's name and a dot: `awp(trades)`
    has `gamma` and `trades.beta`. The parts of a composition inside a composition already carry such names.

    Attributes:
        kinds: the parts' classes.
        parts: the parts; those with their defaults, unless given.
    """

    kinds: ClassVar[tuple[type[Defense], ...]] = ()

    parts: tuple[Defense, ...] = field(default=(), metadata={"parts": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "parts", self.parts or tuple(kind.make({}) for kind in self.kinds))
        found = tuple(type(part) for part in self.parts)
        if found != self.kinds:
            shown = " and ".join(kind.name for kind in found)
            raise UserError(f"{self.name} is made of other parts than {shown}")

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> Self:
        """A composition from dotted hyper-parameters.

        Raises:
            UserError: for an unknown name, a wrong type, or a value out of bounds.
        """
        own = dict(values)
        given: list[dict[str, Any]] = [{} for _ in cls.kinds]
        for key in values:
            for kind, part in zip(cls.kinds, given, strict=True):
                prefix = _prefix(kind)
                if key in _dotted(kind):
                    part[key.removeprefix(prefix)] = own.pop(key)
        known = [name for kind in cls.kinds for name in _dotted(kind)]
        for key in own:
            if key not in _own(cls):
                raise unknown_name(f"hyper-parameter of {cls.name}", key, [*_own(cls), *known])
        parts = tuple(kind.make(part) for kind, part in zip(cls.kinds, given, strict=True))
        return cls(parts=parts, **own)

    @classmethod
    def space(cls) -> dict[str, Range]:
        """Hyper-parameter → search range: its own, then the parts'."""
        inner = {_prefix(kind) + name: spread for kind in cls.kinds for name, spread in kind.space().items()}
        return {**super().space(), **inner}

    def hyperparameters(self) -> dict[str, Any]:
        """Every hyper-parameter with its value: its own, then the parts'."""
        inner = {
            _prefix(type(part)) + name: value
            for part in self.parts
            for name, value in part.hyperparameters().items()
        }
        return {**super().hyperparameters(), **inner}

    def replace(self, **values: Any) -> Self:
        """The same with other values, by dotted names."""
        return self.make({**self.hyperparameters(), **values})

    def attack_units(self) -> float:
        """The attacks of all parts."""
        return sum(part.attack_units() for part in self.parts)


def _prefix(kind: type[Defense]) -> str:
    return "" if issubclass(kind, Composition) else f"{kind.name}."


def _own(kind: type[Composition]) -> list[str]:
    return list(super(Composition, kind.make({})).hyperparameters())


def _dotted(kind: type[Defense]) -> list[str]:
    return [_prefix(kind) + name for name in kind.make({}).hyperparameters()]


def is_composed(name: str) -> bool:
    """Whether a name is one of a composition: "jacobian+at", "awp(trades)"."""
    return any(character in name for character in "+()")


def compose(
    name: str,
    find: Callable[[str], type[Defense]],
    add: Callable[[tuple[type[Defense], ...]], type[Defense]],
    wrappers: Mapping[str, Callable[[type[Defense]], type[Defense]]],
) -> type[Defense]:
    """The class a composed name stands for: a sum of names, or a wrapper around a sum.

    Args:
        name: such as "awp(jacobian+at)"; spaces do not count.
        find: a simple name to its class.
        add: two or more classes to the class of their sum.
        wrappers: name → class to wrapped class.

    Raises:
        UserError: for a name of another form, an unknown part, or parts that do not go together.
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
