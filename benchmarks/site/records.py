"""Many different valid records, made from one of a real run: same fields, same arrays, other outcomes."""

import copy
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import leaderboards
from bench.core.files import sha256
from bench.core.intervals import proportion_interval
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY, WORST_CASE

TEMPLATE = Path(leaderboards.__file__).parent / "results" / "quick" / "cnn6-trades-0"
DEFENSES = ("at", "jacobian", "mr", "prs", "standard", "trades")
NETWORKS = ("cnn6", "lenet", "nin", "resnet18", "vgg16")


def write_records(folder: Path, count: int, *, first: int = 0, images: int = 200) -> None:
    """Write records of so many entries of one board, each with its per-image outcomes.

    Args:
        folder: gets a folder for each of them, a hundred in a folder.
        first: number of the first one; a record depends on its number alone.
        images: test images under attack.
    """
    template = json.loads((TEMPLATE / "record.json").read_text())
    template["dataset"] |= {
        "evaluated_size": images,
        "test_size": max(images, template["dataset"]["test_size"]),
    }
    with zipfile.ZipFile(TEMPLATE / "arrays.npz") as archive:
        stored = {member.filename: archive.read(member) for member in archive.infolist()}
    for number in range(first, first + count):
        place = folder / f"{number // 100:04}" / f"{number:06}"
        place.mkdir(parents=True, exist_ok=True)
        arrays = _outcomes(template, number, images)
        _write_arrays(place / "arrays.npz", stored, arrays)
        record = _record(copy.deepcopy(template), number, arrays)
        record["files"]["arrays"]["sha256"] = sha256(place / "arrays.npz")
        (place / "record.json").write_text(json.dumps(record, indent=1))


def _outcomes(template: Mapping[str, Any], number: int, images: int) -> dict[str, np.ndarray]:
    """Which images are right: a network has a strength, an image a difficulty, and chance does the rest."""
    rng = np.random.default_rng(number)
    difficulty = np.random.default_rng(0).random(images)
    strength, clean = rng.uniform(0.02, 0.6), rng.uniform(0.7, 1.0)
    test = template["dataset"]["test_size"]
    right = np.concatenate([difficulty, rng.random(test - images)]) + 0.05 * rng.normal(size=test) < clean
    found = {CLEAN_ACCURACY: right}
    left = right[:images]
    names = [name for name in template["metrics"] if name.startswith(ROBUST_ACCURACY) and name != WORST_CASE]
    for name in names:
        left = left & (difficulty + 0.05 * rng.normal(size=images) < strength + 0.05)
        found[name] = left
    return {**found, WORST_CASE: left}


def _write_arrays(path: Path, stored: Mapping[str, bytes], arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in stored.items():
            array = arrays.get(name.removesuffix(".npy"))
            if array is not None:
                stream = io.BytesIO()
                np.save(stream, array)
                content = stream.getvalue()
            # A fixed time, so that a record is the same whenever it is made.
            archive.writestr(zipfile.ZipInfo(name), content)


def _record(record: dict[str, Any], number: int, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    rng = np.random.default_rng(number + 1)
    defense, network = DEFENSES[number % len(DEFENSES)], NETWORKS[number // len(DEFENSES) % len(NETWORKS)]
    for name, array in arrays.items():
        low, high = proportion_interval(int(array.sum()), len(array))
        changed = {"value": float(array.mean()), "low": low, "high": high, "n": len(array)}
        record["metrics"][name] |= changed
    record["metrics"]["prs_ratio"]["value"] = float(rng.random())
    factor = float(rng.lognormal(0, 1))
    for name in ("time_per_epoch", "time_per_epoch_ratio"):
        score = record["metrics"][name]
        score |= {end: factor * score[end] for end in ("value", "low", "high")}
    for alarm in record["alarms"]:
        alarm["raised"] = bool(rng.random() < 0.02)
    record |= {"id": f"synthetic-{number}", "model": network, "parameters": 10_000 * (1 + number % 90)}
    record["defense"] |= {"name": defense, "hyperparameters": {"weight": round(0.001 * number, 3)}}
    record["training"] |= {"epochs": 12 + number % 4}
    config = {"defense": defense, "model": network, "dataset": "digits", "seeds": [0]}
    record["provenance"] |= {"run": f"run-{number}", "config": config}
    record["curves"]["security"]["points"] = list(_curve(record, arrays))
    return record


def _curve(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, float]]:
    clean, n = float(arrays[CLEAN_ACCURACY].mean()), len(arrays[WORST_CASE])
    for point in record["curves"]["security"]["points"]:
        value = clean * float(point["value"])
        low, high = proportion_interval(round(value * n), n)
        yield {"x": point["x"], "value": value, "low": min(low, value), "high": max(high, value)}
