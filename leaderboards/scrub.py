"""Hide the folders of the machine that made a record: nothing that is published says where its files lay."""

import json
import re
from typing import Any

#: What stands in the place of the folders.
FOLDER = "DIR"
_NAME = r"[^\s/\\:*?\"'<>|,;()\[\]{}]+"
#: Paths from the root of a file system, a home folder or a drive, of at least one folder and a name.
_PATHS = re.compile(
    rf"(?:(?<![\w./~\\\-])|(?<=:)/{{2,3}}(?=/))(?:~?/(?:{_NAME}/)+|~/|[A-Za-z]:[\\/](?:{_NAME}[\\/])+)"
)
#: A slash that a path may begin with. It comes first, so that the search leaps from slash to slash.
_FIRST_SLASH = re.compile(r"/(?<![\w.~\\\-/]/)")
#: Every other such path has one of these.
_SIGNS = ("//", ":/", ":\\", "~/")
#: Signs of a path as JSON may escape them.
_ESCAPED = re.compile(r"\\(?:[\\/]|u00(?:2f|5c|7e|3a))", re.IGNORECASE)


def scrub(text: str) -> str:
    """A text with `DIR/` in the place of the folders of each path; the names of files stay."""
    if not _FIRST_SLASH.search(text) and not any(sign in text for sign in _SIGNS):
        return text
    return _PATHS.sub(f"{FOLDER}/", text)


def scrubbed(value: Any) -> Any:
    """Plain JSON with every text scrubbed, keys too."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {scrub(key): scrubbed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [scrubbed(item) for item in value]
    return value


def published(content: bytes) -> bytes:
    """A record's file as a site publishes it: as it is, but without folders of a machine."""
    if not has_folders(content):
        return content
    return (json.dumps(scrubbed(json.loads(content)), ensure_ascii=False, indent=1) + "\n").encode()


def has_folders(content: bytes) -> bool:
    """Whether a text of the JSON holds folders of a machine."""
    text = content.decode()
    # Escapes may hide a path from a look at the text as it is written.
    hidden = "\\" in text and _ESCAPED.search(text)
    return scrub(text) != text or bool(hidden and scrubbed(value := json.loads(text)) != value)
