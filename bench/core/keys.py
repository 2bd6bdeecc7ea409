"""Keys in the form that MLflow accepts, which columns of tables share."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

KEY_LENGTH = 250


def safe_key(name: str) -> str:
    """A name as an MLflow key: letters, digits and `_ - . space /`, a relative path, at most 250 characters.

    Every other character becomes `_`, also the colon, which MLflow refuses on Windows.
    """
    steps = re.sub(r"[^\w.\- /]", "_", name).split("/")
    key = "/".join(step for step in steps if step not in ("", ".", "..")) or "_"
    return key if len(key) <= KEY_LENGTH else _marked(key, name)


def safe_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Map values to safe keys; names that would share a key get a hash."""
    safe: dict[str, Any] = {}
    for name, value in values.items():
        key = safe_key(name)
        safe[_marked(key, name) if key in safe else key] = value
    return safe


def _marked(key: str, name: str) -> str:
    mark = "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return key[: KEY_LENGTH - len(mark)] + mark
