"""What there is: the text behind `bench list`."""

import inspect
from collections.abc import Callable
from typing import Any

from bench.battery import BATTERIES
from bench.core.attacks import ATTACKS
from bench.core.data import DATASETS, defaults_of
from bench.core.errors import UserError
from bench.core.models import MODELS
from bench.core.plugins import Registry
from bench.core.space import Choice, LogUniform, Range
from defenses import DEFENSES, WRAPPERS
from defenses import get as get_defense
from metrics import METRICS
from metrics import get as get_metric


def describe(kind: str) -> str:
    """One block of text for "defenses", "models", "datasets", "metrics", "attacks" or "batteries"."""
    return {
        "defenses": _defenses,
        "models": _models,
        "datasets": _datasets,
        "metrics": _metrics,
        "attacks": _attacks,
        "batteries": _batteries,
    }[kind]()


def _defenses() -> str:
    blocks = []
    for name in DEFENSES.names():
        try:
            blocks.append(_defense(name))
        except UserError as error:
            # Somebody's broken plug-in must not hide everybody else's.
            blocks.append(f"{name}  cannot be used: {error}")
    blocks.append(
        f"\nNames join with + (the sum of the losses); around a sum goes {' or '.join(WRAPPERS)}, "
        f"as in awp(jacobian+at)."
    )
    return "\n".join(blocks)


def _defense(name: str) -> str:
    defense = get_defense(name)
    lines = [f"{name}  [{defense.family}]{_origin(DEFENSES, name)}  {_first_line(defense)}"]
    space = defense.space()
    for field, default in defense.make({}).hyperparameters().items():
        searched = f"   searched: {_range(space[field])}" if field in space else ""
        lines.append(f"    {field} = {default}{searched}")
    return "\n".join(lines)


def _models() -> str:
    return _rows((name, _first_line(MODELS.get(name)) + _origin(MODELS, name)) for name in MODELS.names())


def _datasets() -> str:
    rows = [
        (name, f"{_first_line(DATASETS.get(name))}{_origin(DATASETS, name)}  {_defaults(name)}")
        for name in DATASETS.names()
    ]
    rows.append(
        (
            "imagefolder:PATH",
            f"Any folder in torchvision's layout with train/ and test/.  {_defaults('imagefolder:')}",
        )
    )
    return _rows(rows)


def _defaults(name: str) -> str:
    chosen = defaults_of(name)
    return f"[{chosen.threat}, {chosen.epochs} epochs, {chosen.trials} trials]"


def _metrics() -> str:
    rows = []
    for name in METRICS.names():
        metric = get_metric(name)
        better = {True: "higher is better", False: "lower is better", None: "neither way is better"}
        direction = better[metric.higher_is_better]
        rows.append(
            (name, f"{_first_line(type(metric))}  [{metric.unit}, {direction}]{_origin(METRICS, name)}")
        )
    return _rows(rows)


def _attacks() -> str:
    return _rows(
        (name, ", ".join(f"{key} {value}" for key, value in attack.settings().items()))
        for name, attack in ATTACKS.items()
    )


def _batteries() -> str:
    rows = []
    for name, make in BATTERIES.items():
        battery = make()
        metrics = ", ".join(metric.name for metric in battery.metrics)
        rows.append((f"{name} {battery.version}", f"{battery.summary}\n{' ' * 4}{metrics}"))
    return _rows(rows)


def _rows(rows: Any) -> str:
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _first_line(part: Callable[..., Any]) -> str:
    return (inspect.getdoc(part) or "").partition("\n")[0]


def _origin(registry: Registry, name: str) -> str:
    origin = registry.origin(name)
    return "" if origin == "built in" else f" (from {origin})"


def _range(spread: Range) -> str:
    if isinstance(spread, Choice):
        return " | ".join(map(str, spread.values))
    return f"{spread.low:g} … {spread.high:g}{' (log)' if isinstance(spread, LogUniform) else ''}"
