"""A board as a reader would meet it: several networks, seeds, alarms, missing values and an awkward name."""

import struct
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.runs.cards import defense_cards
from leaderboards.build import build
from metrics import titles
from tests.records import make_arrays, make_record, write_record

# defense, network, seeds, clean and worst-case rate, PRS ratio, seconds per epoch, ratio, alarms
ROWS: list[tuple[str, str, int, float, float, float, float, float, list[str]]] = [
    ("standard", "cnn6", 3, 0.779, 0.004, 0.101, 8.92, 1.0, []),
    ("standard", "vgg16", 1, 0.803, 0.001, 0.115, 11.63, 1.0, []),
    ("standard", "resnet18", 1, 0.770, 0.0, 0.065, 12.11, 1.0, []),
    ("at", "cnn6", 3, 0.707, 0.402, 0.099, 38.63, 4.33, []),
    ("at", "vgg16", 1, 0.752, 0.421, 0.069, 81.48, 7.01, []),
    ("at", "resnet18", 1, 0.730, 0.44, 0.046, 58.96, 4.87, []),
    ("mr", "cnn6", 1, 0.803, 0.012, 0.018, 9.46, 1.06, ["pgd_far_above_strongest", "zero_gradients"]),
    ("prs", "cnn6", 3, 0.804, 0.021, 0.017, 9.78, 1.10, ["pgd_far_above_strongest", "zero_gradients"]),
    ("prs", "vgg16", 1, 0.791, 0.035, 0.00002, 12.63, 1.09, ["pgd_far_above_strongest"]),
    ("jacobian", "cnn6", 1, 0.742, 0.31, 0.083, 19.2, 2.15, []),
    ("jacobian", "cnn6", 1, 0.722, 0.35, 0.081, 19.4, 2.17, ["more_steps_still_help"]),
    (
        "some_package.defenses:RandomisedSmoothingWithAVeryLongName",
        "resnet18",
        1,
        0.68,
        0.2,
        0.05,
        30.0,
        2.5,
        ["randomised_output"],
    ),
]
MESSAGES = {
    "pgd_far_above_strongest": (
        "PGD-20 is 31.2 points above the strongest attack; the alarm starts at 8.",
        {"pgd20": 0.333, "worst_case": 0.021},
    ),
    "zero_gradients": (
        "12.4 % of the attacked images have an input gradient of exactly zero.",
        {"share": 0.124},
    ),
    "more_steps_still_help": (
        "PGD-100 breaks 2.1 points more than PGD-20; the alarm starts at 1.",
        {"difference": 0.021},
    ),
    "randomised_output": (
        "Two passes over the same images differ by up to 0.3.",
        {"largest_difference": 0.3},
    ),
    "precision": ("", {}),
}


def write_sample(folder: Path, n: int = 1000) -> list[Path]:
    """Write the sample's records below a folder; gives their paths."""
    paths = []
    for number, (defense, model, seeds, clean, worst, prs, seconds, ratio, raised) in enumerate(ROWS):
        for seed in range(seeds):
            shift = 0.006 * (seed - 1) if seeds > 1 and worst > 0.01 else 0.0
            rates = _rates(clean + shift, worst + shift, bool(raised))
            arrays = make_arrays(rates, n=n, seed=100 * number + seed)
            record = make_record(arrays, **_fields(number, defense, model, seed, raised, arrays))
            metrics: dict[str, Any] = {name: asdict(score) for name, score in record.metrics.items()}
            metrics["prs_ratio"]["value"] = prs
            metrics["time_per_epoch"]["value"] = seconds + 0.1 * seed
            metrics["time_per_epoch_ratio"]["value"] = ratio
            if defense.startswith("some_package"):
                for name in ("prs_ratio", "inclusion_ratio", "time_per_epoch_ratio"):
                    reason = "the network's last operation is no linear layer, so it has no feature layer"
                    metrics[name] |= {"value": None, "low": None, "high": None, "reason": reason}
                del metrics["detection_auc"], metrics["detection_auc_calibrated"]
            record = record.model_validate({**record.model_dump(), "metrics": metrics})
            path = write_record(folder / f"{number:02}-{seed}", record, None if number == 9 else arrays)
            if number == 7:
                write_png(path.parent / "figures" / "plane_regions.png", 320, 240)
            paths.append(path)
    return paths


def write_png(path: Path, width: int, height: int) -> None:
    """Write a grey picture with a diagonal in it."""
    rows = b"".join(b"\0" + bytes(60 if abs(x - y) < 4 else 200 for x in range(width)) for y in range(height))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Paths of the sample's records."""
    return write_sample(tmp_path_factory.mktemp("records"), n=300)


@pytest.fixture(scope="session")
def site(sample: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site that is built from them."""
    out = tmp_path_factory.mktemp("built") / "site"
    build(
        sample,
        out,
        links={"sample-07-0": "0123456789abcdef0123456789abcdef"},
        titles=titles(),
        cards=defense_cards(),
    )
    return out


def _rates(clean: float, worst: float, masked: bool) -> dict[str, float]:
    easier = {"fgsm": 0.14, "bim": 0.07, "pgd20": 0.05, "pgd100": 0.045, "cw": 0.03, "autoattack": 0.0}
    if masked:
        easier = {"fgsm": 0.36, "bim": 0.33, "pgd20": 0.31, "pgd100": 0.29, "cw": 0.12, "autoattack": 0.0}
    rates = {f"robust_accuracy/{name}": min(clean, worst + more) for name, more in easier.items()}
    return {"clean_accuracy": clean, **rates}


def _fields(
    number: int, defense: str, model: str, seed: int, raised: list[str], arrays: dict[str, Any]
) -> dict[str, Any]:
    alarms = [
        {
            "name": name,
            # One seed of the regularizer escapes the second alarm.
            "raised": None
            if name == "precision"
            else name in raised and not (name == "zero_gradients" and seed == 2),
            "message": message or "No attack ran in low precision.",
            "numbers": numbers,
        }
        for name, (message, numbers) in MESSAGES.items()
    ]
    fields: dict[str, Any] = {
        "id": f"sample-{number:02}-{seed}",
        "model": model,
        "seed": seed,
        "alarms": alarms,
        "defense": {"name": defense},
        "provenance": {
            "command": f"bench run --data cifar10 --model {model} --defense {defense} --seed {seed}",
            "created": f"2025-03-{number + 1:02}T10:0{seed}:00Z",
        },
        "curves": {
            "security": {
                "x_label": "ε",
                "y_label": "robust accuracy",
                "points": [
                    {"x": x, "value": y * scale, "low": y * scale * 0.95, "high": min(1.0, y * scale * 1.05)}
                    for scale in [float(arrays["clean_accuracy"].mean()) - 0.01 * seed]
                    for x, y in [
                        (0.0, 1.0),
                        (0.0157, 0.78),
                        (8 / 255, 0.55),
                        (0.0627, 0.27),
                        (0.125, 0.04),
                        (0.25, 0.0),
                    ]
                ],
            }
        },
    }
    if defense in ("standard", "at"):
        fields["defense"] |= {"hyperparameters": {}, "defaults": {}}
    if defense == "jacobian":
        fields["defense"] |= {
            "hyperparameters": {"weight": 6.0 if number == 9 else 2.73},
            "defaults": {"weight": 6.0},
        }
    if defense in ("prs", "jacobian") and number != 9:
        fields["defense"]["search"] = {
            "trials": 30,
            "complete": 18,
            "pruned": 11,
            "failed": 1,
            "objective": "validation robust accuracy, PGD-20",
            "clean_floor": 0.7,
            "space": {"weight": "1 … 10, log"},
            "default_value": 0.3412,
            "best_value": 0.3581,
            "best_trial": 17,
            "seconds": 12_400.0,
        }
    return fields
