"""A digest of code that mending its prose does not change."""

import ast
import hashlib
import inspect


def source_digest(part: object) -> str:
    """A SHA-256 of the code of a plug-in's module; "" if its source is not known.

    Comments, docstrings, layout and import statements do not count: mending prose, or moving what a module imports,
    leaves a run's name as it is. Any other edit makes another run.
    """
    try:
        module = inspect.getmodule(part)
        source = inspect.getsource(module) if module else ""
        return hashlib.sha256(repr(_outline(ast.parse(source))).encode()).hexdigest() if source else ""
    except (OSError, TypeError, SyntaxError):
        return ""


def _outline(node: object) -> object:
    """Convert a syntax tree to nested tuples, without docstrings, imports and empty fields.

    The text of `ast.dump` would do, but it differs between versions of Python.
    """
    if isinstance(node, list):
        return tuple(_outline(each) for each in node if not _is_prose_or_import(each))
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, _outline(value)) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind"))
    return type(node).__name__, *((name, value) for name, value in fields if value not in (None, ()))


def _is_prose_or_import(node: object) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)
