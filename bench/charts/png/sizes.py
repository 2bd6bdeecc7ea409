"""Inches of a picture, and text that fits into them."""

import textwrap

#: Inches of a panel, by how many stand side by side.
WIDTHS, HEIGHT = {1: 6.4, 2: 5.0, 3: 4.3, 4: 3.9}, 3.5
TILE, CAPTION, LEGEND = 1.15, 0.16, 0.19  # inches; of the latter two, a line
CHARACTER = 0.072  # inches of an average letter at 9 points; only decides what is turned or wrapped


def wrapped(text: str, width: float, size: float = 9) -> str:
    """The text in lines of so many inches, at this many points."""
    return "\n".join(textwrap.wrap(text, max(12, int(width / (CHARACTER * size / 9)))))
