"""Named data sets as uint8 tensors, with fixed splits and a fingerprint."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import UserError
from bench.core.lazy import imported_from
from bench.core.registry import Registry, imported_on_use
from bench.data.defaults import DatasetDefaults, defaults_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data.dataset import Dataset, Split, fingerprint
    from bench.data.raw import Images, RawData
else:
    __getattr__ = imported_from(
        __name__,
        {
            "bench.data.dataset": ("Dataset", "Split", "fingerprint"),
            "bench.data.raw": ("Images", "RawData"),
        },
    )

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetDefaults",
    "Images",
    "RawData",
    "Split",
    "defaults_of",
    "fingerprint",
    "load",
]

#: Default folder of the data sets, relative to the working folder.
DATA_DIR = Path("data")

#: What comes before the path in the name of an image folder.
FOLDER_PREFIX = "imagefolder:"

#: Name → loader `(data_dir: Path, download: bool) -> RawData`. `load` also accepts `imagefolder:PATH`.
DATASETS = Registry(
    "data set",
    "bench.datasets",
    {
        "digits": imported_on_use("bench.data.digits:digits"),
        "mnist": imported_on_use("bench.data.mnist:mnist"),
        "fashion-mnist": imported_on_use("bench.data.mnist:fashion_mnist"),
        "cifar10": imported_on_use("bench.data.cifar:cifar10"),
        "cifar100": imported_on_use("bench.data.cifar:cifar100"),
        "svhn": imported_on_use("bench.data.svhn:svhn"),
    },
)


def load(
    name: str,
    *,
    data_dir: Path | str | None = None,
    download: bool = False,
    train_size: int | None = None,
    test_size: int | None = None,
    image_size: int | None = None,
    class_order: Sequence[str] = (),
) -> "Dataset":
    """Load a data set in its fixed splits, which `bench.data.splits` defines.

    Args:
        name: of `DATASETS`, `imagefolder:PATH` with torchvision's layout below PATH, or `module:loader`.
        data_dir: folder of the files, "data" by default.
        download: download missing files. Nothing is ever downloaded without it.
        train_size: number of training images; the validation split shrinks with it. None uses all.
        test_size: number of test images. None uses all.
        image_size: for `imagefolder:PATH`, the side in pixels to which images are resized.
        class_order: for `imagefolder:PATH`, its classes in another order, or "text" alone.

    Raises:
        UserError: for an unknown name, missing or damaged files, or a size outside the range of the data set.
    """
    from bench.data.dataset import Dataset
    from bench.data.raw import RawData
    from bench.data.splits import split_test, split_training

    if name.strip().removesuffix(":") == FOLDER_PREFIX.removesuffix(":"):
        raise UserError("expected imagefolder:PATH with train/ and test/ below PATH, got no path")
    title = name
    if name.startswith(FOLDER_PREFIX):
        from bench.data.imagefolder import imagefolder, imagefolder_name

        path = Path(name.removeprefix(FOLDER_PREFIX))
        title = imagefolder_name(path)
        raw = imagefolder(path, image_size, class_order)
    else:
        loader = DATASETS.get(name)
        if image_size is not None:
            raise UserError(
                f"--image-size is for imagefolder:PATH alone; the images of {name} have a fixed size"
            )
        if class_order:
            raise UserError(
                f"--class-order is for imagefolder:PATH alone; the classes of {name} have an order"
            )
        with DATASETS.calling(name):
            raw = loader(Path(data_dir or DATA_DIR), download)
        if not isinstance(raw, RawData):
            raise UserError(f"data set {name!r}: its loader must return RawData, got {type(raw).__name__}")
    train, validation = split_training(raw.train_labels, train_size)
    test = split_test(raw.test_labels, test_size)
    return Dataset(
        title,
        raw.classes,
        _take(raw.train_images, raw.train_labels, train),
        _take(raw.train_images, raw.train_labels, validation),
        _take(raw.test_images, raw.test_labels, test),
    )


def _take(images: "Tensor | Images", labels: "Tensor", index: "Tensor") -> "Split":
    from bench.data.dataset import Split

    return Split(images[index], labels[index])
