"""Load named data sets, and make data sets of what people have, in the fixed splits of `bench.data.splits`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core.archives import read_npz
from bench.core.errors import UserError
from bench.core.foreign_code import call_offering
from bench.core.names import FOLDER_PREFIX, NPZ_PREFIX, OWN_DATA, data_source
from bench.data import DATA_DIR, DATASETS
from bench.data.dataset import Dataset, Split
from bench.data.given import as_raw, read_examples
from bench.data.raw import Images, RawData
from bench.data.splits import split_test, split_training


def load(
    name: str,
    *,
    data_dir: Path | str | None = None,
    download: bool = False,
    train_size: int | None = None,
    test_size: int | None = None,
    image_size: int | None = None,
    class_order: Sequence[str] = (),
) -> Dataset:
    """Load a data set in its fixed splits, which `bench.data.splits` defines.

    Args:
        name: of `DATASETS`; `imagefolder:PATH` with torchvision's layout below PATH; `PATH.npz`; or `module:name`
            of data, or of a function that returns them, in one of the forms of `bench.data.given.as_raw`.
        data_dir: folder of the files, "data" by default.
        download: download missing files. Nothing is ever downloaded without it.
        train_size: number of training images; the validation split shrinks with it. None uses all.
        test_size: number of test images. None uses all.
        image_size: for `imagefolder:PATH`, the side in pixels to which images are resized.
        class_order: for `imagefolder:PATH`, its classes in another order, or "text" alone.

    Raises:
        UserError: for an unknown name, missing or damaged files, data of another form, or a size outside the range
            of the data set.
    """
    name = data_source(name)
    if name.strip().removesuffix(":") == FOLDER_PREFIX.removesuffix(":"):
        raise UserError("expected imagefolder:PATH with train/ and test/ below PATH, got no path")
    if name.startswith(FOLDER_PREFIX):
        from bench.data.imagefolder import imagefolder, imagefolder_name

        path = Path(name.removeprefix(FOLDER_PREFIX))
        raw = imagefolder(path, image_size, class_order)
        return _split(imagefolder_name(path), raw, train_size, test_size)
    for option, given in (("--image-size", image_size), ("--class-order", class_order or None)):
        if given is not None:
            what = "images" if option == "--image-size" else "classes"
            fixed = "a fixed size" if option == "--image-size" else "an order"
            raise UserError(f"{option} is for imagefolder:PATH alone; the {what} of {name} have {fixed}")
    if name.startswith(NPZ_PREFIX):
        path = Path(name.removeprefix(NPZ_PREFIX))
        return make_dataset(read_npz(path), f"{NPZ_PREFIX}{path.stem}", train_size, test_size)
    loader = DATASETS.get(name)
    given = loader
    if isinstance(loader, type) or (callable(loader) and not hasattr(loader, "__getitem__")):
        with DATASETS.calling(name):
            given = call_offering(loader, data_dir=Path(data_dir or DATA_DIR), download=download)
    try:
        return make_dataset(given, name, train_size, test_size)
    except UserError as error:
        raise UserError(f"data set {name!r}: {error}") from error


def make_dataset(
    given: Any, name: str = OWN_DATA, train_size: int | None = None, test_size: int | None = None
) -> Dataset:
    """Make a data set of arrays, tensors, torch data sets or mappings, in the splits of every other one.

    Args:
        given: training and test images with labels, or one set of them, in a form of `bench.data.given.as_raw`.
        name: what records and boards call it.
        train_size, test_size: as for `load`.

    Raises:
        UserError: for data of another form, with what came and what is needed.
    """
    return _split(name, as_raw(given), train_size, test_size)


def only_test_images(
    given: Any,
    count_classes: Callable[[Tensor], int],
    name: str = OWN_DATA,
    test_size: int | None = None,
) -> Dataset:
    """Make a data set of test images alone; its training and validation splits are empty.

    Args:
        given: one set of images with labels, in a form of `bench.data.given.read_examples`.
        count_classes: says, given the images uint8 [N, C, H, W], how many there are; not asked where the data name
            their classes.
        name, test_size: as for `make_dataset`.

    Raises:
        UserError: for data of another form, or labels of other classes.
    """
    examples = read_examples(given, "")
    classes = examples.classes or tuple(map(str, range(count_classes(examples.images))))
    if int(examples.labels.max()) >= len(classes):
        least, most = int(examples.labels.min()), int(examples.labels.max())
        fits = least > 0 and most - least < len(classes)
        fix = f"give labels - {least}" if fits else f"there are {len(classes)} classes"
        raise UserError(f"expected labels from 0 to {len(classes) - 1}, got {least} to {most}; {fix}")
    empty = torch.empty(0, dtype=torch.int64)
    nothing = Split(examples.images[:0], empty)
    test = _take(examples.images, examples.labels, split_test(examples.labels, test_size))
    return Dataset(name, classes, nothing, nothing, test)


def _split(name: str, raw: RawData, train_size: int | None, test_size: int | None) -> Dataset:
    train, validation = split_training(raw.train_labels, train_size)
    test = split_test(raw.test_labels, test_size)
    return Dataset(
        name,
        raw.classes,
        _take(raw.train_images, raw.train_labels, train),
        _take(raw.train_images, raw.train_labels, validation),
        _take(raw.test_images, raw.test_labels, test),
    )


def _take(images: Tensor | Images, labels: Tensor, index: Tensor) -> Split:
    return Split(images[index], labels[index])
