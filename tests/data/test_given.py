"""Data in the forms that people have become one and the same data set, or are refused in one line."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from bench.core.errors import UserError
from bench.data import RawData, load, make_dataset, only_test_images

IMAGES = np.rint(load_digits().images[:60] * 255 / 16).astype(np.uint8)[:, None]
LABELS = load_digits().target[:60]
TRAIN, TEST = slice(0, 40), slice(40, 60)
EXPECTED = make_dataset(
    RawData(
        tuple(map(str, range(10))),
        torch.from_numpy(IMAGES[TRAIN]),
        torch.from_numpy(LABELS[TRAIN]),
        torch.from_numpy(IMAGES[TEST]),
        torch.from_numpy(LABELS[TEST]),
    )
)


class Named(TorchDataset):
    """A torch data set of PIL images with names of its classes, as torchvision's are."""

    classes = tuple(map(str, range(10)))

    def __init__(self, part: slice) -> None:
        self.images, self.labels = IMAGES[part, 0], LABELS[part].tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]), self.labels[index]


class Rows(list):
    """Rows as Hugging Face's data sets give them, with features that name the classes."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        super().__init__(rows)
        self.features = {"label": SimpleNamespace(names=list(map(str, range(10))))}


def tensors(part: slice) -> TensorDataset:
    return TensorDataset(torch.from_numpy(IMAGES[part]).float() / 255, torch.from_numpy(LABELS[part]))


def rows(part: slice) -> Rows:
    return Rows({"image": image, "label": label} for image, label in Named(part))  # type: ignore[attr-defined]


def columns(part: slice) -> dict[str, Any]:
    return {"image": list(IMAGES[part]), "label": LABELS[part].tolist()}


def arrays() -> dict[str, Any]:
    return {
        "x_train": IMAGES[TRAIN],
        "y_train": LABELS[TRAIN],
        "x_test": IMAGES[TEST],
        "y_test": LABELS[TEST],
    }


FORMS: dict[str, Callable[[], Any]] = {
    "pairs": lambda: ((IMAGES[TRAIN], LABELS[TRAIN]), (IMAGES[TEST], LABELS[TEST])),
    "four arrays": lambda: (IMAGES[TRAIN], LABELS[TRAIN], IMAGES[TEST], LABELS[TEST]),
    "named arrays": arrays,
    "floats": lambda: ((IMAGES[TRAIN] / 255, LABELS[TRAIN]), (IMAGES[TEST] / 255, LABELS[TEST])),
    "gray without channel": lambda: ((IMAGES[TRAIN, 0], LABELS[TRAIN]), (IMAGES[TEST, 0], LABELS[TEST])),
    "whole numbers": lambda: {
        "train": (IMAGES[TRAIN].astype(int), LABELS[TRAIN].astype(np.int8)),
        "test": (IMAGES[TEST].astype(float), LABELS[TEST].astype(np.uint16)),
    },
    "tensors": lambda: {
        "train": (torch.from_numpy(IMAGES[TRAIN]), torch.from_numpy(LABELS[TRAIN])),
        "test": (torch.from_numpy(IMAGES[TEST]), torch.from_numpy(LABELS[TEST])),
    },
    "torch data sets": lambda: (tensors(TRAIN), tensors(TEST)),
    "PIL images": lambda: {"train": Named(TRAIN), "test": Named(TEST)},
    "subsets": lambda: (Subset(Named(slice(0, 60)), range(40)), Subset(Named(slice(0, 60)), range(40, 60))),
    "loaders": lambda: (DataLoader(tensors(TRAIN), 7), DataLoader(tensors(TEST), 7)),
    "rows": lambda: {"train": rows(TRAIN), "test": rows(TEST)},
    "columns": lambda: {"train": columns(TRAIN), "test": columns(TEST)},
    "a column of splits": lambda: {
        "images": IMAGES,
        "labels": LABELS,
        "split": ["train"] * 40 + ["test"] * 20,
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_data_set(form: str) -> None:
    assert make_dataset(FORMS[form]()).fingerprint == EXPECTED.fingerprint


def test_one_set_is_divided_in_the_order_it_has() -> None:
    data = make_dataset((IMAGES, LABELS))
    assert (len(data.train) + len(data.validation), len(data.test)) == (48, 12)
    assert make_dataset(Named(slice(0, 60))).fingerprint == data.fingerprint


def test_test_images_alone_have_the_classes_of_the_network() -> None:
    data = only_test_images((IMAGES, LABELS), lambda images: 12, test_size=20)
    assert (data.num_classes, len(data.train), len(data.test)) == (12, 0, 20)


def test_floats_between_the_levels_are_rounded_with_a_word() -> None:
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16
    with pytest.warns(
        UserWarning, match="images: float64 from 0 to 1 rounded to 256 levels, by at most 0.00"
    ):
        data = make_dataset((images, labels))
    assert data.fingerprint == make_dataset((np.rint(255 * images).astype(np.uint8), labels)).fingerprint


def test_an_npz_file_holds_arrays(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    data = load(str(path))
    assert (data.name, data.fingerprint) == ("npz:mine", EXPECTED.fingerprint)
    np.savez(path, x_train=IMAGES, y_train=LABELS)
    with pytest.raises(
        UserError, match=r"expected arrays x_train, y_train, x_test and y_test.*got x_train, y_train"
    ):
        load(f"npz:{path}")
    np.savez(path, images=np.array([None]), labels=LABELS)
    with pytest.raises(UserError, match="type object, expected numbers or text"):
        load(str(path))


class Random(TorchDataset):
    """A data set with a random transform."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.rand(1, 8, 8), index % 2


REFUSED: dict[str, tuple[Any, str]] = {
    "no data": (3, "got int"),
    "a class": (Random, "got the class Random"),
    "a stream": (iter([1]), "it has no order, so give list(…) of it"),
    "images alone": (IMAGES, "got images of shape (60, 1, 8, 8) without labels"),
    "NHWC": (
        (np.zeros((50, 32, 32, 3), np.uint8), LABELS[:50]),
        "(50, 32, 32, 3), which is the layout NHWC; give images.transpose(0, 3, 1, 2)",
    ),
    "NHWC tensor": ((torch.zeros(50, 32, 32, 3), LABELS[:50]), "give images.permute(0, 3, 1, 2)"),
    "flat": ((IMAGES.reshape(60, 64), LABELS), "got (60, 64), flat images; give images.reshape(-1, 1, 8, 8)"),
    "several shapes": (
        ([IMAGES[0], IMAGES[1][:, 1:]], [0, 1]),
        "the first is (1, 8, 8), number 1 is (1, 7, 8)",
    ),
    "counts": ((IMAGES, LABELS[:5]), "expected as many images as labels, got 60 and 5"),
    "normalized": ((IMAGES / 255 - 0.5, LABELS), "float64 from -0.5 to 0.5; undo their normalization"),
    "sixteen levels": (
        (load_digits().images, load_digits().target),
        "from 0 to 16; divide by their largest possible",
    ),
    "one bit": ((IMAGES // 255, LABELS), "uint8 from 0 to 1; give 255 * images"),
    "NaN": ((np.full((5, 8, 8), np.nan), LABELS[:5]), "NaN or infinity; an image is broken"),
    "texts": ((IMAGES.astype(str), LABELS), "floats from 0 to 1, got <U3"),
    "labels from 1": ((IMAGES, LABELS + 1), "expected labels from 0 on, got 1 to 10; give labels - 1"),
    "negative labels": ((IMAGES, LABELS - 1), "expected classes from 0 on, got -1 to 8"),
    "labels that count nothing": ((IMAGES, LABELS * 100), "got up to 900 for 60 images"),
    "float labels": ((IMAGES, LABELS.astype(float)), "got float64; give them as int64"),
    "one-hot labels": ((IMAGES, np.eye(10)[LABELS]), "got shape (60, 10); give labels.argmax(1)"),
    "a column of labels": ((IMAGES, LABELS[:, None]), "got shape (60, 1); give labels[:, 0]"),
    "names for labels": ((IMAGES, LABELS.astype(str)), "give numpy.unique(labels, return_inverse=True)[1]"),
    "train alone": ({"train": (IMAGES, LABELS)}, "got train and nothing else; name one test"),
    "val for test": (
        {"train": (IMAGES, LABELS), "val": (IMAGES, LABELS)},
        "got train and val; name one test",
    ),
    "other columns": ({"a": IMAGES, "b": LABELS}, "expected images among its columns, got a, b"),
    "another size for testing": (
        ((IMAGES, LABELS), (IMAGES[:, :, 1:], LABELS)),
        "images of one shape, got (60, 1, 8, 8) and (60, 1, 7, 8)",
    ),
    "a loader that shuffles": (
        DataLoader(tensors(TRAIN), 7, shuffle=True),
        "this DataLoader shuffles, and the fingerprint of the data needs an order; give it with shuffle=False",
    ),
    "random transforms": (Random(), "gives another image each time"),
    "nothing": ([], "expected at least one example, got none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_data_is_refused_with_the_fix(name: str) -> None:
    given, message = REFUSED[name]
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        make_dataset(given)
    assert "\n" not in str(refused.value)
