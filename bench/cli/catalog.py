"""List what is available: the text of `bench list`."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from textwrap import fill
from typing import Any

from bench.attacks import ATTACKS
from bench.core.errors import UserError
from bench.core.registry import Registry
from bench.data import DATASETS, defaults_of
from bench.evaluation.battery import BATTERIES
from bench.models import MODELS
from defenses import DEFENSES, WRAPPERS
from defenses import get as get_defense
from defenses.space import Choice, LogUniform, Range
from metrics import METRICS
from metrics import get as get_metric

#: Width of the lines that list scores.
WIDTH = 110


def describe(kind: str) -> str:
    """List the parts of a kind: "defenses", "models", "datasets", "metrics", "attacks" or "batteries"."""
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
            # A plug-in that fails to load must not hide the others.
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
    return _rows((name, _about(MODELS, name)) for name in MODELS.names())


def _about(registry: Registry, name: str) -> str:
    """The first line of a part's docstring, and its origin; a plug-in that fails to load hides no other."""
    try:
        return _first_line(registry.get(name)) + _origin(registry, name)
    except UserError as error:
        return f"cannot be used: {error}"


def _datasets() -> str:
    rows = [(name, f"{_about(DATASETS, name)}  {_defaults(name)}") for name in DATASETS.names()]
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
    rows, unusable = [], []
    for name in METRICS.names():
        try:
            metric = get_metric(name)
        except UserError as error:
            # A plug-in that fails to load must not hide the others.
            unusable.append(f"{name}  cannot be used: {error}")
            continue
        better = {True: "higher is better", False: "lower is better", None: "neither way is better"}
        direction = better[metric.higher_is_better]
        about = f"{_first_line(type(metric))}  [{metric.unit}, {direction}]{_origin(METRICS, name)}"
        others = [score for score in metric.names() if score != name]
        if others:
            scores = fill(
                f"also: {', '.join(_short(score, name) for score in others)}",
                WIDTH,
                initial_indent=" " * 4,
                subsequent_indent=" " * 10,
                break_on_hyphens=False,
                break_long_words=False,
            )
            about += f"\n{scores}"
        rows.append((name, about))
    return "\n".join([_rows(rows), *unusable, "\n/SCORE stands for NAME/SCORE."])


def _short(score: str, metric: str) -> str:
    return score.removeprefix(metric) if score.startswith(f"{metric}/") else score


def _attacks() -> str:
    return _rows(
        (name, ", ".join(f"{key} {value}" for key, value in attack.settings().items()))
        for name, attack in ATTACKS.items()
    )


def _batteries() -> str:
    rows = []
    registered = _registered()
    for name, make in BATTERIES.items():
        battery = make()
        metrics = ", ".join(registered.get(metric.name, metric.name) for metric in battery.metrics)
        rows.append((f"{name} {battery.version}", f"{battery.summary}\n{' ' * 4}{metrics}"))
    return _rows(rows)


def _registered() -> dict[str, str]:
    """Map the main score of each metric to the metric's registered name, which can differ."""
    names = {}
    for name in METRICS.names():
        with suppress(UserError):
            names[get_metric(name).name] = name
    return names


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
