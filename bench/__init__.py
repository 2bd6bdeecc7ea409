"""Adversarial robustness beside decision-region geometry: one battery, honest numbers.

`bench.evaluate(model, data, threat, battery)` measures any `torch.nn.Module` from Python.
"""

from typing import TYPE_CHECKING, Any

from bench.version import __version__

if TYPE_CHECKING:
    from bench.evaluation import evaluate

__all__ = ["__version__", "evaluate"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import bench` and `bench --help` do not load torch.
    if name == "evaluate":
        from bench.evaluation import evaluate

        return evaluate
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
