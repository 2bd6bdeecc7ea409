"""Folders of images: pixels, labels, channels and sizes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.core.errors import UserError
from bench.data import load
from tests.data.real import REAL, real_data

Paint = Callable[[int], Image.Image]


def gray(index: int) -> Image.Image:
    return Image.fromarray(np.full((9, 9), index, dtype=np.uint8))


def color(index: int) -> Image.Image:
    return Image.fromarray(np.full((9, 9, 3), [index, 100, 200], dtype=np.uint8))


def write_folder(
    root: Path, paint: Paint, *, classes: tuple[str, ...] = ("cat", "dog"), train: int = 20
) -> Path:
    index = 0
    for part, size in (("train", train), ("test", 4)):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for number in range(size):
                paint(index).save(root / part / name / f"{number:03}.png")
                index += 1
    return root


@pytest.mark.parametrize(("paint", "channels"), [(gray, 1), (color, 3)])
def test_folders_keep_pixels_labels_and_channels(paint: Paint, channels: int, tmp_path: Path) -> None:
    data = load(f"imagefolder:{write_folder(tmp_path / 'pets', paint)}")
    assert data.name == "imagefolder:pets"
    assert data.classes == ("cat", "dog")
    assert data.shape == (channels, 9, 9)
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 8)
    for split in (data.train, data.validation):
        # `write_folder` counts up: the first 20 images of the training set are cats.
        assert torch.equal(split.labels, (split.images[:, 0, 0, 0] >= 20).long())
    values = torch.cat([split.images[:, 0, 4, 4] for split in (data.train, data.validation, data.test)])
    assert torch.equal(values.sort().values, torch.arange(48, dtype=torch.uint8))
    if channels == 3:
        assert torch.equal(data.test.images[:, 1:, 0, 0], torch.tensor([[100, 200]] * 8, dtype=torch.uint8))


def test_a_folder_with_some_color_is_color(tmp_path: Path) -> None:
    data = load(
        f"imagefolder:{write_folder(tmp_path, lambda index: color(index) if index % 2 else gray(index))}"
    )
    assert data.shape == (3, 9, 9)
    grays = data.test.images[data.test.images[:, 0, 0, 0] % 2 == 0]
    assert torch.equal(grays[:, 0], grays[:, 2])


def test_only_chosen_files_are_decoded(tmp_path: Path) -> None:
    root = write_folder(tmp_path, gray, train=100)
    whole = load(f"imagefolder:{root}")
    left_out = set(whole.train.images[50:, 0, 0, 0].tolist())
    # Truncated after its header: decoding it fails.
    for file in root.glob("train/*/*.png"):
        if Image.open(file).getpixel((0, 0)) in left_out:
            file.write_bytes(file.read_bytes()[:45])
    part = load(f"imagefolder:{root}", train_size=50)
    assert torch.equal(part.train.images, whole.train.images[:50])
    with pytest.raises(UserError, match=r"cannot read .*png as an image"):
        load(f"imagefolder:{root}")


def test_cifar10_from_jpeg_never_goes_by_the_name_of_the_original(tmp_path: Path) -> None:
    assert load(f"imagefolder:{write_folder(tmp_path / 'cifar10-jpeg', color)}").name == "cifar10-jpeg"
    assert load(f"imagefolder:{write_folder(tmp_path / 'cifar10', color)}/").name == "imagefolder:cifar10"


def test_folders_with_other_classes_in_the_test_part_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, gray)
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "horse")
    with pytest.raises(UserError, match="in only one of them: dog, horse"):
        load(f"imagefolder:{tmp_path}")


def striped(width: int, height: int) -> Image.Image:
    """Black, with a white square in the middle whose side is the shorter side."""
    side = min(width, height)
    image = Image.new("L", (width, height))
    image.paste(255, ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2))
    return image


def test_images_of_several_sizes_need_an_image_size(tmp_path: Path) -> None:
    root = write_folder(tmp_path, lambda index: striped(20 + 20 * (index % 2), 40 - 20 * (index % 2)))
    with pytest.raises(UserError, match="add --image-size N"):
        load(f"imagefolder:{root}")
    data = load(f"imagefolder:{root}", image_size=10)
    assert data.shape == (1, 10, 10)
    # The centered square of the shorter side is all white, up to the bilinear mix at its border.
    assert data.train.images[..., 1:-1, 1:-1].min() == 255
    assert torch.equal(data.train.images, data.train.images.flip(2, 3))


def test_an_enlarged_image_keeps_its_color(tmp_path: Path) -> None:
    data = load(f"imagefolder:{write_folder(tmp_path, color)}", image_size=16)
    assert data.shape == (3, 16, 16)
    assert torch.equal(data.train.images[:, 1], torch.full((36, 16, 16), 100, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train").rename(root / "training"), "expected .*train/<class>/"),
        (lambda root: [file.unlink() for file in root.glob("test/dog/*")], "images per class"),
        (lambda root: (root / "test/dog/000.png").write_text("no image"), "cannot read .*000.png"),
        (lambda root: Image.new("I;16", (9, 9)).save(root / "train/cat/000.png"), "more than 8 bits"),
    ],
)
def test_broken_folders_are_refused(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path, color)
    spoil(root)
    with pytest.raises(UserError, match=message):
        load(f"imagefolder:{root}")


def test_color_that_hides_among_gray_files_is_refused(tmp_path: Path) -> None:
    # Every second header is read; the odd one out is not among them.
    root = write_folder(
        tmp_path, lambda index: color(index) if index == 301 else gray(index % 256), train=200
    )
    with pytest.raises(UserError, match="mode RGB in a folder of gray images"):
        load(f"imagefolder:{root}")


def test_an_image_size_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 1 pixel, got 0"):
        load(f"imagefolder:{write_folder(tmp_path, gray)}", image_size=0)


@real_data
def test_a_part_of_the_real_cifar10_jpeg_is_balanced() -> None:
    data = load(f"imagefolder:{REAL / 'cifar10-jpeg'}", train_size=500, test_size=200)
    assert data.name == "cifar10-jpeg"
    assert data.classes[0] == "airplane"
    assert data.shape == (3, 32, 32)
    assert data.train.labels.bincount().tolist() == [50] * 10
    assert data.test.labels.bincount().tolist() == [20] * 10
