"""Whether a record says what its weights do: hashes, clean accuracy, stored adversarial images, attacks again.

Scores, alarms and curves are computed again from the stored arrays. Robust accuracies follow from
those alone unless their attacks run again, and a record without them is no match.

Other hardware and other batch sizes round differently. A class that hangs on rounding is no mismatch, and each
check says how many images it forgives.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from bench.attacks import ATTACKS
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError, unknown_name
from bench.core.files import sha256
from bench.core.guards import full_precision, random_state_kept
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY, WORST_CASE
from bench.core.progress import Progress
from bench.core.randomness import derive_seed
from bench.core.record import RECORD, Record, is_beside, load_record
from bench.results.restore import Restored, restore
from bench.results.stored import Check, Outcome, check_stored
from metrics import Metric
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.base import Evaluation

RANDOMIZED = "randomised output"
AGAIN = " again"

#: An adversarial image that is right by less than this, relative to the largest logit, is on the boundary.
ROUNDING = 1e-4
BATCH = 500

NO_OUTCOMES = "its outcomes are not stored, so its score is not checked; --attacks runs it again"


@dataclass(frozen=True)
class Verification:
    """Every check of one record."""

    record: str
    checks: tuple[Check, ...]

    @property
    def matches(self) -> bool:
        """Whether nothing contradicts the record and every robust accuracy was checked."""
        outcomes = [check.outcome for check in self.checks]
        return "mismatch" not in outcomes and "match" in outcomes and not self.unchecked

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The robust accuracies that nothing was there to check by."""
        return tuple(
            check.name
            for check in self.checks
            if check.name.startswith(ROBUST_ACCURACY)
            and not check.name.endswith(AGAIN)
            and check.outcome == "not checked"
        )

    @property
    def verdict(self) -> str:
        """All checks in a few words: "match", "MISMATCH", or what was not checked."""
        if self.matches:
            return "match"
        outcomes = {check.name: check.outcome for check in self.checks}
        if "mismatch" in outcomes.values() or not self.unchecked:
            return "MISMATCH" if "mismatch" in outcomes.values() else "nothing was checked"
        clean = "matches" if outcomes.get(CLEAN_ACCURACY) == "match" else "not checked"
        left = ", ".join(name.removeprefix(ROBUST_ACCURACY) for name in self.unchecked)
        return f"clean accuracy {clean}; robust accuracies not checked: {left}"

    def as_json(self) -> dict[str, Any]:
        """As plain JSON."""
        checks = [{"name": one.name, "outcome": one.outcome, "message": one.message} for one in self.checks]
        return {"record": self.record, "matches": self.matches, "verdict": self.verdict, "checks": checks}


def forgiven(n: int, *, attacked: bool = False) -> int:
    """How many of n images may differ for rounding: one in a thousand, and at least one.

    After an attack, whose many steps round each time, one in a hundred.
    """
    return max(1, n // (100 if attacked else 1000))


def verify(
    path: Path,
    *,
    attacks: Sequence[str] = (),
    data_dir: Path | None = None,
    weights: Path | None = None,
    loader: str | None = None,
    device: str = "auto",
    trust: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Check a record against its files, and against its weights on its data.

    Args:
        path: the record, or the folder that holds `record.json`.
        attacks: attacks to run again with the record's seed, such as "pgd20" or "autoattack".
        data_dir, weights, loader, device, trust: as for `restore`; a record's own code is not run by default.
        progress: where bars go; silent by default.

    Raises:
        UserError: for an unknown attack, or when record, weights or data cannot be had.
    """
    path = path / RECORD if path.is_dir() else path
    record = load_record(path)
    metrics = [_metric(name, record) for name in attacks]
    files = list(_files(record, path.parent, weights))
    stored = {check.name for check in files if check.outcome == "match"}
    if any(check.name == "file weights" and check.outcome == "mismatch" for check in files):
        return Verification(record.id, tuple(files))
    arrays = _load(path.parent, record, "arrays") if "file arrays" in stored else {}
    examples = _load(path.parent, record, "examples") if "file examples" in stored else {}
    malformed = [*_malformed_arrays(record, arrays), *_malformed_examples(examples)]
    if malformed:
        return Verification(record.id, (*files, Check("stored outcomes", "mismatch", "; ".join(malformed))))
    restored = restore(path, data_dir=data_dir, weights=weights, loader=loader, device=device, trust=trust)
    data = Check(
        "data", "match", f"{restored.dataset.name}: fingerprints of all splits and of the attacked images"
    )
    again, agreed = [], {}
    with full_precision(), random_state_kept(derive_seed(record.seed, "verification")):
        with torch.no_grad():
            clean = _clean(restored, arrays)
        for metric in metrics:
            check, right = _again(restored, metric, arrays, progress or Progress())
            again.append(check)
            if check.outcome == "match":
                agreed[metric.name] = right
        with torch.no_grad():
            attacks_of_it = list(_attacks(restored, arrays, examples, agreed))
    checks = [*files, data, clean, *attacks_of_it, *_worst_case(record, arrays, agreed)]
    return Verification(record.id, (*checks, *check_stored(record, arrays), *again))


def _files(record: Record, folder: Path, weights: Path | None) -> Iterator[Check]:
    for kind, file in record.files.items():
        name, beside = f"file {kind}", folder / file.path
        if not is_beside(file.path):
            yield Check(name, "mismatch", f"{file.path} lies outside the record's folder")
        elif kind == "weights" and weights is not None:
            same = weights.is_file() and sha256(weights) == file.sha256
            said = "its hash is the record's" if same else "another file than the record's, by its hash"
            yield Check(name, "match" if same else "not checked", f"{weights.name}: {said}")
        elif not beside.is_file():
            outcome: Outcome = "not checked" if kind == "weights" else "mismatch"
            yield Check(name, outcome, f"{file.path} is missing")
        elif sha256(beside) != file.sha256:
            yield Check(name, "mismatch", f"{file.path} has changed since the record was written")
        else:
            yield Check(name, "match", f"{file.path}: SHA-256")


def _load(folder: Path, record: Record, kind: str) -> dict[str, np.ndarray]:
    path = folder / record.files[kind].path
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path} is not a readable npz archive ({error})") from error


def _malformed_arrays(record: Record, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    n = record.dataset.evaluated_size
    for name, array in arrays.items():
        if name in (CLEAN_ACCURACY, WORST_CASE) or _is_attack(name):
            fits = array.dtype == bool and array.ndim == 1 and (name == CLEAN_ACCURACY or len(array) == n)
            if not fits or not len(array):
                size = "N" if name == CLEAN_ACCURACY else n
                yield f"array {name} must be bool [{size}], got {array.dtype} {list(array.shape)}"


def _malformed_examples(examples: Mapping[str, np.ndarray]) -> Iterator[str]:
    expected = {"attack": ("U", 1), "test_index": ("i", 1), "image": ("f", 4)}
    if not examples:
        return
    found = {name: (array.dtype.kind, array.ndim) for name, array in examples.items()}
    sizes = {len(array) for array in examples.values() if array.ndim}
    if found != expected or len(sizes) != 1:
        yield f"stored images must be {', '.join(expected)} of one length, got {', '.join(found) or 'nothing'}"


def _clean(restored: Restored, arrays: Mapping[str, np.ndarray]) -> Check:
    """Accuracy on the whole test set again; image by image where the record kept them."""
    score, test = restored.record.metrics.get(CLEAN_ACCURACY), restored.dataset.test
    if score is None or score.value is None:
        return Check(CLEAN_ACCURACY, "not checked", "the record has none")
    right = np.concatenate(
        [
            (restored.classifier(images).argmax(dim=1) == labels).cpu().numpy()
            for images, labels in (test.batch(slice(at, at + BATCH)) for at in range(0, len(test), BATCH))
        ]
    )
    n, value = len(right), float(right.mean())
    found = f"{value:.2%} now, {score.value:.2%} in the record, on {n} images"
    if _randomized(restored.record):
        low, high = score.low or 0.0, 1.0 if score.high is None else score.high
        inside = low <= value <= high
        return Check(
            CLEAN_ACCURACY, _outcome(inside), f"{found}; the network is randomized: within its interval?"
        )
    before = arrays.get(CLEAN_ACCURACY)
    if before is not None and len(before) == n:
        apart = int((before != right).sum())
        how = f"{apart} images differ"
    else:
        apart = round(abs(value - score.value) * n)
        how = f"{apart} more or fewer are right"
    agrees = apart <= forgiven(n) and _near(before, score.value, n)
    return Check(CLEAN_ACCURACY, _outcome(agrees), f"{found}; {how}, up to {forgiven(n)} forgiven")


def _attacks(
    restored: Restored,
    arrays: Mapping[str, np.ndarray],
    examples: Mapping[str, np.ndarray],
    agreed: Mapping[str, np.ndarray],
) -> Iterator[Check]:
    """Per attack: the score follows from its outcomes, and its stored images do break the network.

    Images alone bound a score and do not give it. Without outcomes it is checked by running the attack again
    (`agreed`) or not at all.
    """
    record = restored.record
    for name, score in record.metrics.items():
        if not name.startswith(ROBUST_ACCURACY) or name == WORST_CASE or score.value is None:
            continue
        before, problems, found = arrays.get(name), [], []
        if before is not None:
            same = _near(before, score.value, record.dataset.evaluated_size)
            problems += (
                [] if same else [f"its outcomes give {before.mean():.2%}, the record says {score.value:.2%}"]
            )
            found += ["the score follows from its outcomes"] if same else []
        if name in examples.get("attack", ()):
            wrong, words = _examples(restored, name, before, examples)
            problems += wrong
            found.append(words)
            n, broken = record.dataset.evaluated_size, int((examples["attack"] == name).sum())
            if score.value > 1 - (broken - 0.5) / n:
                problems.append(f"{broken} of {n} images are broken, the record says {score.value:.2%}")
        if before is None:
            found.append("its outcomes are not stored; it ran again" if name in agreed else NO_OUTCOMES)
        outcome: Outcome = "match" if before is not None or name in agreed else "not checked"
        yield Check(name, "mismatch" if problems else outcome, "; ".join(problems or found))


def _examples(
    restored: Restored, name: str, before: np.ndarray | None, examples: Mapping[str, np.ndarray]
) -> tuple[list[str], str]:
    """What is wrong with an attack's stored images, and what to say when nothing is."""
    rows = np.flatnonzero(examples["attack"] == name)
    index, device = examples["test_index"][rows], restored.dataset.test.images.device
    n = len(rows)
    if len(np.unique(index)) < n or index.min() < 0 or index.max() >= restored.record.dataset.evaluated_size:
        return [f"its {n} stored images do not belong to {n} attacked test images"], ""
    places = torch.from_numpy(index).to(device)
    images, labels = restored.dataset.test.batch(places)
    points = torch.from_numpy(examples["image"][rows]).to(device)
    if points.shape != images.shape or points.dtype != torch.float32:
        return [f"its stored images are {points.dtype} {tuple(points.shape)}, not {tuple(images.shape)}"], ""
    allowed = restored.threat.allows(points, images)
    fooled, undecided = _fooled(restored.classifier, points, labels)
    problems = []
    if not bool(allowed.all()):
        outside = int((~allowed).sum())
        problems.append(
            f"{outside} of {n} stored images lie outside the pixel box or the {restored.threat} ball"
        )
    right = int((~fooled & ~undecided).sum())
    if right and not _randomized(restored.record):
        problems.append(f"{right} of {n} stored images are classified correctly")
    if before is not None and bool(before[index].any()):
        problems.append("the record counts an image as robust that its stored image breaks")
    margin = int((~fooled & undecided).sum())
    hair = f", {margin} of them on the boundary within rounding ({ROUNDING:g})" if margin else ""
    return problems, f"{n} stored images lie inside box and ball and are misclassified{hair}"


def _fooled(classifier: AnyClassifier, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which images are misclassified, and which are right or wrong by rounding alone: both bool [n]."""
    logits = torch.cat([classifier(some) for some in points.split(BATCH)])
    own = logits.gather(1, labels[:, None]).squeeze(1)
    other = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    scale = logits.abs().amax(dim=1).clamp_min(1e-12)
    return logits.argmax(dim=1) != labels, (own - other).abs() <= ROUNDING * scale


def _worst_case(
    record: Record, arrays: Mapping[str, np.ndarray], agreed: Mapping[str, np.ndarray]
) -> Iterator[Check]:
    """It follows from the outcomes of all attacks, stored or of now; none is above any attack's score."""
    score, before, n = record.metrics.get(WORST_CASE), arrays.get(WORST_CASE), record.dataset.evaluated_size
    others = {name: one.value for name, one in record.metrics.items() if _is_attack(name)}
    values = {name: value for name, value in others.items() if value is not None}
    if score is None or score.value is None:
        if values or before is not None:
            yield Check(WORST_CASE, "not checked", "the record has none")
        return
    outcomes = {**agreed, **{name: array for name, array in arrays.items() if _is_attack(name)}}
    lowest = min(values, key=lambda name: values[name], default=None)
    if lowest is not None and score.value > values[lowest] + 0.5 / n:
        yield Check(WORST_CASE, "mismatch", f"{score.value:.2%}, above {lowest} with {values[lowest]:.2%}")
        return
    missing = sorted(values.keys() - outcomes.keys())
    if missing or not outcomes:
        near = _near(before, score.value, n)
        words = f"no outcomes of {', '.join(missing) or 'any attack'} are there that it could follow from"
        yield Check(WORST_CASE, "not checked" if near else "mismatch", words)
        return
    worst = np.logical_and.reduce(list(outcomes.values()))
    if any(name not in arrays for name in outcomes):
        allowed = forgiven(n, attacked=True)
        apart = round(abs(float(worst.mean()) - score.value) * n)
        agrees = apart <= allowed and _near(before, score.value, n)
    else:
        agrees = _near(worst, score.value, n) and (before is None or bool((worst == before).all()))
    words = "it follows from" if agrees else "it does not follow from"
    yield Check(WORST_CASE, _outcome(agrees), f"{words} the outcomes of {len(outcomes)} attacks")


def _again(
    restored: Restored, metric: Metric, arrays: Mapping[str, np.ndarray], progress: Progress
) -> tuple[Check, np.ndarray]:
    """The attack itself with the record's seed, image by image; gives bool [n], who is still right, too."""
    record, name = restored.record, f"{metric.name}{AGAIN}"
    n = record.dataset.evaluated_size
    images, labels = restored.dataset.test.batch(slice(0, n))
    evaluation = Evaluation(
        classifier=restored.classifier,
        dataset=restored.dataset,
        threat=restored.threat,
        images=images,
        labels=labels,
        test_index=torch.arange(n),
        seed=record.seed,
        progress=progress,
    )
    right = metric.measure(evaluation)["right"]
    before, score = arrays.get(metric.name), record.metrics[metric.name].value
    assert score is not None
    allowed = forgiven(n, attacked=True)
    found = f"{right.mean():.2%} now, {score:.2%} in the record"
    if _randomized(record):
        words = f"{found}; the network is randomized, so its outcomes change"
        return Check(name, "not checked", words), right
    if before is not None and len(before) == n:
        apart = int((before != right).sum())
        found += f"; {apart} of {n} images differ"
    else:
        apart = round(abs(float(right.mean()) - score) * n)
        found += f"; {apart} of {n} more or fewer are right"
    return Check(name, _outcome(apart <= allowed), f"{found}, up to {allowed} forgiven"), right


def _metric(name: str, record: Record) -> Metric:
    """The metric of an attack, with the settings that the record was measured with."""
    name = name.removeprefix(ROBUST_ACCURACY)
    if name not in ATTACKS and name != "autoattack":
        raise unknown_name("attack", name, [*ATTACKS, "autoattack"])
    settings = record.battery.settings.get(f"{ROBUST_ACCURACY}{name}")
    metric: Metric = _autoattack(settings) if name == "autoattack" else RobustAccuracy(name)
    score = record.metrics.get(metric.name)
    if score is None or score.value is None:
        known = ", ".join(one.removeprefix(ROBUST_ACCURACY) for one in record.metrics if _is_attack(one))
        raise UserError(f"the record has no {metric.name} to compare with; it has {known or 'no attack'}")
    if settings is not None and settings != metric.settings():
        raise UserError(
            f"{metric.name} ran with other settings in battery version {record.battery.version} than it would "
            f"now ({settings} then, {metric.settings()} now); install the version that the record names"
        )
    return metric


def _autoattack(settings: Mapping[str, Any] | None) -> AutoAttack:
    """With the record's version, seed, batch size and passes, on which its outcomes hang.

    Raises:
        UserError: when they are no settings of AutoAttack.
    """
    try:
        return AutoAttack(**(settings or {}))
    except TypeError:
        raise UserError(f"the record names settings that AutoAttack does not have: {settings}") from None


def _is_attack(name: str) -> bool:
    return name.startswith(ROBUST_ACCURACY) and name != WORST_CASE and ":" not in name


def _randomized(record: Record) -> bool:
    return any(alarm.name == RANDOMIZED and alarm.raised for alarm in record.alarms)


def _near(outcomes: np.ndarray | None, value: float, n: int) -> bool:
    """Whether a score is the mean of its outcomes; yes where they were not kept."""
    return outcomes is None or (len(outcomes) == n and abs(float(outcomes.mean()) - value) < 0.5 / n)


def _outcome(agrees: bool) -> Outcome:
    return "match" if agrees else "mismatch"
