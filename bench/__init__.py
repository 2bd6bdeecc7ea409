"""Adversarial robustness beside decision-region geometry: one battery, honest numbers.

`bench.evaluate(model, data, threat, battery)` measures any `torch.nn.Module` from Python, `bench.train` trains one
with a defense, `bench.attack` runs one attack, `bench.load_network` loads the network of a record, and
`bench.load_records` reads the records on disk.
"""

import os
from typing import TYPE_CHECKING

from bench import moved
from bench.core.lazy import imported_from
from bench.version import __version__

if TYPE_CHECKING:
    from bench.core.record import Record
    from bench.core.records import Records, load_records
    from bench.data import make_dataset
    from bench.evaluation.attack import attack
    from bench.evaluation.evaluate import evaluate
    from bench.evaluation.train import train
    from bench.evaluation.trained import TrainedNetwork
    from bench.results.restore import load_network
else:
    # Lazy, so that `import bench` and `bench --help` do not load torch.
    __getattr__ = imported_from(
        __name__,
        {
            "bench.core.record": ("Record",),
            "bench.core.records": ("Records", "load_records"),
            "bench.data": ("make_dataset",),
            "bench.evaluation.attack": ("attack",),
            "bench.evaluation.evaluate": ("evaluate",),
            "bench.evaluation.train": ("train",),
            "bench.evaluation.trained": ("TrainedNetwork",),
            "bench.results.restore": ("load_network",),
        },
    )

__all__ = [
    "Record",
    "Records",
    "TrainedNetwork",
    "__version__",
    "attack",
    "evaluate",
    "load_network",
    "load_records",
    "make_dataset",
    "train",
]

# Threads of GNU OpenMP spin while they wait for each other. Where other programs want the same cores, a training
# then takes ten times as long and more; spinning briefly costs a few per cent where they do not. The variable
# counts only if it is set before torch is loaded, and a user's own choice wins.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


moved.install()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
