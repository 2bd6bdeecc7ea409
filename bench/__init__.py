"""Adversarial robustness beside decision-region geometry: one battery, honest numbers.

`bench.evaluate(model, data, threat, battery)` measures any `torch.nn.Module` from Python.
"""

import os
from typing import TYPE_CHECKING, Any

from bench import moved
from bench.version import __version__

if TYPE_CHECKING:
    from bench.evaluation.evaluate import evaluate

__all__ = ["__version__", "evaluate"]

# Threads of GNU OpenMP spin while they wait for each other. Where other programs want the same cores, a training
# then takes ten times as long and more; spinning briefly costs a few per cent where they do not. The variable
# counts only if it is set before torch is loaded, and a user's own choice wins.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


moved.install()


def __getattr__(name: str) -> Any:
    # Lazy, so that `import bench` and `bench --help` do not load torch.
    if name == "evaluate":
        from bench.evaluation.evaluate import evaluate

        return evaluate
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
