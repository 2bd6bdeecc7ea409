"""Names of data sets, and what their loaders must return."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from bench.core.errors import UserError
from bench.data import RawData, load


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match="unknown data set 'fashionmnist'; did you mean fashion-mnist"):
        load("fashionmnist")


def test_an_image_size_is_for_folders_only() -> None:
    with pytest.raises(UserError, match="the images of digits have a fixed size"):
        load("digits", image_size=16)


def test_a_folder_needs_a_path() -> None:
    with pytest.raises(UserError, match="expected imagefolder:PATH"):
        load("imagefolder")


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
    with pytest.raises(UserError, match=r"data set .others:wrong.: .*expected .*, got int"):
        load("others:wrong")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ("a",)}, "at least 2 classes"),
        ({"train_images": torch.zeros(20, 1, 8, 8)}, "training images must be uint8"),
        ({"test_images": torch.zeros(4, 8, 8, dtype=torch.uint8)}, r"test images .* \[4, 8, 8\]"),
        ({"test_images": torch.zeros(4, 8, 8, 3, dtype=torch.uint8)}, "the layout NHWC; give images.permute"),
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
