"""Shorten values to what MLflow accepts; what is shortened says so."""

PARAM_LENGTH = 6000
TAG_LENGTH = 8000


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning with a note of how long it was."""
    if len(text) <= limit:
        return text
    note = f" … [cut, {len(text)} characters in all]"
    return text[: limit - len(note)] + note
