"""Folders of images: pixels, labels, channels and sizes."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from bench.core.errors import UserError
from bench.data import load
from bench.data.image_files import find_images, order_classes
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


def test_a_folder_for_validation_is_named_where_that_for_testing_is_missing(tmp_path: Path) -> None:
    write_folder(tmp_path, gray)
    (tmp_path / "test").rename(tmp_path / "val")
    with pytest.raises(UserError, match=r"there is val/ beside train/: .* name it test/, or link test to it"):
        load(f"imagefolder:{tmp_path}")


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


NUMBERS = tuple(map(str, range(12)))


def test_hidden_folders_are_no_classes_and_skipped_files_are_counted(tmp_path: Path) -> None:
    root = write_folder(tmp_path, gray)
    plain = load(f"imagefolder:{root}")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (root / "train" / name).mkdir()
        gray(1).save(root / "train" / name / "000.png")
    gray(1).save(root / "train/cat/._000.png")
    for number in range(3):
        (root / f"test/dog/{number}.gif").touch()
    (root / "train/README").touch()
    with pytest.warns(UserWarning, match=r"skipped what is no image: 3 hidden, 3 \.gif, 1 without extension"):
        data = load(f"imagefolder:{root}")
    assert data.fingerprint == plain.fingerprint


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    root = write_folder(tmp_path, gray, classes=NUMBERS, train=6)
    with pytest.warns(
        UserWarning, match="in the order 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11; --class-order text"
    ):
        data = load(f"imagefolder:{root}")
    assert data.classes == NUMBERS
    # `write_folder` counts up: six training images for each class, then four test images.
    labels = data.train.labels[data.train.images[:, 0, 0, 0].argsort()]
    assert labels.tolist() == sorted(labels.tolist())
    as_text = load(f"imagefolder:{root}", class_order=["text"])
    assert as_text.classes == tuple(sorted(NUMBERS))
    chosen = load(f"imagefolder:{root}", class_order=NUMBERS[::-1])
    assert chosen.classes == NUMBERS[::-1]
    name = dict(zip(data.test.images[:, 0, 0, 0].tolist(), data.test.labels.tolist(), strict=True))
    for other in (as_text, chosen):
        for pixel, label in zip(
            other.test.images[:, 0, 0, 0].tolist(), other.test.labels.tolist(), strict=True
        ):
            assert other.classes[label] == data.classes[name[pixel]]


@pytest.mark.parametrize("classes", [("cat", "dog"), tuple("0123456789"), ("0a", "10", "9"), ("B", "a", "ä")])
def test_the_order_stays_that_of_torchvision_where_no_numbers_change_it(
    classes: tuple[str, ...], tmp_path: Path
) -> None:
    root = write_folder(tmp_path, gray, classes=classes, train=2)
    (root / "train" / classes[0] / "inner").mkdir()
    gray(200).save(root / "train" / classes[0] / "inner" / "x.PNG")
    gray(201).save(root / "train" / classes[0] / "inner-x.png")
    theirs = ImageFolder(str(root / "train"))
    ours = find_images(root / "train")
    order = order_classes(list(ours.files), ())
    assert order == theirs.classes
    assert [file for name in order for file in ours.files[name]] == [file for file, _ in theirs.samples]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["dog"], "names 1 of 2 classes; cat is missing"),
        (["dog", "cats"], "unknown class in --class-order 'cats'; did you mean cat"),
        (["text", "dog"], "unknown class"),
    ],
)
def test_another_order_names_every_class(order: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load(f"imagefolder:{write_folder(tmp_path, gray)}", class_order=order)
    with pytest.raises(UserError, match="for imagefolder:PATH alone"):
        load("digits", class_order=order)


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size; decoding it would need that much memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train/cat/000.png").write_bytes(png(60_000, 60_000)), r"000\.png .*pixels"),
        (
            lambda root: (root / "train/cat/000.png").write_bytes(png(10_000, 9_000)),
            r"000\.png is 10000x9000; .*pixels",
        ),
        (lambda root: (root / "train/cat/000.png").write_bytes(b""), r"cannot read .*000\.png"),
        (lambda root: (root / "train/cat/loop").symlink_to(root / "train"), r"loop is reached twice"),
        (lambda root: (root / "train/cat/x.png").symlink_to("absent"), r"cannot read .*x\.png"),
        (lambda root: os.mkfifo(root / "train/cat/x.png"), r"x\.png as an image: it is no regular file"),
        (lambda root: (root / "train/cat/\x1b[31m.png").touch(), "cannot be printed"),
        (lambda root: (root / "train/a\nb").mkdir(), "cannot be printed"),
        (lambda root: (root / "train/empty").mkdir(), "'empty' has none"),
        (lambda root: Image.new("L", (1, 60_000)).save(root / "train/cat/000.png"), r"1x60000"),
    ],
)
def test_what_would_hang_or_fill_the_memory_is_refused_by_name(
    spoil: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    root = write_folder(tmp_path, color)
    spoil(root)
    with pytest.raises(UserError, match=message) as error:
        load(f"imagefolder:{root}", image_size=512 if "60000" in message else None)
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_without_classes_or_a_path_is_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
    with pytest.raises(UserError, match="found no folder"):
        load(f"imagefolder:{tmp_path}")
    for name in ("imagefolder", "imagefolder:", "imagefolder: "):
        with pytest.raises(UserError, match="got no path"):
            load(name)


@real_data
def test_a_part_of_the_real_cifar10_jpeg_is_balanced() -> None:
    data = load(f"imagefolder:{REAL / 'cifar10-jpeg'}", train_size=500, test_size=200)
    assert data.name == "cifar10-jpeg"
    assert data.classes[0] == "airplane"
    assert data.shape == (3, 32, 32)
    assert data.train.labels.bincount().tolist() == [50] * 10
    assert data.test.labels.bincount().tolist() == [20] * 10
