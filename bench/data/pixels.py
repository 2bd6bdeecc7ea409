"""Images and labels as people have them, turned into uint8 [N, C, H, W] and int64 [N], or refused in one line."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import UserError

#: Numbers of channels by which the layout NHWC is told from NCHW.
CHANNELS = (1, 3, 4)
#: Pixels below this, in a type for larger numbers, were hardly meant to be levels from 0 to 255.
DARK = 128


def as_images(values: Any, what: str) -> Tensor:
    """Images as uint8 [N, C, H, W].

    Args:
        values: array or tensor [N, C, H, W] or, for gray images, [N, H, W]; or a sequence of images, each an array,
            a tensor or a PIL image. uint8 from 0 to 255, other whole numbers from 0 to 255, or floats from 0 to 1,
            which are rounded to 256 levels.
        what: what messages call them, such as "training images".

    Raises:
        UserError: for other shapes, layouts or pixels, with what would fit.
    """
    array = _array(values, what)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or 0 in array.shape[1:]:
        raise UserError(
            f"{what}: expected shape (N, C, H, W), or (N, H, W) for gray, {_shape(values, array)}"
        )
    if is_nhwc(array.shape):
        raise UserError(
            f"{what}: expected shape (N, C, H, W), got {array.shape}, which is the layout NHWC; "
            f"give images.{_swap(values)}"
        )
    return torch.from_numpy(np.ascontiguousarray(_levels(array, what)))


def as_labels(values: Any, what: str) -> Tensor:
    """Labels as int64 [N], each a class from 0 on.

    Args:
        values: whole numbers [N].
        what: what messages call them, such as "training labels".

    Raises:
        UserError: for other shapes or types, with what would fit.
    """
    try:
        array = np.asarray(_numpy(values))
    except ValueError:
        raise UserError(
            f"{what}: expected whole numbers of shape (N,), got lists of several lengths"
        ) from None
    fixes = {2: "labels.argmax(1)" if array.shape[-1:] > (1,) else "labels[:, 0]"}
    if array.ndim != 1:
        fix = f"; give {fixes[array.ndim]}" if array.ndim in fixes else ""
        raise UserError(f"{what}: expected whole numbers of shape (N,), got shape {array.shape}{fix}")
    if array.dtype.kind not in "iub":
        fix = "numpy.unique(labels, return_inverse=True)[1]" if array.dtype.kind in "UO" else "them as int64"
        raise UserError(f"{what}: expected whole numbers from 0 on, got {array.dtype}; give {fix}")
    if len(array) and int(array.min()) < 0:
        raise UserError(f"{what}: expected classes from 0 on, got {array.min()} to {array.max()}")
    return torch.from_numpy(array.astype(np.int64))


def is_nhwc(shape: Sequence[int]) -> bool:
    """Whether a shape of four sides has its channels last."""
    return len(shape) == 4 and shape[-1] in CHANNELS and shape[1] not in CHANNELS


def _array(values: Any, what: str) -> np.ndarray:
    if not isinstance(values, list | tuple):
        return np.asarray(_numpy(values))
    images = [_image(value) for value in values]
    for number, image in enumerate(images):
        if image.shape != images[0].shape:
            raise UserError(
                f"{what}: expected images of one shape, the first is {images[0].shape}, number {number} is "
                f"{image.shape}; resize them"
            )
    return np.stack(images) if images else np.empty((0, 1, 1, 1), np.uint8)


def _image(value: Any) -> np.ndarray:
    """One image; a PIL image becomes [C, H, W], or [H, W] where it is gray."""
    if not hasattr(value, "getbands"):
        return np.asarray(_numpy(value))
    gray = value.mode in ("1", "L")
    pixels = np.asarray(value.convert("L" if gray else "RGB"))
    return pixels if gray else pixels.transpose(2, 0, 1)


def _numpy(values: Any) -> Any:
    if not isinstance(values, Tensor):
        return values
    values = values.detach().cpu()
    return (values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy()


def _levels(array: np.ndarray, what: str) -> np.ndarray:
    """Pixels as levels from 0 to 255, uint8."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    expected = f"{what}: expected uint8 from 0 to 255, or floats from 0 to 1"
    if array.dtype.kind not in "uif":
        raise UserError(f"{expected}, got {array.dtype}")
    if array.size == 0:
        return array.astype(np.uint8)
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low + high):
        raise UserError(f"{expected}, got {array.dtype} with NaN or infinity; an image is broken")
    came = f"{array.dtype} from {low:g} to {high:g}"
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return _rounded(array, what, came)
    whole = array.dtype.kind != "f" or bool((array == np.rint(array)).all())
    if low < 0 or high > 255:
        raise UserError(
            f"{expected}, got {came}; undo their normalization, for a network normalizes for itself"
        )
    if high <= 1:
        raise UserError(f"{expected}, got {came}; give 255 * images")
    if not whole or (array.dtype != np.uint8 and high < DARK):
        raise UserError(f"{expected}, got {came}; divide by their largest possible value")
    if high < DARK / 2:
        warnings.warn(
            f"{what}: dark, uint8 from {low:g} to {high:g} of 255; is the range right?", stacklevel=2
        )
    return array.astype(np.uint8)


def _rounded(array: np.ndarray, what: str, came: str) -> np.ndarray:
    levels = np.rint(array * 255)
    moved = float(np.abs(array * 255 - levels).max()) / 255
    if moved > 1e-4:
        warnings.warn(f"{what}: {came} rounded to 256 levels, by at most {moved:.4f}", stacklevel=2)
    return levels.astype(np.uint8)


def _shape(values: Any, array: np.ndarray) -> str:
    came = f"got {array.shape}"
    if array.ndim != 2:
        return came if hasattr(values, "shape") or array.ndim else f"got {type(values).__name__}"
    side = round(array.shape[1] ** 0.5)
    return f"{came}, flat images" + (
        f"; give images.reshape(-1, 1, {side}, {side})" if side**2 == array.shape[1] else "; reshape them"
    )


def _swap(values: Any) -> str:
    return "permute(0, 3, 1, 2)" if isinstance(values, Tensor) else "transpose(0, 3, 1, 2)"
