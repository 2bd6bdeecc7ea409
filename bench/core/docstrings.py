"""Docstrings and plain attributes of classes, read from source files without importing them."""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.core.registry import ImportedOnUse


def summary_at(place: str) -> str:
    """The first paragraph of the docstring of `module:attribute`, a class or a function; "" where there is none.

    What is defined elsewhere than in the source of that module is imported.
    """
    module, _, attribute = place.partition(":")
    path = _source(module)
    known = _docstrings(path) if path else {}
    return first_paragraph(known[attribute] if attribute in known else ImportedOnUse(place)().__doc__)


def literal_at(place: str, attribute: str) -> Any:
    """What the class at `module:Class`, or a base of it, assigns to an attribute as a literal; None for nothing."""
    module, _, name = place.partition(":")
    path = _source(module)
    body = _body(path) if path else []
    owner = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)
    for node in owner.body if owner else ():
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if value is not None and any(isinstance(each, ast.Name) and each.id == attribute for each in targets):
            return ast.literal_eval(value)
    places = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bases = [base.id for base in owner.bases if isinstance(base, ast.Name)] if owner else []
    found = (literal_at(places.get(base, f"{module}:{base}"), attribute) for base in bases)
    return next((value for value in found if value is not None), None)


def first_paragraph(docstring: str | None) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((docstring or "").strip().partition("\n\n")[0].split())


def _source(module: str) -> Path | None:
    """The file of a module; nothing but its outermost package is looked up, so that nothing is imported."""
    top, *parts = module.split(".")
    spec = find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
    path = Path(spec.submodule_search_locations[0], *parts)
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


@cache
def _docstrings(path: Path) -> dict[str, str]:
    """The docstrings of the classes and functions at the top of a file, by name."""
    return {
        node.name: ast.get_docstring(node) or ""
        for node in _body(path)
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }


@cache
def _body(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body
