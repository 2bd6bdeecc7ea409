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

#: Number of file headers, evenly spaced over all files, that decide whether the folder is gray.
SAMPLED_HEADERS = 256

#: Folder names that are used unchanged. Others become `imagefolder:NAME`, so that none passes for an original.
OWN_NAMES = ("cifar10-jpeg",)


def imagefolder_name(path: Path) -> str:
    """Name of the data set in a folder."""
    folder = path.expanduser().resolve().name
    return folder if folder in OWN_NAMES else f"imagefolder:{folder}"


def imagefolder(path: Path, image_size: int | None = None) -> RawData:
    """Images of a folder, decoded only when a split needs them.

    They have one channel when the files are gray, else three. A decoded JPEG can differ by one gray level between
    versions of Pillow; the fingerprint then differs too.

    Args:
        path: folder with `train` and `test`, each with one folder per class.
        image_size: resize the shorter side to this many pixels, bilinearly, and keep the centered square.
            None keeps the size of the files, which must be the same for all.

    Raises:
        UserError: when folders, classes or files are missing, unreadable or inconsistent.
    """
    if image_size is not None and image_size < 1:
        raise UserError(f"--image-size must be at least 1 pixel, got {image_size}")
    train, test = _scan(path, "train"), _scan(path, "test")
    if train.classes != test.classes:
        only = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(
            f"train and test below {path} must hold the same classes; in only one of them: {', '.join(only)}"
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
        with ThreadPoolExecutor() as pool:
            for row, pixels in enumerate(pool.map(self._decode, [self.files[i] for i in index.tolist()])):
                images[row] = pixels
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def _decode(self, file: str) -> np.ndarray:
        try:
            with Image.open(file) as image:
                if self.channels == 1 and image.mode not in ("1", "L"):
                    raise UserError(
                        f"{file} has mode {image.mode} in a folder of gray images; convert it to gray first"
                    )
                if image.mode.startswith(("I", "F")):
                    raise UserError(f"{file} has more than 8 bits per channel; convert it to 8 bits first")
                pixels = image.convert("L" if self.channels == 1 else "RGB")
        except OSError as error:
            raise UserError(f"cannot read {file} as an image: {error}") from error
        if self.fit:
            pixels = center_crop(resize(pixels, self.size[0]), self.size[0])
        elif pixels.size != self.size:
            found, expected = ("x".join(map(str, size)) for size in (pixels.size, self.size))
            raise UserError(
                f"{file} is {found}, other files are {expected}; add --image-size N to resize all to NxN"
            )
        return np.asarray(pixels).reshape(self.size[1], self.size[0], self.channels)


def _scan(path: Path, part: str) -> ImageFolder:
    folder = path.expanduser() / part
    if not folder.is_dir():
        raise UserError(f"expected {folder}/<class>/ with images, which does not exist; is the path right?")
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise UserError(f"{folder}: expected one folder of images per class; {error}") from error


def _header(file: str) -> tuple[str, tuple[int, int]]:
    try:
        with Image.open(file) as image:
            return image.mode, image.size
    except OSError as error:
        raise UserError(f"cannot read {file} as an image: {error}") from error
