"""Outcomes of images as short text."""

import base64

import numpy as np


def packed(outcomes: np.ndarray) -> str:
    """Outcomes, bool [n], as base64 of their bits."""
    return base64.b64encode(np.packbits(outcomes).tobytes()).decode()


def packed_with_length(outcomes: np.ndarray) -> str:
    """Outcomes, bool [n], as "n:" and `packed`."""
    return f"{len(outcomes)}:{packed(outcomes)}"


def unpacked(text: str) -> np.ndarray:
    """The outcomes of `packed_with_length`."""
    n, _, bits = text.partition(":")
    return np.unpackbits(np.frombuffer(base64.b64decode(bits), dtype=np.uint8), count=int(n)).astype(bool)
