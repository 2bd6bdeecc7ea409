"""Names that a package offers and imports only when one is used, so that listing what there is needs no torch."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def imported_from(package: str, places: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's `__getattr__` that imports a name from its module on first use, and then keeps it.

    Args:
        package: the package's `__name__`.
        places: module → the names that it defines.
    """
    modules = {name: module for module, names in places.items() for name in names}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        part = getattr(importlib.import_module(modules[name]), name)
        setattr(importlib.import_module(package), name, part)
        return part

    return find
