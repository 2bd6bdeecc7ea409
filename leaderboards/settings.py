"""The settings of entries, and those that tell one from others of its defense and network."""

from collections.abc import Iterable
from typing import Any

from bench.core.places import foreign_network
from leaderboards.entry import Entry
from leaderboards.text import plain


def differences(similar: list[Entry], digits: int = 3) -> dict[str, str]:
    """Entry page → the settings in which it differs from others; numbers have as many digits as tell them apart."""
    settings = {entry.page: settings_of(entry, digits) for entry in similar}
    values: dict[str, set[str]] = {}
    for own in settings.values():
        for name, value in own.items():
            values.setdefault(name, set()).add(value)
    common = set.intersection(*(set(own) for own in settings.values()))
    differing = sorted(name for name, found in values.items() if len(found) > 1 or name not in common)
    told = {}
    for page, own in settings.items():
        shown = [f"{name} = {own[name]}" for name in differing if name in own]
        told[page] = ", ".join(shown[:3]) + (", …" if len(shown) > 3 else "")
    alike = len({*told.values()}) < len(told)
    return differences(similar, 6) if alike and digits < 6 else told


def qualifiers(entries: Iterable[Entry]) -> dict[str, str]:
    """Entry page → whether the entry is tuned, and what tells it from others of its defense and network."""
    together: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        tuned = entry.tuning if entry.tuning == "tuned" else ""
        together.setdefault((entry.defense.name, entry.model, tuned), []).append(entry)
    return {
        page: " · ".join(filter(None, (tuned, settings)))
        for (_, _, tuned), similar in together.items()
        for page, settings in differences(similar).items()
    }


def settings_of(entry: Entry, digits: int = 6) -> dict[str, str]:
    """Hyper-parameters and recipe of an entry as text."""
    training = entry.record.training
    recipe: dict[str, Any] = foreign_network(entry.record)
    if training:
        recipe = {**training.recipe, "epochs": training.epochs, "precision": training.precision}
    return {name: plain(value, digits) for name, value in {**recipe, **entry.defense.hyperparameters}.items()}
