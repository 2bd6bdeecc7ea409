"""The settings of entries, and those that tell one from others of its defense and network."""

from collections.abc import Iterable
from typing import Any

from bench.core.places import foreign_network
from leaderboards.entry import Entry
from leaderboards.text import plain


def differences(similar: list[Entry]) -> dict[str, str]:
    """Entry page → the settings in which it differs from others of its defense and network."""
    settings = {entry.page: settings_of(entry) for entry in similar}
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
    return told


def qualifiers(entries: Iterable[Entry]) -> dict[str, str]:
    """Entry page → the settings that distinguish the entry from others of the same defense and network."""
    together: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        together.setdefault((entry.defense.name, entry.model), []).append(entry)
    found: dict[str, str] = {}
    for similar in together.values():
        found |= differences(similar)
    return found


def settings_of(entry: Entry) -> dict[str, str]:
    """Hyper-parameters and recipe of an entry as text."""
    training = entry.record.training
    recipe: dict[str, Any] = foreign_network(entry.record)
    if training:
        recipe = {**training.recipe, "epochs": training.epochs, "precision": training.precision}
    return {name: plain(value) for name, value in {**recipe, **entry.defense.hyperparameters}.items()}
