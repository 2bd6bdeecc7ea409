"""Published files: the same formats, written small."""

import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import Tensor
from torchvision import datasets

from bench.core.errors import UserError
from bench.data import load
from tests.data.real import REAL, real_data

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def rows(images: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


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


def test_a_download_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_short(self: datasets.MNIST) -> None:
        Path(self.raw_folder).mkdir(parents=True)
        Path(self.raw_folder, "train-images-idx3-ubyte").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets.MNIST, "download", cut_short)
    with pytest.raises(KeyboardInterrupt):
        load("mnist", data_dir=tmp_path / "data", download=True)
    assert not list((tmp_path / "data").iterdir())


def test_damaged_files_are_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, "MNIST")
    file = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    file.with_suffix(".gz").write_bytes(b"packed")

    def fetch(self: datasets.MNIST) -> None:
        # What was copied there by hand need not be fetched.
        if not Path(self.raw_folder, file.name).exists():
            assert Path(self.raw_folder, f"{file.name}.gz").read_bytes() == b"packed"
            shutil.copytree(file.parent, self.raw_folder, dirs_exist_ok=True)
            Path(self.raw_folder, file.name).write_bytes(whole)

    monkeypatch.setattr(datasets.MNIST, "download", fetch)
    with pytest.warns(UserWarning, match=r"mnist: the files in .* are damaged.*fetched again"):
        data = load("mnist", data_dir=tmp_path, download=True)
    assert file.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]
    assert len(data.train) == 90


@real_data
def test_the_real_mnist_has_its_published_counts() -> None:
    data = load("mnist", data_dir=REAL)
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    both = torch.cat([data.train.labels, data.validation.labels]).bincount()
    assert both.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The normalization everyone uses for the 60,000 images; ours leaves validation out.
    assert data.mean[0] == pytest.approx(0.1307, abs=0.001)
    assert data.std[0] == pytest.approx(0.3081, abs=0.001)
