"""A correlation study: train, probe, and regress on the PRS ratio (P1, section 3; P2, figures 4, 5 and 12)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.core.names import CLEAN_ACCURACY, PRS_RATIO, TIME_PER_EPOCH
from bench.core.record import Record, load_record
from bench.core.regression import Fit, regress
from bench.runs.config import RunConfig
from bench.study.ended import EndedTraining
from bench.study.quantities import REGRESSED, RegressedQuantity
from bench.study.regression import Sign, Verdict, judge_sign, sign_of
from bench.study.spec import CorrelationStudy, Published

#: The cheapest metrics: the probes have measured the quantities already.
METRICS = (CLEAN_ACCURACY, PRS_RATIO, TIME_PER_EPOCH)


@dataclass(frozen=True)
class ProbedNetwork:
    """A network at one probed epoch of one training.

    Attributes:
        run: name of the training's run; with `seed`, its folder.
        kept: whether it is a candidate: its test accuracy exceeds the data set's threshold.
        train_accuracy: of the epoch; None where the history does not hold it.
        attacked: number of test images behind `robust_accuracy`.
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
        """Key of its training within the study."""
        return self.network, self.dataset, self.batch_size, self.seed


@dataclass(frozen=True)
class Regression:
    """One quantity regressed on the PRS ratio, for one network and data set, beside the paper's slope.

    Attributes:
        published: the paper's slope, or None.
        sign: the claimed sign: that of the paper's slope, else the one in the paper's words; None without either.
        verdict: by the p-value that takes candidates for independent, as the paper does.
        run_verdict: by the p-value that takes trainings for independent.
        elsewhere: whether the paper has slopes of other data sets only.
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
    """The results of a correlation study.

    Attributes:
        networks: every probed network; the kept ones are the candidates.
        failures: trainings that failed, each in one line.
    """

    networks: list[ProbedNetwork] = field(default_factory=list)
    regressions: list[Regression] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PlannedTraining:
    """One training of a study."""

    network: str
    dataset: str
    batch_size: int
    seed: int
    config: RunConfig

    @property
    def label(self) -> str:
        """Names the training for people."""
        return f"{self.network} on {self.dataset}, batch {self.batch_size}"


def plan_correlation(study: CorrelationStudy, places: Mapping[str, Any]) -> Iterator[PlannedTraining]:
    """Every training of a study: per data set, all networks and batch sizes with the first seed come first.

    Args:
        study: the study.
        places: `out` and `data_dir`.
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
                    yield PlannedTraining(network, name, batch_size, seed, config)


def read_correlation(
    study: CorrelationStudy, planned: Sequence[PlannedTraining], trained: Sequence[EndedTraining]
) -> CorrelationResult:
    """The results of a correlation study whose trainings have ended.

    Args:
        study: the study.
        planned: its trainings.
        trained: what became of each.
    """
    result = CorrelationResult()
    for item, each in zip(planned, trained, strict=True):
        if each.failure:
            result.failures.append(f"{each.label}: {each.failure}")
            continue
        record = load_record(each.path)
        result.records.append(record)
        result.networks += read_probes(record, item, study.datasets[item.dataset].least_accuracy)
    result.regressions = regressions(study, result.networks)
    return result


def read_probes(record: Record, item: PlannedTraining, least_accuracy: float) -> list[ProbedNetwork]:
    """The probed networks of a training, from its record's history."""
    history: list[dict[str, Any]] = record.history
    return [
        ProbedNetwork(
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


def regressed_networks(
    networks: Sequence[ProbedNetwork], network: str, dataset: str, quantity: RegressedQuantity
) -> list[ProbedNetwork]:
    """The candidates of one architecture and data set that have a quantity."""
    return [
        each
        for each in networks
        if (each.network, each.dataset) == (network, dataset)
        and each.kept
        and getattr(each, quantity) is not None
    ]


def regressions(study: CorrelationStudy, networks: Sequence[ProbedNetwork]) -> list[Regression]:
    """Regress every quantity on the PRS ratio, over the candidates of each network and data set."""
    return [
        _regression(study, networks, quantity, network, dataset)
        for quantity in REGRESSED
        for network in study.models
        for dataset in study.datasets
    ]


def _regression(
    study: CorrelationStudy,
    networks: Sequence[ProbedNetwork],
    quantity: RegressedQuantity,
    network: str,
    dataset: str,
) -> Regression:
    candidates = regressed_networks(networks, network, dataset, quantity)
    fit = regress(
        [each.prs_ratio for each in candidates],
        [getattr(each, quantity) for each in candidates],
        [each.training for each in candidates],
        name="the PRS ratio",
    )
    slopes = [by_dataset for by_network in study.published.values() for by_dataset in by_network.values()]
    in_paper = {name for by_dataset in slopes for name in by_dataset}
    published = study.published.get(quantity, {}).get(network, {}).get(dataset)
    sign = sign_of(published.slope) if published else study.claims.get(quantity)
    return Regression(
        quantity,
        network,
        dataset,
        fit,
        published,
        sign,
        verdict=judge_sign(sign, fit.slope, fit.p_value) if sign else "undecided",
        run_verdict=judge_sign(sign, fit.slope, fit.run_p_value) if sign else "undecided",
        elsewhere=bool(in_paper) and dataset not in in_paper,
    )


def _number(value: float | int | str | None) -> float:
    return float(value or 0.0)
