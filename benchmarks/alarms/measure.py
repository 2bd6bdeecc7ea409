"""Measure a network of the zoo: battery, alarms, extra checks and truth, each kept on disk."""

import hashlib
import inspect
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

import metrics.accuracy
from bench.attacks import (
    answers,
    autoattack,
    autoattack_suite,
    cycles,
    guided,
    hop_skip_jump,
    losses,
    oracle,
    pgd,
    probabilities,
    stand_in,
    steps,
    straight_through,
)
from bench.core import checks, differences
from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.guards import full_precision, random_state_kept
from bench.core.names import CLEAN_ACCURACY, PGD20, WORST_CASE, is_accuracy
from bench.core.progress import Progress
from bench.core.randomness import derive_seed
from bench.core.threat import Threat
from bench.evaluation import black_box_checks, check, extra_checks, stronger_attacks
from bench.evaluation.battery import Battery, make_battery
from bench.evaluation.check import MOST_IMAGES
from bench.evaluation.resume import FinishedMetrics
from bench.evaluation.run_battery import answer_alarms, run_battery
from bench.evaluation.standard_network import train_standard
from benchmarks.alarms import cases, disguises, held_out, networks, truth
from benchmarks.alarms.honest import Case
from benchmarks.alarms.networks import CACHE, cnn, data, mlp, trained
from metrics.evaluation import Evaluation

IMAGES = 100
#: The code behind the battery, and behind the checks.
ATTACKS = (
    metrics.accuracy,
    checks,
    differences,
    autoattack,
    autoattack_suite,
    cycles,
    losses,
    oracle,
    pgd,
    probabilities,
    steps,
)
CHECKS = (
    answers,
    guided,
    hop_skip_jump,
    stand_in,
    straight_through,
    check,
    stronger_attacks,
    black_box_checks,
    extra_checks,
)
assert IMAGES <= MOST_IMAGES  # so that the checks reach every image


@dataclass
class Row:
    """What was measured of a network.

    Attributes:
        name, honest, held_out: of the case.
        refused: why no evaluation took place, or "".
        raised: the battery's alarms that were raised.
        clean, pgd20: accuracies.
        before, after: the worst case of the battery, and with the extra checks.
        truth: accuracy under the attacks that know the disguise.
        broken_by: extra check → images it broke.
    """

    name: str
    honest: bool
    refused: str = ""
    raised: list[str] = field(default_factory=list)
    clean: float = 0.0
    pgd20: float = 0.0
    before: float = 0.0
    after: float = 0.0
    truth: float = 0.0
    broken_by: dict[str, int] = field(default_factory=dict)
    held_out: bool = False

    def as_dict(self) -> dict[str, object]:
        """Every field."""
        return asdict(self)


def measure(case: Case, progress: Progress) -> Row:
    """Measure a network, or take what is kept of it."""
    row = Row(case.name, case.honest, held_out=case.held_out)
    folder = _folder(case)
    threat = Threat.parse(case.threat)
    try:
        evaluation = _evaluation(case, threat, progress)
        finished = FinishedMetrics(folder / "battery", _identity(case, ATTACKS))
        seed = derive_seed(0, "zoo", case.name)
        with random_state_kept(seed), full_precision():
            measured = run_battery(evaluation, _battery(), finished)
            row.raised = [alarm.name for alarm in measured.alarms if alarm.raised]
            answers = FinishedMetrics(
                folder / "checks", _identity(case, (*ATTACKS, *CHECKS), str(row.raised))
            )
            answer_alarms(evaluation, measured, answers, _standard(case.dataset))
    except UserError as error:
        row.refused = str(error)
        return row
    arrays = measured.arrays
    row.clean = float(arrays[CLEAN_ACCURACY]["right"].mean())
    row.pgd20 = float(arrays[PGD20]["right"].mean())
    # The checks lower the worst case, and keep what it was.
    worst = arrays[WORST_CASE]
    row.before, row.after = float(worst.get("battery", worst["right"]).mean()), float(worst["right"].mean())
    row.broken_by = {
        key.removeprefix("broken_by_"): int(value or 0)
        for alarm in measured.alarms
        if alarm.name == extra_checks.ALARM
        for key, value in alarm.numbers.items()
        if key.startswith("broken_by_")
    }
    row.truth = _truth(case, evaluation, threat, folder / "truth.npz")
    return row


def is_kept(case: Case) -> bool:
    """Whether the last of a network's measurements, the truth, is on disk."""
    path = _folder(case) / "truth.npz"
    if not path.exists():
        return False
    with np.load(path, allow_pickle=False) as kept:
        return str(kept["identity"]) == _identity(case, (truth,))


def _folder(case: Case) -> Path:
    return CACHE / "measured" / re.sub(r"\W+", "-", case.name)


def _battery() -> Battery:
    quick = make_battery("quick")
    chosen = [each for each in quick.metrics if is_accuracy(each.name) or each.name == "security_curve"]
    return Battery("zoo", IMAGES, tuple(chosen), "")


def _evaluation(case: Case, threat: Threat, progress: Progress) -> Evaluation:
    dataset = data(case.dataset)
    images, labels = dataset.test.batch(slice(0, IMAGES))
    return Evaluation(
        classifier=WrappedClassifier(case.make(), dataset.shape, dataset.num_classes).eval(),
        dataset=dataset,
        threat=threat,
        images=images,
        labels=labels,
        test_index=torch.arange(len(labels)),
        progress=progress,
    )


def _truth(case: Case, evaluation: Evaluation, threat: Threat, path: Path) -> float:
    identity = _identity(case, (truth,))
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["identity"]) == identity:
                return float(kept["right"].mean())
    right = truth.true_accuracy(
        case.make(), _others(case.dataset), evaluation.images, evaluation.labels, threat
    ).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, right=right, identity=np.array(identity))
    return float(right.mean())


@cache
def _standard(dataset: str) -> torch.nn.Module | None:
    """What `bench run` would train for transfer."""
    return train_standard(data(dataset), Progress())


@cache
def _others(dataset: str) -> list[torch.nn.Module]:
    """Networks of other seeds, for the truth."""
    side = data(dataset).shape[-1]
    makers = {"mlp": lambda: mlp(side), "cnn": lambda: cnn(side)}
    return [
        trained(f"other-{kind}-{dataset}-{seed}", makers[kind], dataset=dataset, seed=seed)
        for kind, seed in (("mlp", 11), ("mlp", 12), ("mlp", 13), ("cnn", 14))
    ]


def _identity(case: Case, code: Iterable[ModuleType], more: str = "") -> str:
    """The code that a measurement depends on, and the case; the last line would be logits, which are in neither."""
    digest = hashlib.sha256(f"{case.name} {case.threat} {case.dataset} {more}".encode())
    zoo = [networks] if case.honest else [networks, disguises, held_out if case.held_out else cases]
    for module in [*zoo, *code]:
        source = Path(inspect.getfile(module))
        for path in sorted(source.parent.glob("*.py")) if source.name == "__init__.py" else [source]:
            digest.update(path.read_bytes())
    return f"{digest.hexdigest()}\nnull"
