"""A folder of images in torchvision's layout: `train/<class>/*` and `test/<class>/*`."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import center_crop, resize

from bench.core.errors import UserError
from bench.data.raw import RawData

#: How many headers are read, evenly over all files, to tell whether the folder is gray.
SAMPLED_HEADERS = 256

#: Folders whose own name is the data set's; any other is `imagefolder:NAME` and never passes for an original.
OWN_NAMES = ("cifar10-jpeg",)


def imagefolder_name(path: Path) -> str:
    """The data set's name: that of the folder behind `imagefolder:`."""
    folder = path.expanduser().resolve().name
    return folder if folder in OWN_NAMES else f"imagefolder:{folder}"


def imagefolder(path: Path, image_size: int | None = None) -> RawData:
    """The images below a folder, decoded only when a split asks for them.

    One channel when the files are gray, else three. Decoded JPEGs can differ by a gray level between
    versions of Pillow; the fingerprint then differs too.

    Args:
        path: holds `train` and `test`, each with one folder a class.
        image_size: the shorter side is resized to so many pixels, bilinearly, and the centered square is kept;
            None keeps the files' own size, which must then be one for all.

    Raises:
        UserError: when folders, classes or files are missing, cannot be read, or do not fit together.
    """
    if image_size is not None and image_size < 1:
        raise UserError(f"--image-size must be at least 1 pixel, got {image_size}")
    train, test = _scan(path, "train"), _scan(path, "test")
    if train.classes != test.classes:
        only = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(
            f"train and test below {path} must hold the same classes; in one of them alone: {', '.join(only)}"
        )
    files = [file for file, _ in train.samples + test.samples]
    sampled = files[:: -(-len(files) // SAMPLED_HEADERS)]
    headers = [_header(file) for file in sampled]
    channels = 1 if all(mode in ("1", "L") for mode, _ in headers) else 3
    size = headers[0][1] if image_size is None else (image_size, image_size)
    return RawData(
        tuple(train.classes),
        ImageFiles([file for file, _ in train.samples], channels, size, fit=image_size is not None),
        torch.tensor(train.targets),
        ImageFiles([file for file, _ in test.samples], channels, size, fit=image_size is not None),
        torch.tensor(test.targets),
    )


class ImageFiles:
    """Image files that are decoded when they are indexed.

    Args:
        files: their paths.
        channels: 1 or 3.
        size: (width, height) that every image has, or is brought to.
        fit: crop and resize to `size` instead of refusing other sizes.
    """

    def __init__(self, files: list[str], channels: int, size: tuple[int, int], *, fit: bool) -> None:
        self.files, self.channels, self.size, self.fit = files, channels, size, fit

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Tensor) -> Tensor:
        """uint8 [M, C, H, W] of the files at `index` [M].

        Raises:
            UserError: for a file that is no image, has another size, or has color in a gray folder.
        """
        width, height = self.size
        images = np.empty((len(index), height, width, self.channels), dtype=np.uint8)
        with ThreadPoolExecutor() as pool:
            for row, pixels in enumerate(pool.map(self._decode, [self.files[i] for i in index.tolist()])):
                images[row] = pixels
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def _decode(self, file: str) -> np.ndarray:
        try:
            with Image.open(file) as image:
                if self.channels == 1 and image.mode not in ("1", "L"):
                    raise UserError(
                        f"{file} has mode {image.mode} in a folder of gray images; convert it first"
                    )
                if image.mode.startswith(("I", "F")):
                    raise UserError(f"{file} has more than 8 bits a channel; convert it first")
                pixels = image.convert("L" if self.channels == 1 else "RGB")
        except OSError as error:
            raise UserError(f"cannot read {file} as an image: {error}") from error
        if self.fit:
            pixels = center_crop(resize(pixels, self.size[0]), self.size[0])
        elif pixels.size != self.size:
            found, expected = ("x".join(map(str, size)) for size in (pixels.size, self.size))
            raise UserError(
                f"{file} is {found} where others are {expected}; add --image-size N to bring all to NxN"
            )
        return np.asarray(pixels).reshape(self.size[1], self.size[0], self.channels)


def _scan(path: Path, part: str) -> ImageFolder:
    folder = path.expanduser() / part
    if not folder.is_dir():
        raise UserError(f"expected {folder}/<class>/ with images, found no such folder; is the path right?")
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise UserError(f"{folder}: expected a folder of images for each class; {error}") from error


def _header(file: str) -> tuple[str, tuple[int, int]]:
    try:
        with Image.open(file) as image:
            return image.mode, image.size
    except OSError as error:
        raise UserError(f"cannot read {file} as an image: {error}") from error
