"""List what is available, one line a name: the text of `bench list KIND`. Only plug-ins are imported."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bench.core.docstrings import first_paragraph, summary_at
from bench.core.errors import UserError
from bench.core.registry import Registry

#: A name and its line.
Row = tuple[str, str]


def describe(kind: str) -> str:
    """List the parts of a kind, a key of `KINDS`, one line each; the last line says how to see a whole card."""
    rows, *notes = KINDS[kind]()
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {text}" for name, text in rows]
    return "\n".join([*lines, "", *notes, f"`bench list {kind} NAME` prints everything about one."])


def _registered(
    registry: Registry,
    add: Callable[[str], str] = lambda name: "",
    get: Callable[[str], object] | None = None,
) -> list[Row]:
    """A row for each name of a registry; a plug-in that fails to load hides no other.

    Args:
        add: what stands behind a name's line.
        get: finds what a plug-in brings, and refuses what is of another kind; the registry's own by default.
    """
    rows = []
    for name in registry.names():
        try:
            rows.append((name, _line(registry, name, get or registry.get) + add(name)))
        except UserError as error:
            rows.append((name, f"cannot be used: {error}"))
    return rows


def _line(registry: Registry, name: str, get: Callable[[str], object]) -> str:
    if place := registry.place(name):
        return summary_at(place)
    if set("+(") & set(name):  # a composition, whose class is made when it is used
        return f"A composition of {' and '.join(re.findall(r'[a-z][a-z-]*', name))}, see below."
    return f"{first_paragraph(get(name).__doc__)} (from {registry.origin(name)})"


def _defenses() -> Any:
    from defenses import DEFENSES, WRAPPERS
    from defenses import get as get_defense

    around = " or ".join(WRAPPERS)
    note = f"Names join with + (the sum of the losses); around a sum goes {around}, as in awp(jacobian+at)."
    return _registered(DEFENSES, get=get_defense), note


def _models() -> Any:
    from bench.models import MODELS

    return (_registered(MODELS),)


def _datasets() -> Any:
    from bench.data import DATASETS

    rows = _registered(DATASETS, lambda name: f"  {defaults_line(name)}")
    others = {
        "imagefolder:PATH": "Any folder in torchvision's layout with train/ and test/.",
        "FILE.npz": "Arrays x_train, y_train, x_test and y_test, or images and labels.",
        "MODULE:FUNCTION": "Your own: arrays, tensors, a torch Dataset or a mapping.",
    }
    return ([*rows, *((name, f"{about}  {defaults_line('')}") for name, about in others.items())],)


def defaults_line(name: str) -> str:
    """Default threat, epochs and trials of a data set, in brackets."""
    from bench.data import defaults_of

    chosen = defaults_of(name)
    return f"[{chosen.threat}, {chosen.epochs} epochs, {chosen.trials} trials]"


def _metrics() -> Any:
    from bench.attacks.settings import SUMMARIES as ATTACKS
    from bench.core.names import ROBUST_ACCURACY
    from metrics import METRICS
    from metrics import get as get_metric

    def attack(name: str) -> str:
        words = ATTACKS.get(name.removeprefix(ROBUST_ACCURACY))
        return f"  [{words}]" if words else ""

    return (_registered(METRICS, attack, get_metric),)


def _attacks() -> Any:
    from bench.attacks.settings import SUMMARIES

    note = (
        "AutoAttack and the worst case are metrics: robust_accuracy/autoattack, robust_accuracy/worst_case."
    )
    return _rows(SUMMARIES), note


def _batteries() -> Any:
    from bench.evaluation.battery import BATTERY_VERSION, SUMMARIES

    return _rows(SUMMARIES), f"Version {BATTERY_VERSION}; results of other versions never share a board."


def _recipes() -> Any:
    from bench.training.recipe import SUMMARIES

    note = "Fields are changed behind the name: --recipe strong,batch_size=256,averaging=ema."
    return _rows(SUMMARIES), note


def _alarms() -> Any:
    from bench.evaluation.alarm_list import ALARMS

    return ([(name, summary_at(place)) for name, place in ALARMS.items()],)


def _rows(summaries: Mapping[str, str]) -> Iterable[Row]:
    return list(summaries.items())


#: What can be listed → a function that gives its rows, then lines that stand below them.
KINDS: Mapping[str, Callable[[], Any]] = {
    "defenses": _defenses,
    "models": _models,
    "datasets": _datasets,
    "metrics": _metrics,
    "attacks": _attacks,
    "batteries": _batteries,
    "recipes": _recipes,
    "alarms": _alarms,
}
