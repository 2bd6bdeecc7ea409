"""Names with arguments, as users write them: NAME(KEY=VALUE, …)."""

import ast
from typing import Any

from bench.core.errors import UserError
from bench.core.values import shown


def parse(text: str, kind: str, example: str) -> tuple[str, dict[str, Any]]:
    """Split NAME(KEY=VALUE, …) into the name and the arguments; the values are Python literals, or bare words.

    Args:
        text: what the user wrote.
        kind: what it names, with its article ("a metric").
        example: what messages show as the right form.

    Raises:
        UserError: for text of another form.
    """
    name, bracket, _ = text.partition("(")
    if not bracket:
        return text, {}
    try:
        call = ast.parse(f"_({text.removeprefix(name)[1:]}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        values = {_key(each): _value(each.value) for each in call.keywords}
        if len(values) < len(call.keywords):
            raise ValueError
        return name, values
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ):  # Python's parser raises these for deep nesting
        raise UserError(
            f"expected {kind} as NAME or NAME(KEY=VALUE, …) such as {example}, got {shown(text)}"
        ) from None


def _key(keyword: ast.keyword) -> str:
    if keyword.arg is None:  # **VALUE
        raise ValueError
    return keyword.arg


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
