"""A correlation study: train, take candidates from the probes, regress (P1, section 3; P2, figures 4, 5 and 12)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.core.progress import Progress
from bench.core.record import Record, load_record
from bench.runs.config import RunConfig
from bench.runs.job import resolve
from bench.runs.run import Tracker, TrainingFailed, run_job
from bench.study.regression import Fit, Sign, Verdict, judge, regress, sign_of
from bench.study.spec import QUANTITIES, CorrelationStudy, Published

#: The cheapest metrics: what a candidate is worth was measured by its probe.
METRICS = ("clean_accuracy", "prs_ratio", "time_per_epoch")


@dataclass(frozen=True)
class Candidate:
    """A network at one epoch of one training.

    Attributes:
        run: the training's run, and with `seed` its folder.
        kept: its test accuracy lies above the data set's threshold.
        train_accuracy: of the epoch; None in a history that lacks it.
        attacked: test images behind `robust_accuracy`.
        sparsity: None for a network without a ReLU.
    """

    network: str
    dataset: str
    batch_size: int
    seed: int
    epoch: int
    run: str
    kept: bool
    train_accuracy: float | None
    test_accuracy: float
    robust_accuracy: float
    attacked: int
    prs_ratio: float
    inclusion_ratio: float
    final_layer_cosine: float
    sparsity: float | None

    @property
    def training(self) -> tuple[str, str, int, int]:
        """What tells its training from every other of the study."""
        return self.network, self.dataset, self.batch_size, self.seed


@dataclass(frozen=True)
class Regression:
    """One quantity on the PRS ratio, for one network and data set, beside the paper's.

    Attributes:
        published: the paper's slope, or None.
        sign: what is claimed: that slope's sign, else the paper's words; None where nothing is.
        verdict: by the p-value that takes candidates for independent, as the paper does.
        run_verdict: by the p-value that does not.
        elsewhere: the paper has numbers, but none of this data set for any quantity.
    """

    quantity: str
    network: str
    dataset: str
    fit: Fit
    published: Published | None
    sign: Sign | None
    verdict: Verdict
    run_verdict: Verdict
    elsewhere: bool


@dataclass
class CorrelationResult:
    """What a correlation study found.

    Attributes:
        failures: trainings that diverged, each in one line.
    """

    candidates: list[Candidate] = field(default_factory=list)
    regressions: list[Regression] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Planned:
    """One training of the study."""

    network: str
    dataset: str
    batch_size: int
    seed: int
    config: RunConfig


def plan(study: CorrelationStudy, places: dict[str, Any]) -> Iterator[Planned]:
    """Every training of a study, seed by seed last, so that a first seed of everything comes first.

    Args:
        places: `out` and `data_dir` of this machine.
    """
    for name, data in study.datasets.items():
        for seed in data.seeds or study.seeds:
            for network in study.models:
                for batch_size in data.batch_sizes or study.batch_sizes:
                    config = RunConfig.make(
                        {
                            "defense": "standard",
                            "model": network,
                            "dataset": data.dataset or name,
                            "threat": data.threat,
                            "recipe": f"{study.recipe},batch_size={batch_size}",
                            "epochs": data.epochs or study.epochs,
                            "trials": 0,
                            "seeds": [seed],
                            "metrics": METRICS,
                            "train_size": data.train_size,
                            "test_size": data.test_size,
                            "image_size": data.image_size,
                            "probe_every": data.probe_every or study.probe_every,
                            "probe_images": study.probe_images,
                            "device": study.device,
                            **places,
                        }
                    )
                    yield Planned(network, name, batch_size, seed, config)


def run_correlation(
    study: CorrelationStudy, places: dict[str, Any], command: str, tracker: Tracker, progress: Progress
) -> CorrelationResult:
    """Do the trainings that are not done yet, then regress.

    Args:
        places: `out` and `data_dir` of this machine.
        command: what gives the study again, for the records.

    Raises:
        UserError: for a setting that cannot work, before any training.
    """
    trainings = list(plan(study, places))
    # One of each network and data set is resolved first: a mistake is told before hours of training.
    for each in {(item.network, item.dataset): item for item in trainings}.values():
        resolve(each.config)
    result = CorrelationResult()
    with progress.task("study", len(trainings)) as task:
        for item in trainings:
            try:
                (path,) = run_job(replace(resolve(item.config), command=command), tracker, progress)
                record = load_record(path)
                result.records.append(record)
                least = study.datasets[item.dataset].least_accuracy
                result.candidates += read_candidates(record, item, least)
            except TrainingFailed as error:
                result.failures.append(f"{item.network} on {item.dataset}, batch {item.batch_size}: {error}")
            task.advance(1, f"{item.network} on {item.dataset}, batch {item.batch_size}, seed {item.seed}")
    result.regressions = regressions(study, result.candidates)
    return result


def read_candidates(record: Record, item: Planned, least_accuracy: float) -> list[Candidate]:
    """The probed epochs of a training."""
    history: list[dict[str, Any]] = record.history
    return [
        Candidate(
            network=item.network,
            dataset=item.dataset,
            batch_size=item.batch_size,
            seed=item.seed,
            epoch=int(row["epoch"] or 0),
            run=record.provenance.run,
            kept=_number(row["probe_accuracy"]) > least_accuracy,
            train_accuracy=None if row.get("train_accuracy") is None else _number(row["train_accuracy"]),
            test_accuracy=_number(row["probe_accuracy"]),
            robust_accuracy=_number(row["probe_robust_accuracy"]),
            attacked=int(row["probe_attacked"] or 0),
            prs_ratio=_number(row["prs_ratio"]),
            inclusion_ratio=_number(row["inclusion_ratio"]),
            final_layer_cosine=_number(row["final_layer_cosine"]),
            sparsity=None if row["sparsity"] is None else _number(row["sparsity"]),
        )
        for row in history
        if "probe_accuracy" in row
    ]


def regressions(study: CorrelationStudy, candidates: Sequence[Candidate]) -> list[Regression]:
    """Every quantity on the PRS ratio, over the kept candidates of each network and data set."""
    found = []
    used = {name for networks in study.published.values() for data in networks.values() for name in data}
    for quantity in QUANTITIES:
        for network in study.models:
            for name in study.datasets:
                chosen = [
                    each
                    for each in candidates
                    if (each.network, each.dataset) == (network, name)
                    and each.kept
                    and getattr(each, quantity) is not None
                ]
                fit = regress(
                    [each.prs_ratio for each in chosen],
                    [getattr(each, quantity) for each in chosen],
                    [each.training for each in chosen],
                )
                published = study.published.get(quantity, {}).get(network, {}).get(name)  # type: ignore[call-overload]
                sign = sign_of(published.slope) if published else study.claims.get(quantity)  # type: ignore[call-overload]
                verdict: Verdict = judge(sign, fit.slope, fit.p_value) if sign else "undecided"
                run_verdict: Verdict = judge(sign, fit.slope, fit.run_p_value) if sign else "undecided"
                elsewhere = bool(used) and name not in used
                found.append(
                    Regression(quantity, network, name, fit, published, sign, verdict, run_verdict, elsewhere)
                )
    return found


def _number(value: float | int | str | None) -> float:
    return float(value or 0.0)
