"""A folder of images in torchvision's layout: `train/<class>/*` and `test/<class>/*`."""

import math
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import center_crop, resize

from bench.core.errors import UserError
from bench.data.image_files import AS_TEXT, ClassFiles, describe, find_images, order_classes
from bench.data.raw import RawData

#: Number of file headers, evenly spaced over all files, that decide whether the folder is gray.
SAMPLED_HEADERS = 256

#: Most pixels of a file, below the number from which Pillow warns of decompression bombs.
MOST_PIXELS = 80_000_000

#: Files of fewer pixels are decoded one after the other; they are so quick that threads only hinder each other.
SMALL = 128 * 128

#: Folder names that are used unchanged. Others become `imagefolder:NAME`, so that none passes for an original.
OWN_NAMES = ("cifar10-jpeg",)


def imagefolder_name(path: Path) -> str:
    """Name of the data set in a folder."""
    folder = path.expanduser().resolve().name
    return folder if folder in OWN_NAMES else f"imagefolder:{folder}"


def imagefolder(path: Path, image_size: int | None = None, class_order: Sequence[str] = ()) -> RawData:
    """Images of a folder, decoded only when a split needs them.

    They have one channel when the files are gray, else three. A decoded JPEG can differ by one gray level between
    versions of Pillow; the fingerprint then differs too. A warning counts the files that are skipped, and another
    shows the order of classes whose names are numbers, where it differs from that of text.

    Args:
        path: folder with `train` and `test`, each with one folder per class.
        image_size: resize the shorter side to this many pixels, bilinearly, and keep the centered square.
            None keeps the size of the files, which must be the same for all.
        class_order: every class once, or "text" alone for the order of text. By default names that are all numbers
            are in the order of the numbers, and others in that of text.

    Raises:
        UserError: when folders, classes or files are missing, unreadable or inconsistent.
    """
    if image_size is not None and image_size < 1:
        raise UserError(f"--image-size must be at least 1 pixel, got {image_size}")
    train, test = _scan(path, "train"), _scan(path, "test")
    if train.files.keys() != test.files.keys():
        only = sorted(train.files.keys() ^ test.files.keys())
        raise UserError(
            f"train and test below {path} must hold the same classes; in only one of them: {', '.join(only)}"
        )
    classes = order_classes(list(train.files), class_order)
    if skipped := train.skipped + test.skipped:
        warnings.warn(f"{path}: skipped what is no image: {describe(skipped)}", stacklevel=2)
    if not class_order and classes != sorted(classes):
        first = f"{', '.join(classes[:12])}{', …' * (len(classes) > 12)}"
        warnings.warn(
            f"{path}: the classes are numbers, in the order {first}; --class-order {AS_TEXT} sorts them as text",
            stacklevel=2,
        )
    # We refuse such files ourselves, in one line. Set for good: threads that decode cannot set filters.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    files = [file for part in (train, test) for name in classes for file in part.files[name]]
    headers = [_header(file) for file in files[:: -(-len(files) // SAMPLED_HEADERS)]]
    channels = 1 if all(mode in ("1", "L") for mode, _ in headers) else 3
    size = headers[0][1] if image_size is None else (image_size, image_size)
    images, labels = zip(*(_listed(part, classes) for part in (train, test)), strict=True)
    training, testing = (ImageFiles(each, channels, size, fit=image_size is not None) for each in images)
    return RawData(tuple(classes), training, labels[0], testing, labels[1])


def _scan(path: Path, part: str) -> ClassFiles:
    folder = path.expanduser() / part
    if not folder.is_dir():
        other = next(
            (each for each in ("val", "valid", "validation") if (folder.parent / each).is_dir()), None
        )
        hint = "is the path right?"
        if part == "test" and other:
            hint = f"there is {other}/ beside train/: if it is for testing, name it test/, or link test to it"
        raise UserError(f"expected {folder}/<class>/ with images, which does not exist; {hint}")
    return find_images(folder)


def _listed(part: ClassFiles, classes: Sequence[str]) -> tuple[list[str], Tensor]:
    """All files of a part, class by class, and the label of each."""
    files = [file for name in classes for file in part.files[name]]
    counts = [len(part.files[name]) for name in classes]
    return files, torch.arange(len(classes)).repeat_interleave(torch.tensor(counts))


class ImageFiles:
    """Image files that are decoded when indexed.

    Args:
        files: their paths.
        channels: 1 or 3.
        size: (width, height) of every decoded image.
        fit: resize and crop to `size`; otherwise refuse a file of another size.
    """

    def __init__(self, files: list[str], channels: int, size: tuple[int, int], *, fit: bool) -> None:
        self.files, self.channels, self.size, self.fit = files, channels, size, fit

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Decode the files at `index` [M] to uint8 [M, C, H, W].

        Raises:
            UserError: for a file that is not an image, has another size, or has color in a gray folder.
        """
        width, height = self.size
        images = np.empty((len(index), height, width, self.channels), dtype=np.uint8)
        files = [self.files[i] for i in index.tolist()]
        with ThreadPoolExecutor() as pool:
            in_turn = map if not self.fit and width * height < SMALL else pool.map
            for row, pixels in enumerate(in_turn(self._decode, files)):
                images[row] = pixels
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def _decode(self, file: str) -> np.ndarray:
        with _opened(file) as image:
            if self.channels == 1 and image.mode not in ("1", "L"):
                raise UserError(
                    f"{file} has mode {image.mode} in a folder of gray images; convert it to gray first"
                )
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{file} has more than 8 bits per channel; convert it to 8 bits first")
            if self.fit and self.size[0] ** 2 * max(image.size) > MOST_PIXELS * min(image.size):
                raise UserError(
                    f"{file} is {_sides(image.size)}, too long and thin to be resized and cropped"
                )
            pixels = image.convert("L" if self.channels == 1 else "RGB")
        if self.fit:
            pixels = center_crop(resize(pixels, self.size[0]), self.size[0])
        elif pixels.size != self.size:
            raise UserError(
                f"{file} is {_sides(pixels.size)}, other files are {_sides(self.size)}; add --image-size N to "
                f"resize all to NxN"
            )
        return np.asarray(pixels).reshape(self.size[1], self.size[0], self.channels)


def _sides(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def _header(file: str) -> tuple[str, tuple[int, int]]:
    with _opened(file) as image:
        return image.mode, image.size


@contextmanager
def _opened(file: str) -> Iterator[Image.Image]:
    """An image file; whatever Pillow finds wrong with it becomes one line that names it."""
    try:
        with Image.open(file) as image:
            if math.prod(image.size) > MOST_PIXELS:
                raise UserError(f"{file} is {_sides(image.size)}; expected at most {MOST_PIXELS:,} pixels")
            yield image
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many kinds for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read {file} as an image: {reason}") from error
