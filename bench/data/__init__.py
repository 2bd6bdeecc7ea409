"""Named data sets as uint8 tensors, with fixed splits and a fingerprint."""

from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.data_defaults import DatasetDefaults, defaults_of
from bench.core.lazy import imported_from
from bench.core.registry import Registry, imported_on_use

if TYPE_CHECKING:
    from bench.data.dataset import Dataset, Split, as_floats, fingerprint
    from bench.data.given import is_one_set
    from bench.data.loading import load, make_dataset, only_test_images
    from bench.data.raw import Images, RawData
else:
    __getattr__ = imported_from(
        __name__,
        {
            "bench.data.dataset": ("Dataset", "Split", "as_floats", "fingerprint"),
            "bench.data.given": ("is_one_set",),
            "bench.data.loading": ("load", "make_dataset", "only_test_images"),
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
    "as_floats",
    "defaults_of",
    "fingerprint",
    "is_one_set",
    "load",
    "make_dataset",
    "only_test_images",
]

#: Default folder of the data sets, relative to the working folder.
DATA_DIR = Path("data")

#: Name → loader `(data_dir: Path, download: bool) -> RawData`. `load` also accepts paths and `module:function`.
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
