"""Modules under their earlier names, so that plug-ins written for version 0.1 still import."""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Earlier name → present one. A package stands for everything below it.
MOVED = {
    "bench.core.attacks": "bench.attacks",
    "bench.core.data": "bench.data",
    "bench.core.models": "bench.models",
    "bench.core.plugins": "bench.core.registry",
    "bench.core.space": "defenses.space",
}


class MovedModules(MetaPathFinder, Loader):
    """Import a module of `MOVED` from its present place; both names give the same module."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A spec for an earlier name, None for any other."""
        return ModuleSpec(name, self) if _present(name) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module at its present place."""
        present = _present(spec.name)
        assert present is not None
        module = import_module(present)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back; it was executed under its present name."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def _present(name: str) -> str | None:
    for old, new in MOVED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return None


def install() -> None:
    """Look for earlier names before any other finder, which would load their files a second time."""
    sys.meta_path.insert(0, MovedModules())
