"""Altered records: `verify` finds what was altered or names it as not proven, and `check` finds contradictions."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.trial import Fault, FaultClass, Trial

Place = tuple[str | int, ...]
Json = dict[str, Any]

#: A small training with accuracies, a curve and scores of geometry.
RUN = (
    *("run", "--defense", "at", "--threat", "linf:0.05", "--epochs", "2", "--trials", "2", "--device", "cpu"),
    *("--train-size", "200", "--test-size", "60", "--tracking", "none", "--quiet", "--metrics"),
    "clean_accuracy,robust_accuracy/fgsm,robust_accuracy/pgd20,robust_accuracy/worst_case,security_curve,"
    "detection_auc(images=30),prs_ratio",
)
#: Fields that `bench leaderboard check` compares with the stored settings.
CLAIMED_BY_CHECK = ("threat", "seed", "model", "defense.name")


def leaves(value: Any, path: Place = ()) -> Iterator[Place]:
    """The path of every value of a JSON document that is no object and no list; empty ones included."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from leaves(part, (*path, key))
    elif isinstance(value, list) and value:
        for number, part in enumerate(value):
            yield from leaves(part, (*path, number))
    else:
        yield path


def other(path: Place, value: Any, draw: random.Random) -> Any:
    """Another value of the same kind, such as somebody might write to make a result look better."""
    choices = {"norm": ["linf", "l2"], "feature_site": ["pre-activation", "pooled", "none"]}
    if path[-1] in choices:
        return draw.choice([each for each in choices[str(path[-1])] if each != value])
    if path[-1] == "raised":
        return draw.choice([each for each in (True, False, None) if each is not value])
    if path[-1] == "eps":
        return draw.choice(["0.1", "0.0501", "1/10"])
    if path[-1] == "sha256" or "fingerprint" in str(path[-1]):
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw.choice([1, 7])
    if isinstance(value, float):
        return value * draw.choice([0.5, 1.01]) if abs(value) > 1e-6 else 0.25
    if isinstance(value, str):
        return f"{value}x"
    if value is None:
        return 0.5 if path[-1] in ("low", "high", "value") else 3
    return ["x"] if isinstance(value, list) else {"x": 1}


def alter(record: Json, path: Place, draw: random.Random) -> Json:
    """A copy of a record in which the value at a path is another one."""
    copy: Json = json.loads(json.dumps(record))
    part: Any = copy
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = other(path, part[path[-1]], draw)
    return copy


def written(path: Place, record: Json) -> str:
    """A path as `verify` names fields; alarms by their names."""
    if path[0] == "alarms" and len(path) > 1:
        return ".".join(("alarms", record["alarms"][path[1]]["name"]))
    return ".".join(map(str, path))


def missed(outcome: Outcome, field: str) -> Iterator[Fault]:
    """What is wrong with the answer of `bench verify --json` about a record with this field altered."""
    if outcome.hung or outcome.traceback:
        yield Fault("hang" if outcome.hung else "traceback", outcome.last_line)
    elif outcome.code == 0:
        found = json.loads(outcome.output)
        named = [name for each in found.get("unproven", ()) for name in each["fields"]]
        if not any(field == name or field.startswith(f"{name}.") for name in named):
            yield Fault("accepted", f"verify says {found['verdict']} and does not name {field}")
    elif outcome.code not in (1, 2, 3):
        yield Fault("accepted", f"exit code {outcome.code}: {outcome.last_line}")


# Alterations of several fields that agree with each other.
def _eps_everywhere(folder: Path) -> str:
    """A larger ε in the threat, the settings, the command and the curve."""
    record = _read(folder)
    text = json.dumps(record).replace('"0.05"', '"0.1"').replace("linf:0.05", "linf:0.1")
    _write(folder, json.loads(text))
    return "threat"


def _robust_everywhere(folder: Path) -> str:
    """Every attack fails on ten more images, in outcomes, scores, intervals and the worst case."""
    from bench.core.intervals import proportion_interval

    record = _read(folder)
    with np.load(folder / "arrays.npz") as stored:
        arrays = dict(stored)
    attacks = [name for name in arrays if name.startswith("robust_accuracy/") and ":" not in name]
    broken = np.flatnonzero(~arrays["robust_accuracy/worst_case"] & arrays["clean_accuracy"])[:10]
    for name in attacks:
        arrays[name][broken] = True
        share, n = float(arrays[name].mean()), len(arrays[name])
        low, high = proportion_interval(int(arrays[name].sum()), n)
        record["metrics"][name] |= {"value": share, "low": low, "high": high}
    np.savez(folder / "arrays.npz", **arrays)
    (folder / "examples.npz").unlink(missing_ok=True)
    record["files"].pop("examples", None)
    _write(folder, record)
    return "metrics.robust_accuracy/pgd20.value"


def _without_arrays(folder: Path) -> str:
    """No arrays, and a better score."""
    record = _read(folder)
    (folder / "arrays.npz").unlink()
    record["files"].pop("arrays")
    record["metrics"]["detection_auc"]["value"] = 0.99
    _write(folder, record)
    return "metrics.detection_auc.value"


def _without_provenance(folder: Path) -> str:
    """A larger ε, and no settings or command that say otherwise."""
    record = _read(folder)
    record["threat"]["eps"] = "0.1"
    record["provenance"]["config"] = {
        key: value for key, value in record["provenance"]["config"].items() if key.endswith("size")
    } | {"dataset": "digits"}
    record["provenance"]["command"] = ""
    _write(folder, record)
    return "threat.eps"


def _other_settings(folder: Path) -> str:
    """Settings of a metric that were not those of its arrays."""
    record = _read(folder)
    record["battery"]["settings"]["detection_auc"]["directions"] = 1000
    _write(folder, record)
    return "battery.settings.detection_auc.directions"


SCHEMES: tuple[Callable[[Path], str], ...] = (
    _eps_everywhere,
    _robust_everywhere,
    _without_arrays,
    _without_provenance,
    _other_settings,
)


def _read(folder: Path) -> Json:
    found: Json = json.loads((folder / "record.json").read_text())
    return found


def _write(folder: Path, record: Json) -> None:
    """Write a record with the hashes that its files have now, as a cheat would."""
    from bench.core.files import sha256

    for file in record["files"].values():
        file["sha256"] = sha256(folder / file["path"])
    (folder / "record.json").write_text(json.dumps(record))


def _mixed(paths: list[Place], draw: random.Random) -> list[Place]:
    """All paths in random order, the parts of a record in turn, so that a small sample has some of each."""
    draw.shuffle(paths)
    seen: Counter[str | int] = Counter()
    turns: list[tuple[int, int, Place]] = []
    for path in paths:
        turns.append((seen[path[0]], len(turns), path))
        seen[path[0]] += 1
    return [path for _, _, path in sorted(turns, key=lambda turn: turn[:2])]


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    (folder / "base").mkdir()
    made = bench(*RUN, folder=folder / "base", cpu_seconds=300)
    (path,) = (folder / "base" / "runs").glob("*/seed-0/*/record.json")
    assert made.code == 0, made.text
    record, run = json.loads(path.read_text()), path.parents[2]
    paths = _mixed(list(leaves(record)), draw)
    cases: list[Place | Callable[[Path], str]] = [*SCHEMES, *paths]
    for number, case in enumerate(cases[:tries]):
        copy = folder / str(number) / run.name
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("trials", "figures", "checkpoint.pt"))
        place = copy / path.parent.relative_to(run)
        if callable(case):
            what, field = case.__name__.strip("_").replace("_", " "), case(place)
        else:
            what = field = written(case, record)
            (place / "record.json").write_text(json.dumps(alter(record, case, draw)))
        outcome = bench(
            "verify", str(place), "--json", "--quiet", "--device", "cpu", folder=copy, cpu_seconds=60
        )
        faults = [*missed(outcome, field)]
        if not callable(case) and field.startswith(CLAIMED_BY_CHECK):
            checked = bench("leaderboard", "check", str(place), folder=copy)
            if checked.code == 0:
                faults.append(Fault("accepted", f"check accepts {field}"))
        yield Trial(f"altered {what}", tuple(faults))
        shutil.rmtree(folder / str(number))


ALTERED = FaultClass(name="altered", title="altered records", tries=400, sample=7, provoke=_provoke)
