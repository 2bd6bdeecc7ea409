"""Inches of a picture, text that fits into them, and the pixels of a picture file."""

import textwrap
import warnings
from pathlib import Path

from PIL import Image

#: Inches of a panel, by how many stand side by side.
WIDTHS, HEIGHT = {1: 6.4, 2: 5.0, 3: 4.3, 4: 3.9}, 3.5
TILE, CAPTION, LEGEND = 1.15, 0.16, 0.19  # inches; of the latter two, a line
CHARACTER = 0.072  # inches of an average letter at 9 points; only decides what is turned or wrapped


def wrapped(text: str, width: float, size: float = 9) -> str:
    """The text in lines of so many inches, at this many points."""
    return "\n".join(textwrap.wrap(text, max(12, int(width / (CHARACTER * size / 9)))))


def png_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels; None for a file that is no PNG, is damaged, or would fill the memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as picture:
                return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
