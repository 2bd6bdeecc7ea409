"""A data set as a whole: digits, fingerprints, moments and defaults."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from bench.core.threat import Threat
from bench.data import DATASETS, Dataset, Split, as_floats, defaults_of, fingerprint, load

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def rows(images: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


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


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
        ),
    ],
)
def test_every_device_makes_the_same_floats_of_bytes(device: str) -> None:
    # A product with 1/255, which CUDA makes of a division by a plain number, is another number for 126 of the 256.
    levels = np.arange(256, dtype=np.uint8)
    exact = (levels / np.float64(255)).astype(np.float32)
    found = as_floats(torch.from_numpy(levels).to(device))
    assert (found.cpu().numpy() == exact).all()
    assert (levels.astype(np.float32) * np.float32(1 / 255) != exact).sum() == 126


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
