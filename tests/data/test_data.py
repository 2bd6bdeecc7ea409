import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision import datasets

from bench.core.errors import UserError
from bench.core.threat import Threat
from bench.data import DATASETS, Dataset, RawData, Split, defaults_of, fingerprint, load
from bench.data.splits import split_test, split_training, stratified_order

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def rows(images: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


# --- splits ---

counts = st.lists(st.integers(1, 60), min_size=2, max_size=12)


def labels_of(sizes: list[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


@given(counts)
@settings(deadline=None)
def test_every_beginning_of_the_order_holds_the_classes_in_proportion(sizes: list[int]) -> None:
    labels = labels_of(sizes)
    order = stratified_order(labels, "any")
    assert torch.equal(order.sort().values, torch.arange(len(labels)))
    seen = torch.nn.functional.one_hot(labels[order], len(sizes)).cumsum(0)
    share = torch.tensor(sizes) / len(labels)
    # Up to rounding: half an image of the class itself, and its share of the roundings of all others.
    slack = 2 + share * len(sizes)
    beginnings = torch.arange(1, len(labels) + 1).unsqueeze(1)
    assert ((seen - beginnings * share).abs() <= slack).all()
    first = seen[len(sizes) - 1] if len(labels) > len(sizes) else seen[-1]
    assert all(first[label] >= 1 for label, size in enumerate(sizes) if size > 1)


@given(counts, st.data())
@settings(deadline=None)
def test_smaller_training_sets_are_parts_of_larger_ones_and_never_touch_validation(
    sizes: list[int], data: st.DataObject
) -> None:
    labels = labels_of(sizes)
    train, validation = split_training(labels, None)
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(len(labels)))
    larger = data.draw(st.integers(1, len(train)))
    smaller = data.draw(st.integers(1, larger))
    (large, large_validation), (small, small_validation) = (
        split_training(labels, larger),
        split_training(labels, smaller),
    )
    assert torch.equal(large, train[:larger])
    assert torch.equal(small, large[:smaller])
    assert torch.equal(small_validation, large_validation[: len(small_validation)])
    assert torch.equal(large_validation, validation[: len(large_validation)])


@pytest.mark.parametrize(
    ("published", "train_size", "train", "validation"),
    [(1000, None, 900, 100), (1000, 450, 450, 50), (1000, 20, 20, 10), (60_000, None, 55_000, 5_000)],
)
def test_validation_is_a_tenth_with_every_class_and_at_most_5000(
    published: int, train_size: int | None, train: int, validation: int
) -> None:
    labels = torch.arange(published) % 10
    chosen, held = split_training(labels, train_size)
    assert (len(chosen), len(held)) == (train, validation)
    assert torch.equal(labels[chosen].bincount(minlength=10), torch.full((10,), train // 10))
    assert torch.equal(labels[held].bincount(minlength=10), torch.full((10,), validation // 10))


def test_smaller_test_sets_are_the_beginning_of_the_whole() -> None:
    labels = torch.arange(200) % 4
    whole = split_test(labels, None)
    assert torch.equal(whole.sort().values, torch.arange(200))
    assert torch.equal(split_test(labels, 30), whole[:30])


@pytest.mark.parametrize("size", [0, -1, 1296])
def test_an_impossible_training_size_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=rf"--train-size must lie in 1 … 1295 .*got {size}"):
        load("digits", train_size=size)


@pytest.mark.parametrize("size", [0, 360])
def test_an_impossible_test_size_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=rf"--test-size must lie in 1 … 359, got {size}"):
        load("digits", test_size=size)


# --- the data set as a whole ---


def test_digits_are_all_of_scikit_learns() -> None:
    data = load("digits")
    assert data.name == "digits"
    assert data.shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert (len(data.train), len(data.validation), len(data.test)) == (1295, 143, 359)
    images = torch.cat([split.images for split in (data.train, data.validation, data.test)])
    labels = torch.cat([split.labels for split in (data.train, data.validation, data.test)])
    assert images.dtype == torch.uint8
    bunch = load_digits()
    levels = bytes(int(value * 255 / 16 + 0.5) for value in range(17))
    expected = {
        (bytes(levels[int(value)] for value in row), label)
        for row, label in zip(bunch.data, bunch.target.tolist(), strict=True)
    }
    assert expected == {
        (image.numpy().tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    }


def test_splits_share_no_image_and_keep_the_class_balance() -> None:
    data = load("digits")
    train, validation, test = (rows(split.images) for split in (data.train, data.validation, data.test))
    assert not train & validation
    assert not train & test
    assert not validation & test
    everything = load_digits().target
    for split in (data.train, data.validation, data.test):
        share = split.labels.bincount(minlength=10) / len(split)
        assert (share - torch.from_numpy(np.bincount(everything) / len(everything))).abs().max() < 0.02


def test_splits_depend_on_no_global_seed_and_leave_it_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    first = load("digits").fingerprint
    torch.manual_seed(2)
    np.random.seed(2)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    assert load("digits").fingerprint == first
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # type: ignore[index]


def small(
    images: Tensor | None = None, labels: Tensor | None = None, classes: tuple[str, ...] = ("a", "b")
) -> Dataset:
    images = torch.arange(48, dtype=torch.uint8).view(4, 3, 2, 2) if images is None else images
    split = Split(images, torch.tensor([0, 1, 0, 1]) if labels is None else labels)
    return Dataset("small", classes, split, split.take(2), split.take(1))


def test_equal_data_has_equal_fingerprints_and_other_data_others() -> None:
    base = small()
    assert base.fingerprint == small().fingerprint
    other_pixel = base.train.images.clone()
    other_pixel[3, 2, 1, 1] += 1
    others = [
        small(images=other_pixel),
        small(images=base.train.images.view(4, 3, 4, 1)),
        small(labels=torch.tensor([0, 1, 1, 1])),
        small(classes=("a", "c")),
        Dataset("small", base.classes, base.train, base.validation, base.validation),
    ]
    assert len({base.fingerprint, *(data.fingerprint for data in others)}) == 1 + len(others)


def test_a_fingerprint_tells_types_shapes_and_order_apart_but_not_memory_layout() -> None:
    values = torch.arange(12).view(3, 4)
    assert fingerprint(values.t().contiguous().t()) == fingerprint(values)
    variants = [(values,), (values.view(4, 3),), (values.int(),), (values, values), (values[:2], values[2:])]
    assert len({fingerprint(*variant) for variant in variants}) == len(variants)
    assert fingerprint(values[:2], values[2:]) != fingerprint(values[2:], values[:2])
    assert len(fingerprint()) == len(fingerprint(torch.zeros(0, 3))) == 64


def test_moments_are_those_of_the_training_pixels() -> None:
    data = small(images=torch.from_numpy(pixels(4, 3, 2, 2)))
    scaled = data.train.images.double() / 255
    torch.testing.assert_close(torch.tensor(data.mean).double(), scaled.mean((0, 2, 3)), atol=5.1e-5, rtol=0)
    torch.testing.assert_close(
        torch.tensor(data.std).double(), scaled.std((0, 2, 3), correction=0), atol=5.1e-5, rtol=0
    )
    assert all(value == round(value, 4) for value in data.mean + data.std)


def test_constant_pixels_have_a_standard_deviation_to_divide_by() -> None:
    data = small(images=torch.full((4, 1, 2, 2), 51, dtype=torch.uint8))
    assert data.mean == (0.2,)
    assert data.std == (0.001,)


def test_defaults_are_valid_threats() -> None:
    radii = {name: str(Threat.parse(defaults_of(name).threat)) for name in DATASETS.names()}
    assert radii == {
        "digits": "linf:0.2",
        "mnist": "linf:0.3",
        "fashion-mnist": "linf:0.1",
        "cifar10": "linf:8/255",
        "cifar100": "linf:8/255",
        "svhn": "linf:8/255",
    }
    assert defaults_of("imagefolder:anything") == defaults_of("cifar10")


# --- names ---


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match="unknown data set 'fashionmnist'; did you mean fashion-mnist"):
        load("fashionmnist")


def test_an_image_size_is_for_folders_alone() -> None:
    with pytest.raises(UserError, match="digits has a size of its own"):
        load("digits", image_size=16)


def raw(**changed: Any) -> RawData:
    parts = {
        "classes": ("a", "b"),
        "train_images": torch.zeros(20, 1, 8, 8, dtype=torch.uint8),
        "train_labels": torch.arange(20) % 2,
        "test_images": torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
        "test_labels": torch.arange(4) % 2,
    }
    return RawData(**{**parts, **changed})


def test_data_sets_of_others_come_by_module_and_function(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[Path, bool]] = []

    def loader(data_dir: Path, download: bool) -> RawData:
        asked.append((data_dir, download))
        return raw()

    module = ModuleType("others")
    module.__dict__.update(loader=loader, wrong=lambda data_dir, download: 3)
    monkeypatch.setitem(sys.modules, "others", module)
    assert len(load("others:loader", data_dir=tmp_path, download=True).test) == 4
    load("others:loader")
    assert asked == [(tmp_path, True), (Path("data"), False)]
    with pytest.raises(UserError, match="must return RawData, it gave int"):
        load("others:wrong")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ("a",)}, "at least 2 classes"),
        ({"train_images": torch.zeros(20, 1, 8, 8)}, "training images must be uint8"),
        ({"test_images": torch.zeros(4, 8, 8, dtype=torch.uint8)}, r"test images .* \[4, 8, 8\]"),
        ({"train_labels": torch.zeros(20)}, "training labels must be int64"),
        ({"test_labels": torch.zeros(5, dtype=torch.int64)}, "got 4 and 5"),
        ({"test_labels": torch.tensor([0, 1, 2, 1])}, "got 0 … 2"),
        ({"train_labels": torch.arange(20) % 2 - 1}, "got -1 … 0"),
    ],
)
def test_loaders_that_give_something_else_are_told_what_is_wrong(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        raw(**changed)


# --- published files: the same formats, written small ---


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.tobytes())


def write_mnist(root: Path, folder: str) -> dict[str, np.ndarray]:
    place = root / folder / "raw"
    place.mkdir(parents=True)
    parts = {
        "train-images-idx3-ubyte": pixels(100, 28, 28),
        "train-labels-idx1-ubyte": np.arange(100, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": pixels(30, 28, 28),
        "t10k-labels-idx1-ubyte": np.arange(30, dtype=np.uint8) % 10,
    }
    for name, values in parts.items():
        write_idx(place / name, values)
    return parts


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(
    root: Path, kind: Any, monkeypatch: pytest.MonkeyPatch, label_key: str, classes: int
) -> dict[str, np.ndarray]:
    place = root / kind.base_folder
    place.mkdir()
    parts = {}
    for attribute in ("train_list", "test_list"):
        listed = []
        for name, _ in getattr(kind, attribute):
            images = pixels(2 * classes, 3072)
            labels = [index % classes for index in range(2 * classes)]
            (place / name).write_bytes(pickle.dumps({"data": images, label_key: labels}, protocol=2))
            listed.append([name, md5(place / name)])
            parts[name] = images
        monkeypatch.setattr(kind, attribute, listed)
    meta = place / kind.meta["filename"]
    meta.write_bytes(
        pickle.dumps({kind.meta["key"]: [f"class {index}" for index in range(classes)]}, protocol=2)
    )
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(meta)})
    return parts


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    parts, listed = {}, dict(datasets.SVHN.split_list)
    for part, size in (("train", 100), ("test", 30)):
        name = f"{part}_32x32.mat"
        images = pixels(32, 32, 3, size)
        savemat(root / name, {"X": images, "y": (np.arange(size, dtype=np.uint8) % 10 + 1).reshape(-1, 1)})
        listed[part] = ["", name, md5(root / name)]
        parts[part] = images
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    return parts


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_idx_files_are_read_whole(name: str, folder: str, tmp_path: Path) -> None:
    parts = write_mnist(tmp_path, folder)
    data = load(name, data_dir=tmp_path)
    assert data.shape == (1, 28, 28)
    assert data.num_classes == 10
    published = {
        (image.tobytes(), label)
        for part in ("train", "t10k")
        for image, label in zip(
            parts[f"{part}-images-idx3-ubyte"], parts[f"{part}-labels-idx1-ubyte"].tolist(), strict=True
        )
    }
    assert published == {
        (image.numpy().tobytes(), int(label))
        for split in (data.train, data.validation, data.test)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert (len(data.train), len(data.validation), len(data.test)) == (90, 10, 30)


@pytest.mark.parametrize(
    ("name", "kind", "label_key", "classes"),
    [("cifar10", datasets.CIFAR10, "labels", 10), ("cifar100", datasets.CIFAR100, "fine_labels", 100)],
)
def test_cifar_batches_are_read_whole(
    name: str, kind: Any, label_key: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = write_cifar(tmp_path, kind, monkeypatch, label_key, classes)
    data = load(name, data_dir=tmp_path)
    assert data.shape == (3, 32, 32)
    assert data.classes[1] == "class 1"
    # The files hold each image as 1,024 red, then 1,024 green, then 1,024 blue pixels: the same as [3, 32, 32].
    published = {image.tobytes() for images in parts.values() for image in images}
    assert rows(torch.cat([data.train.images, data.validation.images, data.test.images])) == published
    fourth = torch.from_numpy(parts[kind.test_list[0][0]][3]).view(3, 32, 32)
    position = next(index for index, image in enumerate(data.test.images) if torch.equal(image, fourth))
    assert data.test.labels[position] == 3


def test_svhn_counts_the_digit_ten_as_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = write_svhn(tmp_path, monkeypatch)
    data = load("svhn", data_dir=tmp_path)
    assert data.shape == (3, 32, 32)
    assert rows(data.test.images) == rows(torch.from_numpy(parts["test"]).permute(3, 2, 0, 1).contiguous())
    ten = torch.from_numpy(parts["test"][..., 9]).permute(2, 0, 1)
    position = next(index for index, image in enumerate(data.test.images) if torch.equal(image, ten))
    assert data.test.labels[position] == 0
    assert torch.equal(data.test.labels.bincount(), torch.full((10,), 3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist", "MNIST/raw/t10k-images-idx3-ubyte"),
        ("fashion-mnist", "FashionMNIST/raw/train-labels-idx1-ubyte"),
        ("cifar10", "cifar-10-batches-py/data_batch_3"),
        ("cifar10", "cifar-10-batches-py/batches.meta"),
        ("cifar100", "cifar-100-python/train"),
        ("svhn", "test_32x32.mat"),
    ],
)
def test_missing_files_are_named_with_the_way_to_get_them(name: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(name, data_dir=tmp_path)
    message = str(caught.value)
    assert expected in message
    assert str(tmp_path) in message
    assert "missing all of them" in message
    assert "--download" in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir()), "nothing is fetched or made without --download"


def test_a_single_missing_file_is_told_from_the_others(tmp_path: Path) -> None:
    write_mnist(tmp_path, "MNIST")
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").rename(tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte.gz")
    with pytest.raises(UserError, match=r"missing MNIST/raw/t10k-labels-idx1-ubyte; unpack .*gunzip"):
        load("mnist", data_dir=tmp_path)


def test_a_file_cut_short_is_called_damaged(tmp_path: Path) -> None:
    write_mnist(tmp_path, "MNIST")
    file = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged or not the published ones"):
        load("mnist", data_dir=tmp_path)


def test_files_with_another_checksum_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, datasets.CIFAR10, monkeypatch, "labels", 10)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", "0" * 32]])
    with pytest.raises(UserError, match="damaged or not the published ones"):
        load("cifar10", data_dir=tmp_path)


def test_a_failed_download_says_what_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets.MNIST, "download", unreachable)
    with pytest.raises(UserError, match=r"download failed \(no route to host\).*copy MNIST/raw/train-images"):
        load("mnist", data_dir=tmp_path, download=True)


# --- image folders ---

Paint = Callable[[int], Image.Image]


def grey(index: int) -> Image.Image:
    return Image.fromarray(np.full((9, 9), index, dtype=np.uint8))


def colour(index: int) -> Image.Image:
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


@pytest.mark.parametrize(("paint", "channels"), [(grey, 1), (colour, 3)])
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


def test_a_folder_with_some_colour_is_colour(tmp_path: Path) -> None:
    data = load(
        f"imagefolder:{write_folder(tmp_path, lambda index: colour(index) if index % 2 else grey(index))}"
    )
    assert data.shape == (3, 9, 9)
    greys = data.test.images[data.test.images[:, 0, 0, 0] % 2 == 0]
    assert torch.equal(greys[:, 0], greys[:, 2])


def test_only_chosen_files_are_decoded(tmp_path: Path) -> None:
    root = write_folder(tmp_path, grey, train=100)
    whole = load(f"imagefolder:{root}")
    left_out = set(whole.train.images[50:, 0, 0, 0].tolist())
    # Broken behind its header: whoever decodes it fails.
    for file in root.glob("train/*/*.png"):
        if Image.open(file).getpixel((0, 0)) in left_out:
            file.write_bytes(file.read_bytes()[:45])
    part = load(f"imagefolder:{root}", train_size=50)
    assert torch.equal(part.train.images, whole.train.images[:50])
    with pytest.raises(UserError, match=r"cannot read .*png as an image"):
        load(f"imagefolder:{root}")


def test_cifar10_from_jpeg_never_goes_by_the_name_of_the_original(tmp_path: Path) -> None:
    assert load(f"imagefolder:{write_folder(tmp_path / 'cifar10-jpeg', colour)}").name == "cifar10-jpeg"
    assert load(f"imagefolder:{write_folder(tmp_path / 'cifar10', colour)}/").name == "imagefolder:cifar10"


def test_folders_with_other_classes_in_the_test_part_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, grey)
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "horse")
    with pytest.raises(UserError, match="in one of them alone: dog, horse"):
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
    # The centred square of the shorter side is all white, up to the bilinear mix at its border.
    assert data.train.images[..., 1:-1, 1:-1].min() == 255
    assert torch.equal(data.train.images, data.train.images.flip(2, 3))


def test_an_enlarged_image_keeps_its_colour(tmp_path: Path) -> None:
    data = load(f"imagefolder:{write_folder(tmp_path, colour)}", image_size=16)
    assert data.shape == (3, 16, 16)
    assert torch.equal(data.train.images[:, 1], torch.full((36, 16, 16), 100, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train").rename(root / "training"), "expected .*train/<class>/"),
        (lambda root: [file.unlink() for file in root.glob("test/dog/*")], "images for each class"),
        (lambda root: (root / "test/dog/000.png").write_text("no image"), "cannot read .*000.png"),
        (lambda root: Image.new("I;16", (9, 9)).save(root / "train/cat/000.png"), "more than 8 bits"),
    ],
)
def test_broken_folders_are_refused(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path, colour)
    spoil(root)
    with pytest.raises(UserError, match=message):
        load(f"imagefolder:{root}")


def test_colour_that_hides_among_grey_files_is_refused(tmp_path: Path) -> None:
    # Every second header is read; the odd one out is not among them.
    root = write_folder(
        tmp_path, lambda index: colour(index) if index == 301 else grey(index % 256), train=200
    )
    with pytest.raises(UserError, match="mode RGB in a folder of gray images"):
        load(f"imagefolder:{root}")


def test_an_image_size_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 1 pixel, got 0"):
        load(f"imagefolder:{write_folder(tmp_path, grey)}", image_size=0)


def test_a_folder_needs_a_path() -> None:
    with pytest.raises(UserError, match="expected imagefolder:PATH"):
        load("imagefolder")


# --- real files, where the environment points at them ---

REAL = Path(os.environ.get("REGIONBENCH_DATA", ""))
real_data = pytest.mark.skipif("REGIONBENCH_DATA" not in os.environ, reason="REGIONBENCH_DATA is not set")


@real_data
def test_the_real_mnist_has_its_published_counts() -> None:
    data = load("mnist", data_dir=REAL)
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    both = torch.cat([data.train.labels, data.validation.labels]).bincount()
    assert both.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The normalisation everyone uses for the 60,000 images; ours leaves validation out.
    assert data.mean[0] == pytest.approx(0.1307, abs=0.001)
    assert data.std[0] == pytest.approx(0.3081, abs=0.001)


@real_data
def test_a_part_of_the_real_cifar10_jpeg_is_balanced() -> None:
    data = load(f"imagefolder:{REAL / 'cifar10-jpeg'}", train_size=500, test_size=200)
    assert data.name == "cifar10-jpeg"
    assert data.classes[0] == "airplane"
    assert data.shape == (3, 32, 32)
    assert data.train.labels.bincount().tolist() == [50] * 10
    assert data.test.labels.bincount().tolist() == [20] * 10
