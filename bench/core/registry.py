"""Plug-ins by name: a visible registry, entry points of other packages, or `module:Class`."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.core.errors import UserError, unknown_name
from bench.core.foreign_code import calling, register, told
from bench.core.values import shown

#: Stands for an attribute that a module does not have.
_NOTHING = object()


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
        title = f"{self.kind} {name!r} from {self.origin(name)} ({point.value})"
        try:
            part = point.load()
        except BaseException as error:
            raise _failed(title, "load", error) from error
        register(part, point.module, title)
        return part

    def place(self, name: str) -> str:
        """Where a built-in part is, as `module:attribute`; "" for every other name."""
        part = self._builtin.get(name)
        return part.place if isinstance(part, ImportedOnUse) else ""

    def calling(self, name: str) -> AbstractContextManager[None]:
        """A block that calls the code of a part: errors of a plug-in get its name."""
        return nullcontext() if name in self._builtin else calling(f"{self.kind} {name!r}")


@dataclass(frozen=True)
class ImportedOnUse:
    """A built-in part at `module:attribute`, with fixed first arguments where it is a function of some."""

    place: str
    arguments: tuple[Any, ...] = ()

    def __call__(self) -> Any:
        """Import the part."""
        module, _, attribute = self.place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        return partial(found, *self.arguments) if self.arguments else found


def imported_on_use(place: str, *arguments: Any) -> ImportedOnUse:
    """A built-in part at `module:attribute`, with fixed first arguments where it is a function of some."""
    return ImportedOnUse(place, arguments)


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; finding them reads the metadata of every installed package."""
    return {point.name: point for point in entry_points(group=group)}


def load_object(path: str, kind: str) -> Any:
    """Import `module:attribute`; modules in the working folder are found as `python -m` would.

    Raises:
        UserError: when the module or the attribute is missing, the module fails while it is imported, or another
            module has its name.
    """
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise UserError(f"expected {kind} as module:Class, got {shown(path)}")
    title = f"{kind} {path!r}"
    try:
        module = _import(module_name, title)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{title}: no module named {error.name!r}; is it installed, or in the working folder?"
        ) from error
    except BaseException as error:
        raise _failed(title, "import", error) from error
    with calling(title):
        part = getattr(module, attribute, _NOTHING)
    if part is _NOTHING:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise unknown_name(f"attribute of {module_name}", attribute, public)
    register(part, module_name, title)
    return part


def _failed(title: str, what: str, error: BaseException) -> BaseException:
    """An error while foreign code is imported, as one line that names it; Ctrl-C stays what it is.

    A `UserError` that does not name it is one of ours for what its code asked, such as a range that ends before it
    begins.
    """
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, UserError) and title in str(error)):
        return error
    return UserError(f"{title} failed to {what}: {error if isinstance(error, UserError) else told(error)}")


class _WorkingFolder(MetaPathFinder):
    """Find modules in a folder before those that are installed, except in place of Python's own.

    A file such as `queue.py` at the front of `sys.path` would be imported by every library that needs Python's.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(fullname, [self.folder])
        # A folder without code, such as one of data, must not hide an installed package.
        return spec if spec is not None and spec.origin is not None else None


def _import(name: str, title: str) -> ModuleType:
    here = str(Path.cwd())
    top = name.partition(".")[0]
    local, known = PathFinder.find_spec(top, [here]), sys.modules.get(top)
    if local and local.origin and top in sys.stdlib_module_names:
        raise UserError(f"{title}: {top} is a module of Python itself; rename {local.origin}")
    if not any(isinstance(finder, _WorkingFolder) and finder.folder == here for finder in sys.meta_path):
        sys.meta_path.insert(0, _WorkingFolder(here))
    if here not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    if local and local.origin and known and getattr(known, "__file__", None) not in (None, local.origin):
        raise UserError(f"{title}: {known.__file__} has the same name and is in use; rename {local.origin}")
    return importlib.import_module(name)
