"""Extra checks after an alarm: when they run, what they find, and what they do not change."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bench
from bench.core.record import Alarm, Record, load_record
from bench.core.threat import Threat
from bench.data import Dataset, load
from bench.evaluation.battery import Battery
from bench.evaluation.black_box_checks import MoreSquare, Noise
from bench.evaluation.check import surviving_images
from bench.evaluation.extra_checks import ALARM, extra_checks, unanswered, verdict
from bench.evaluation.run_battery import answer_alarms, run_battery
from bench.evaluation.standard_network import find_standard
from bench.evaluation.stronger_attacks import WORST, LargerBall
from leaderboards.check import check
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.security_curve import SecurityCurve
from metrics.accuracy.worst_case import WorstCase
from metrics.evaluation import Evaluation
from tests.disguises import THREAT, Quantised, Randomised, train_honest

BEFORE = "robust_accuracy/worst_case"
RAISED = [Alarm(name="zero gradients", raised=True, message="")]


@pytest.fixture(scope="module", autouse=True)
def few_queries() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MoreSquare, "queries", 200)
        yield


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=600, test_size=100)


@pytest.fixture(scope="module")
def honest(digits: Dataset) -> nn.Module:
    return train_honest(digits)


@pytest.fixture(scope="module")
def battery() -> Battery:
    attacks = [RobustAccuracy("pgd20"), RobustAccuracy("cw")]
    return Battery("small", 40, (CleanAccuracy(), *attacks, SecurityCurve(images=40), WorstCase()), "")


@pytest.fixture(scope="module")
def answered(
    honest: nn.Module, digits: Dataset, battery: Battery, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("answered")
    bench.evaluate(
        Quantised(honest), digits, THREAT, battery, out=folder, escalate=True, transfer_from=honest
    )
    return folder


def alarm_of(record: Record) -> Alarm:
    (found,) = (alarm for alarm in record.alarms if alarm.name == ALARM)
    return found


def test_no_alarm_no_extra_checks(honest: nn.Module, digits: Dataset, battery: Battery) -> None:
    record = bench.evaluate(honest, digits, THREAT, battery, escalate=True)
    assert not any(alarm.raised for alarm in record.alarms)
    assert not any(name.startswith("suspicious/") for name in record.metrics)
    assert not unanswered(record, True)


@pytest.mark.slow
def test_of_the_batterys_scores_only_the_worst_case_falls(
    honest: nn.Module, digits: Dataset, battery: Battery, answered: Path
) -> None:
    plain = bench.evaluate(Quantised(honest), digits, THREAT, battery)
    record = load_record(answered)
    same = {name: record.metrics[name] for name in plain.metrics}
    lowered, before = same.pop(BEFORE), plain.metrics.pop(BEFORE)
    assert same == plain.metrics
    assert lowered.value is not None
    assert before.value is not None
    assert lowered.value < before.value
    assert lowered.value == record.metrics[WORST].value
    assert lowered.reason.startswith(f"{before.value:.1%} without the extra checks: transfer broke")
    assert record.alarms[:-1] == plain.alarms
    assert unanswered(plain, True)
    assert not unanswered(record, True)


@pytest.mark.slow
def test_transfer_finds_what_rounding_hid(
    honest: nn.Module, digits: Dataset, battery: Battery, answered: Path
) -> None:
    record, alarm = load_record(answered), alarm_of(load_record(answered))
    true = bench.evaluate(honest, digits, THREAT, battery).metrics[BEFORE].value
    hidden, found = alarm.numbers["worst_case"], record.metrics[WORST].value
    assert hidden is not None
    assert found is not None
    assert found == record.metrics[BEFORE].value
    assert true is not None
    assert found < hidden - 0.05
    assert found == pytest.approx(true, abs=0.07)
    assert alarm.raised
    assert alarm.numbers["broken_by_transfer"]
    assert f"the worst case is {found:.1%} instead of {hidden:.1%}" in alarm.message


@pytest.mark.slow
def test_the_record_stays_valid_and_keeps_the_outcomes(answered: Path) -> None:
    assert check(answered) == []
    arrays = np.load(answered / "arrays.npz")
    record = load_record(answered)
    for name, score in record.metrics.items():
        if name.startswith("suspicious/"):
            assert arrays[name].mean() == pytest.approx(score.value)
    before = arrays["suspicious/worst_case:before"]
    assert (before == arrays[f"{BEFORE}:battery"]).all()
    assert (arrays[WORST] == arrays[BEFORE]).all()
    assert ((arrays[f"{BEFORE}:broken_by"] != "") == (before & ~arrays[WORST])).all()
    assert not (arrays[WORST] & ~before).any()
    assert not (answered / "parts").exists()


@pytest.mark.slow
def test_a_stochastic_network_is_attacked_by_its_mean(
    honest: nn.Module, digits: Dataset, battery: Battery
) -> None:
    record = bench.evaluate(Randomised(honest), digits, THREAT, battery, escalate=True)
    assert "eot broke" in alarm_of(record).message
    found, before = record.metrics[WORST].value, record.metrics[BEFORE].value
    assert found is not None
    assert before is not None
    assert found <= before


def test_raised_alarms_alone_lead_to_checks() -> None:
    quiet = [Alarm(name="zero gradients", raised=raised, message="") for raised in (False, None)]
    assert extra_checks(quiet, None) == ()
    names = [metric.name for metric in extra_checks(RAISED, None)]
    assert names[-1] == WORST
    assert "suspicious/pgd500" in names
    blind = extra_checks([Alarm(name="zero gradients", raised=True, message="")], None)
    assert "suspicious/adaptive" in [metric.name for metric in blind]
    assert "suspicious/transfer" not in names


def evaluation_of(network: nn.Module, digits: Dataset, measured: Mapping[str, np.ndarray]) -> Evaluation:
    from bench.core.classifier import WrappedClassifier

    images, labels = digits.test.batch(slice(0, 40))
    return Evaluation(
        classifier=WrappedClassifier(network, digits.shape, digits.num_classes),
        dataset=digits,
        threat=THREAT,
        images=images,
        labels=labels,
        test_index=torch.arange(40),
        measured={name: {"right": right} for name, right in measured.items()},
    )


def test_the_images_attacked_again_are_bounded_and_a_prefix(honest: nn.Module, digits: Dataset) -> None:
    right = np.arange(40) % 2 == 0
    evaluation = evaluation_of(honest, digits, {"robust_accuracy/pgd20": right, "prs_ratio": ~right})
    assert (surviving_images(evaluation, 100) == right).all()
    few = surviving_images(evaluation, 7)
    assert few.sum() == 7
    assert (few == right[: len(few)]).all()
    assert len(few) == 14


class Constant(nn.Module):
    """Predicts the same class for every image, so that no attack breaks it."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 5.0 * nn.functional.one_hot(torch.full((len(images),), self.label), 10)


def test_a_network_that_no_attack_breaks_is_suspicious(digits: Dataset) -> None:
    network = Constant(int(digits.test.labels[0]))
    evaluation = evaluation_of(network, digits, {})
    right = (digits.test.labels[:40] == network.label).numpy()
    for metric in (Noise(draws=4), LargerBall("unbounded")):
        assert (metric.measure(evaluation)["right"] == right).all()
    assert evaluation.forwards > 0
    measured = {WORST: {"before": right, "right": right}, "suspicious/unbounded": {"right": right}}
    assert verdict(measured, RAISED).raised


def test_noise_never_leaves_the_ball(honest: nn.Module, digits: Dataset) -> None:
    """A network that is wrong everywhere outside the ball and the box, and right inside."""
    images, labels = digits.test.batch(slice(0, 40))

    for norm, eps in (("linf", "0.1"), ("l2", "0.5")):
        threat = Threat(norm, eps)  # type: ignore[arg-type]

        class Fence(nn.Module):
            ball = threat

            def forward(self, points: torch.Tensor) -> torch.Tensor:
                near = torch.cdist(points.flatten(1), images.flatten(1)).argmin(dim=1)
                inside = self.ball.allows(points, images[near])
                return nn.functional.one_hot(
                    torch.where(inside, labels[near], (labels[near] + 1) % 10), 10
                ).float()

        evaluation = evaluation_of(Fence(), digits, {})
        evaluation.threat = threat
        assert Noise(draws=10).measure(evaluation)["right"].all()


def test_a_standard_network_is_found_among_the_results(
    honest: nn.Module, digits: Dataset, tmp_path: Path
) -> None:
    from bench.models import build

    assert find_standard(tmp_path / "nowhere", digits) is None
    small = Battery("small", 20, (CleanAccuracy(),), "")
    network = build("cnn6", input_shape=digits.shape, num_classes=10, seed=3)
    for defense in ("prs", "standard"):
        folder = tmp_path / defense
        bench.evaluate(network, digits, THREAT, small, out=folder, defense=defense, name="cnn6")
    found = find_standard(tmp_path, digits)
    assert found is not None
    assert all(torch.equal(weight, network.state_dict()[name]) for name, weight in found.state_dict().items())
    assert find_standard(tmp_path / "prs", digits) is None
    assert find_standard(tmp_path, load("digits", train_size=500, test_size=100)) is None
    (tmp_path / "standard" / "weights.safetensors").write_bytes(b"cut short")
    assert find_standard(tmp_path, digits) is None


@pytest.mark.slow
def test_extra_checks_are_counted_as_cost_and_report_what_was_left_out(
    honest: nn.Module, digits: Dataset, battery: Battery
) -> None:
    evaluation = evaluation_of(Quantised(honest), digits, {})
    evaluation.images, evaluation.labels = evaluation.images[:10], evaluation.labels[:10]
    measured = run_battery(evaluation, battery)
    before = measured.forwards, measured.backwards
    answer_alarms(evaluation, measured)
    assert measured.forwards > before[0]
    assert measured.backwards > before[1]
    assert evaluation.forwards == measured.forwards
    assert set(measured.seconds) == set(evaluation.measured)
    alarm = measured.alarms[-1]
    assert "transfer was left out" in alarm.message
    assert "broken_by_transfer" not in alarm.numbers
