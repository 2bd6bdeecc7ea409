"""Plug-ins by name: a visible registry, entry points of other packages, or `module:Class`."""

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, unknown_name


class Registry:
    """The named parts of one kind.

    Args:
        kind: the singular noun in messages ("defense").
        group: the entry-point group other packages register under ("bench.defenses").
        builtin: name → the part itself, or a function of no arguments that imports it.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, Callable[[], Any]]) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)

    def _installed(self) -> dict[str, EntryPoint]:
        return _entry_points(self.group)

    def names(self) -> list[str]:
        """Every registered name: ours in their listed order, then those of other packages, sorted."""
        return [*self._builtin, *sorted(set(self._installed()) - set(self._builtin))]

    def origin(self, name: str) -> str:
        """Where a name comes from: "built in", or the package that registers it."""
        point = self._installed().get(name)
        if name in self._builtin or point is None:
            return "built in"
        return point.dist.name if point.dist else point.value

    def get(self, name: str) -> Any:
        """The part called `name`, or the object that `module:attribute` points to.

        Raises:
            UserError: when nobody registered the name (with the nearest ones), or the plug-in fails to import.
        """
        if name in self._builtin:
            return self._builtin[name]()
        if ":" in name:
            return load_object(name, self.kind)
        point = self._installed().get(name)
        if point is None:
            raise unknown_name(self.kind, name, self.names())
        try:
            return point.load()
        except Exception as error:
            raise UserError(
                f"{self.kind} {name!r} from {self.origin(name)} ({point.value}) failed to load: "
                f"{type(error).__name__}: {error}"
            ) from error


def imported_on_use(place: str, *arguments: Any) -> Callable[[], Any]:
    """A built-in part at `module:attribute`, with fixed first arguments where it is a function of some."""

    def part() -> Any:
        module, _, attribute = place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        return partial(found, *arguments) if arguments else found

    return part


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; finding them reads the metadata of every installed package."""
    return {point.name: point for point in entry_points(group=group)}


def load_object(path: str, kind: str) -> Any:
    """Import `module:attribute`; modules beside the working folder are found as `python -m` would.

    Raises:
        UserError: when the module or the attribute is missing, or the module fails while importing.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise UserError(f"expected {kind} as module:Class, got {path!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{kind} {path!r}: no module named {error.name!r}; is it installed, or in the working folder?"
        ) from error
    except Exception as error:
        raise UserError(f"{kind} {path!r} failed to import: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise unknown_name(f"attribute of {module_name}", attribute, public) from None
