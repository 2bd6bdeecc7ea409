"""Records as the battery would write them, small and made up, for tests that need some."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.files import sha256
from bench.core.intervals import proportion_interval
from bench.core.record import File, Record

RATES = {
    "clean_accuracy": 0.80,
    "robust_accuracy/fgsm": 0.55,
    "robust_accuracy/bim": 0.51,
    "robust_accuracy/pgd20": 0.50,
    "robust_accuracy/pgd100": 0.495,
    "robust_accuracy/cw": 0.48,
    "robust_accuracy/autoattack": 0.45,
}
WORST_CASE = "robust_accuracy/worst_case"


def make_arrays(
    rates: Mapping[str, float] | None = None, *, n: int = 200, seed: int = 0, noise: float = 0.15
) -> dict[str, np.ndarray]:
    """Per-image outcomes with the given rates: bool [n] per accuracy, worst case included.

    Images differ in difficulty, the same for every call; `seed` and `noise` say how far a network disagrees.
    """
    rates = {**RATES, **(rates or {})}
    difficulty = np.random.default_rng(0).random(n) + noise * np.random.default_rng(seed + 1).normal(size=n)
    place = np.argsort(np.argsort(difficulty))
    arrays = {name: place < round(rate * n) for name, rate in rates.items()}
    attacks = [array for name, array in arrays.items() if name.startswith("robust_accuracy/")]
    arrays[WORST_CASE] = np.logical_and.reduce(attacks)
    return {**arrays, "test_index": np.arange(n)}


def make_scores(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """The accuracies that follow from per-image outcomes, with Wilson's intervals."""
    scores = {}
    for name, array in arrays.items():
        if array.dtype == bool:
            low, high = proportion_interval(int(array.sum()), len(array))
            value = float(array.mean())
            scores[name] = {
                "value": value,
                "low": low,
                "high": high,
                "n": len(array),
                "unit": "fraction",
                "higher_is_better": True,
            }
    return scores


def make_record(arrays: Mapping[str, np.ndarray] | None = None, **changes: Any) -> Record:
    """A valid record.

    Args:
        arrays: per-image outcomes that its accuracies follow from; `make_arrays()` by default.
        changes: fields by name. One that is itself an object ("defense", "dataset", …) is merged one level
            deep, everything else ("metrics", "alarms", …) is replaced.
    """
    arrays = make_arrays() if arrays is None else arrays
    n = len(arrays["test_index"])
    fields = _template(n)
    fields["metrics"] |= make_scores(arrays)
    for name, value in changes.items():
        part = fields.get(name)
        merged = (
            isinstance(part, dict)
            and isinstance(value, Mapping)
            and name not in ("metrics", "curves", "files")
        )
        fields[name] = {**part, **value} if merged and part is not None else value
    return Record.model_validate(fields)


def write_record(folder: Path, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write `record.json`, and `arrays.npz` beside it with its hash in the record; gives the record's path."""
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(record.files)
    if arrays is not None:
        np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
        files["arrays"] = File(path="arrays.npz", sha256=sha256(folder / "arrays.npz"))
    record.model_copy(update={"files": files}).save(folder / "record.json")
    return folder / "record.json"


def _template(n: int) -> dict[str, Any]:
    return {
        "id": "cifar10-cnn6-prs-0000-seed-0",
        "defense": {
            "name": "prs",
            "hyperparameters": {"ce": 0.2, "mrv": 0.8, "ham": 1.0, "warmup": 0.5, "surrogate": "tanh"},
            "defaults": {"ce": 0.2, "mrv": 0.8, "ham": 1.0, "warmup": 0.5, "surrogate": "tanh"},
        },
        "model": "cnn6",
        "parameters": 876_234,
        "feature_site": "pre-activation",
        "dataset": {
            "name": "cifar10",
            "fingerprint": "4f" * 32,
            "shape": (3, 32, 32),
            "classes": ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
            "train_size": 45_000,
            "validation_size": 5_000,
            "test_size": 10_000,
            "evaluated_size": n,
            "evaluated_fingerprint": "a7" * 32,
        },
        "threat": {"norm": "linf", "eps": "8/255"},
        "battery": {
            "name": "standard",
            "version": "1.0",
            "settings": {
                "fgsm": {"random_start": False},
                "pgd20": {"steps": 20, "alpha": "2.5 ε / steps", "random_start": True, "restarts": 1},
                "pgd100": {"steps": 100, "alpha": "2.5 ε / steps", "random_start": True, "restarts": 1},
                "autoattack": {"version": "standard", "seed": 0, "batch_size": 500},
            },
        },
        "seed": 0,
        "training": {
            "recipe": {"optimizer": "adam", "learning_rate": 0.001, "batch_size": 128, "augment": False},
            "precision": "fp32",
            "epochs": 12,
            "epoch_of_weights": 12,
        },
        "metrics": {
            "prs_ratio": {"value": 0.017, "n": 45_000, "unit": "fraction", "higher_is_better": None},
            "inclusion_ratio": {
                "value": 0.912,
                "low": 0.906,
                "high": 0.917,
                "n": 10_000,
                "unit": "fraction",
                "higher_is_better": None,
            },
            "detection_auc": {
                "value": 0.61,
                "low": 0.58,
                "high": 0.64,
                "n": n,
                "unit": "AUC",
                "higher_is_better": True,
            },
            "detection_auc_calibrated": {
                "value": 0.74,
                "low": 0.71,
                "high": 0.77,
                "n": n,
                "unit": "AUC",
                "higher_is_better": True,
            },
            "region_health/entropy": {"value": 6.31, "unit": "nats", "higher_is_better": None},
            "time_per_epoch": {"value": 9.78, "unit": "seconds", "higher_is_better": False},
            "time_per_epoch_ratio": {"value": 1.1, "unit": "ratio", "higher_is_better": False},
        },
        "alarms": [
            {
                "name": "more_steps_still_help",
                "raised": False,
                "message": "PGD-100 breaks 0.5 points more than PGD-20; the alarm starts at 1 point.",
                "numbers": {"difference": 0.005},
            },
            {
                "name": "precision",
                "raised": None,
                "message": "No attack ran in low precision.",
                "numbers": {},
            },
        ],
        "curves": {
            "security": {
                "x_label": "ε",
                "y_label": "robust accuracy",
                "points": [
                    {"x": x, "value": y, "low": max(0.0, y - 0.06), "high": min(1.0, y + 0.06)}
                    for x, y in [
                        (0.0, 0.8),
                        (0.0157, 0.64),
                        (8 / 255, 0.45),
                        (0.0627, 0.21),
                        (0.125, 0.02),
                        (0.5, 0.0),
                    ]
                ],
            }
        },
        "history": [
            {
                "epoch": epoch,
                "train_loss": 2.3 / epoch**0.5,
                "train_accuracy": 1 - 0.9 / epoch**0.6,
                "validation_accuracy": 0.8 - 0.6 / epoch,
                "validation_robust_accuracy": 0.45 - 0.35 / epoch if epoch % 2 == 0 else None,
                "learning_rate": 0.001,
                "seconds": 9.8,
            }
            for epoch in range(1, 13)
        ],
        "cost": {
            "train_seconds": 117.6,
            "evaluate_seconds": 812.0,
            "peak_memory_bytes": 3 * 2**30,
            "forwards": 3_400_000,
            "backwards": 910_000,
            "seconds_by_metric": {"robust_accuracy/autoattack": 700.0, "robust_accuracy/pgd20": 31.0},
        },
        "provenance": {
            "run": "cifar10-cnn6-prs-3b1f0c2d",
            "commit": "9f2c1e7ab4d05c3388e1f0a6b7c8d9e0f1a2b3c4",
            "dirty": False,
            "command": "bench run --data cifar10 --model cnn6 --defense prs --threat linf:8/255 --seed 0",
            "config": {"data": "cifar10", "model": "cnn6", "seeds": [0]},
            "versions": {"torch": "2.11.0", "python": "3.12.3", "regionbench": "0.1.0"},
            "hardware": {"device": "cuda", "gpu": "NVIDIA H200", "cpu_cores": 16},
            "created": "2025-03-01T10:00:00Z",
        },
    }


def search_summary(**changes: Any) -> dict[str, Any]:
    """The summary of a search for robust accuracy; `changes` are fields of it."""
    return {
        "trials": 5,
        "complete": 5,
        "pruned": 0,
        "failed": 0,
        "objective": "validation robust accuracy",
        "clean_floor": 0.5,
        "space": {},
        "default_value": 0.1,
        "best_value": 0.2,
        "best_trial": 0,
        "seconds": 1.0,
        **changes,
    }


def search_with_front(**changes: Any) -> dict[str, Any]:
    """The summary of a search whose front has two settings.

    Args:
        changes: of its second setting, which was chosen; "best_trial" and "area" are of the search.
    """
    other = {"best_trial": changes.pop("best_trial", 3), "area": changes.pop("area", 0.95 * 0.2 + 0.9 * 0.2)}
    point = {"hyperparameters": {"weight": 2.0}, "cost": None}
    points = [
        {"trial": 3, "clean_accuracy": 0.9, "robust_accuracy": 0.4, "clean_right": 90, "robust_right": 40},
        {"trial": 0, "clean_accuracy": 0.95, "robust_accuracy": 0.2, "clean_right": 95, "robust_right": 20},
    ]
    return search_summary(
        objective="clean against robust validation accuracy",
        clean_floor=0.85,
        space={"weight": "log 1 … 10"},
        default_value=0.2,
        best_value=0.4,
        best_trial=other["best_trial"],
        front={
            "points": [{**point, **points[0], **changes}, {**point, **points[1]}],
            "clean_images": 100,
            "robust_images": 100,
            "rule": "the most robust",
            "hypervolume": {
                "value": other["area"],
                "low": 0.3,
                "high": 0.6,
                "n": 100,
                "unit": "fraction",
                "reason": "of validation images",
            },
        },
    )
