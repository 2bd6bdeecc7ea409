"""Every alarm, on arrays and on networks made so that it must, or must not, be raised."""

import numpy as np
import pytest
import torch
from torch import nn

import bench
from bench.core.checks import moved_by_batch
from bench.core.errors import UserError
from bench.core.record import Alarm, Record
from bench.core.threat import Threat
from bench.data import Dataset, load
from bench.evaluation.alarms import read_alarms
from bench.evaluation.alarms.network import BATCH_LIMIT
from bench.evaluation.battery import Battery
from bench.models import MODELS, build
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.security_curve import SecurityCurve
from metrics.accuracy.worst_case import WorstCase
from metrics.base import Metric
from tests.disguises import (
    THREAT,
    ByPosition,
    CenteredOnBatch,
    Disguised,
    HalfDetached,
    Jagged,
    LargestAlone,
    Masked,
    OnlyAtCleanPixels,
    OtherInLowPrecision,
    Quantised,
    Randomised,
    Saturated,
    Steep,
    TinyGradient,
    train_honest,
)


def right(share: float, n: int = 1000) -> np.ndarray:
    return np.arange(n) < round(share * n)


def attack(
    share: float, loss: list[float] | None = None, zero: float = 0.0, n: int = 1000
) -> dict[str, np.ndarray]:
    mask = right(share, n)
    return {
        "right": mask,
        "step": np.where(mask, -1, 1),
        "zero_gradient": right(0.0, n),
        "zero_gradient_float32": right(zero, n),
        "loss": np.asarray(loss or [1.0] * 21),
    }


def measured(**changes: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """An honest network: accuracy falls from FGSM to AutoAttack, everything has converged."""
    sound = {
        "clean_accuracy": {"right": right(0.9), "between_passes": np.zeros(1)},
        "robust_accuracy/fgsm": attack(0.6),
        "robust_accuracy/pgd20": attack(0.5),
        "robust_accuracy/pgd100": attack(0.498, loss=[2.0] * 101),
        "robust_accuracy/autoattack": {
            "right": right(0.46),
            "stage": np.array(["survived"] * 460 + ["apgd-t"] * 540),
        },
        "robust_accuracy/worst_case": {"right": right(0.46)},
        "security_curve": {
            "eps": np.array([0, 0.1, 0.2, 0.5, 1.0]),
            "right": np.stack([right(share) for share in (0.9, 0.7, 0.5, 0.02, 0.0)]),
        },
    }
    return sound | {name.replace("__", "/"): arrays for name, arrays in changes.items()}


def raised(arrays: dict[str, dict[str, np.ndarray]]) -> set[str]:
    return {alarm.name for alarm in read_alarms(arrays, num_classes=10) if alarm.raised}


def test_an_honest_network_raises_none() -> None:
    assert raised(measured()) == set()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("one step beats iterative", {"robust_accuracy__fgsm": attack(0.4)}),
        ("more steps still help", {"robust_accuracy__pgd100": attack(0.48, loss=[2.0] * 101)}),
        ("PGD far above the strongest attack", {"robust_accuracy__worst_case": {"right": right(0.41)}}),
        (
            "black box beats white box",
            {
                "robust_accuracy__autoattack": {
                    "right": right(0.46),
                    "stage": np.array(["survived"] * 460 + ["square"] * 540),
                }
            },
        ),
        ("zero gradients", {"robust_accuracy__pgd20": attack(0.5, zero=0.001)}),
        ("loss still moving", {"robust_accuracy__pgd100": attack(0.5, loss=list(np.linspace(1, 2, 101)))}),
        (
            "precision",
            {
                "robust_accuracy__autoattack": {
                    "right": right(0.46),
                    "stage": np.array(["survived"] * 460 + ["apgd-t"] * 540),
                    "unconfirmed": right(0.003),
                }
            },
        ),
        ("randomised output", {"clean_accuracy": {"right": right(0.9), "between_passes": np.array([0.1])}}),
        (
            "tied logits",
            {"clean_accuracy": {"right": right(0.9), "between_passes": np.zeros(1), "tied": right(0.51)}},
        ),
        (
            "gradient contradicts the output",
            {
                "clean_accuracy": {
                    "right": right(0.9),
                    "between_passes": np.zeros(1),
                    "gradient_error": np.array([1.0] * 3 + [0.01] * 8 + [np.nan] * 21),
                }
            },
        ),
        (
            "predictions depend on the batch",
            {
                "clean_accuracy": {
                    "right": right(0.9),
                    "between_passes": np.zeros(1),
                    "between_batches": np.array([0.1] * 9 + [0.0] * 23),
                }
            },
        ),
    ],
)
def test_each_sign_raises_its_alarm_alone(name: str, change: dict[str, dict[str, np.ndarray]]) -> None:
    assert raised(measured(**change)) == {name}


@pytest.mark.parametrize(
    ("pgd", "cw", "worst", "is_raised"),
    [
        (0.5, 0.45, 0.41, False),  # 9 points, all but 4 of which another loss along the gradient explains
        (0.5, 0.47, 0.41, True),
        (0.5, 0.5, 0.41, True),
        (0.62, 0.41, 0.41, False),
        (0.48, 0.48, 0.41, False),
    ],
)
def test_a_gap_that_other_losses_explain_is_a_weak_attack_not_a_masked_gradient(
    pgd: float, cw: float, worst: float, is_raised: bool
) -> None:
    arrays = {
        "robust_accuracy/pgd20": attack(pgd),
        "robust_accuracy/cw": attack(cw),
        "robust_accuracy/worst_case": {"right": right(worst)},
    }
    (alarm,) = [one for one in read_alarms(arrays, 10) if one.name == "PGD far above the strongest attack"]
    assert alarm.raised is is_raised
    assert ("no misleading gradient" in alarm.message) is (pgd - worst > 0.08 and not is_raised)


def test_a_gradient_is_not_judged_where_the_output_is_random_or_too_few_images_tell() -> None:
    wrong = {"right": right(0.9), "between_passes": np.array([0.1]), "gradient_error": np.ones(32)}
    few = {
        "right": right(0.9),
        "between_passes": np.zeros(1),
        "gradient_error": np.array([1.0] * 7 + [np.nan]),
    }
    for clean, why in ((wrong, "randomised output"), (few, "agree for 7 of 8 images")):
        alarms = {alarm.name: alarm for alarm in read_alarms(measured(clean_accuracy=clean), 10)}
        assert alarms["gradient contradicts the output"].raised is None
        assert why in alarms["gradient contradicts the output"].message


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((0.9, 0.5, 0.7, 0.02, 0.0), "rises"),
        ((0.9, 0.5, 0.503, 0.506, 0.0), "rises by 0.6%"),
        ((0.9, 0.7, 0.5, 0.4, 0.0), "above chance"),
        ((0.9, 0.7, 0.5, 0.02, 0.01), "without a bound"),
    ],
)
def test_a_curve_that_does_not_fall_says_how(shares: tuple[float, ...], message: str) -> None:
    eps = np.array([0, 0.1, 0.2, 0.5, 1.0])
    arrays = measured(security_curve={"eps": eps, "right": np.stack([right(share) for share in shares])})
    alarms = {alarm.name: alarm for alarm in read_alarms(arrays, num_classes=10)}
    assert alarms["curve not falling"].raised
    assert message in alarms["curve not falling"].message


@pytest.mark.parametrize(
    ("change", "is_raised"),
    [
        ({}, True),
        ({"norm": np.array("linf")}, True),
        ({"norm": np.array("l2")}, False),
        ({"eps": np.array([0, 0.25, 0.5, 1, 8])}, False),
    ],
)
def test_half_matters_in_linf_alone_and_older_curves_show_their_norm_by_their_end(
    change: dict[str, np.ndarray], is_raised: bool
) -> None:
    shares = (0.9, 0.7, 0.5, 0.4, 0.0)
    curve = {"eps": np.array([0, 0.1, 0.2, 0.5, 1.0]), "right": np.stack([right(share) for share in shares])}
    found = {alarm.name: alarm for alarm in read_alarms(measured(security_curve=curve | change), 10)}
    assert found["curve not falling"].raised is is_raised


def test_a_few_images_do_not_separate_more_steps_from_chance() -> None:
    arrays = {
        "robust_accuracy/pgd20": attack(0.5, n=100),
        "robust_accuracy/pgd100": attack(0.48, loss=[2.0] * 101, n=100),
    }
    (alarm,) = [one for one in read_alarms(arrays, 10) if one.name == "more steps still help"]
    assert alarm.raised is False
    assert alarm.message.endswith(
        "2.00%, above 1.0%; 2 of 100 images, paired test p = 0.5: within sampling error"
    )
    assert alarm.numbers["p_value"] == 0.5


@pytest.mark.parametrize(
    ("double", "words"),
    [
        (0.0, "in float32 alone"),
        (0.1, "10.00% in float64 too, the rest in float32"),
        (0.2, "in float64 too;"),
    ],
)
def test_zero_gradients_say_in_which_precision(double: float, words: str) -> None:
    arrays = measured(robust_accuracy__pgd20=attack(0.5, zero=0.2) | {"zero_gradient": right(double)})
    (alarm,) = [one for one in read_alarms(arrays, num_classes=10) if one.name == "zero gradients"]
    assert words in alarm.message
    assert ("a saturated loss: a scaled loss would have a gradient" in alarm.message) is (double < 0.2)


def test_zero_gradients_say_what_other_losses_did_to_the_images_cross_entropy_cannot_see() -> None:
    arrays = measured(robust_accuracy__pgd20=attack(0.5, zero=0.2), robust_accuracy__cw=attack(0.05))
    (alarm,) = [one for one in read_alarms(arrays, num_classes=10) if one.name == "zero gradients"]
    # Of the first 200 images, all flat and all right under PGD-20, C&W leaves the first 50; AutoAttack all.
    assert alarm.message.endswith("of the 200 that PGD-20 left right, cw broke 150, autoattack broke 0")
    assert alarm.numbers["broken_by_cw"] == 150


def test_logits_that_are_not_finite_are_an_error() -> None:
    arrays = measured(clean_accuracy={"right": right(0.9), "between_passes": np.full(1, np.nan)})
    with pytest.raises(UserError, match="finite logits"):
        read_alarms(arrays, num_classes=10)


def test_a_difference_within_sampling_error_is_no_alarm() -> None:
    assert raised(measured(robust_accuracy__fgsm=attack(0.498))) == set()


def test_a_difference_of_exactly_the_limit_is_no_alarm() -> None:
    shares = {
        "robust_accuracy__pgd20": attack(0.22),
        "robust_accuracy__pgd100": attack(0.21, loss=[2.0] * 101),
    }
    assert "more steps still help" not in raised(measured(**shares))


@pytest.mark.parametrize(
    "change", [{"version": np.array("rand")}, {"skipped": np.array(["square: its l2 form needs 5x5 pixels"])}]
)
def test_square_left_out_says_nothing_about_the_black_box(change: dict[str, np.ndarray]) -> None:
    arrays = measured()
    arrays["robust_accuracy/autoattack"] |= change
    alarms = {alarm.name: alarm for alarm in read_alarms(arrays, num_classes=10)}
    assert alarms["black box beats white box"].raised is None


def test_autoattack_plus_runs_square_too_early_to_tell() -> None:
    arrays = measured()
    stage = np.array(["survived"] * 460 + ["square"] * 540)
    arrays["robust_accuracy/autoattack"] |= {"stage": stage, "version": np.array("plus")}
    (alarm,) = [one for one in read_alarms(arrays, 10) if one.name == "black box beats white box"]
    assert alarm.raised is None
    assert "before apgd-t and fab-t" in alarm.message


@pytest.mark.parametrize(("images", "is_raised"), [(0, False), (5, False), (6, True)])
def test_a_few_images_that_square_alone_breaks_are_sampling_error(images: int, is_raised: bool) -> None:
    stage = np.array(["survived"] * 460 + ["apgd-t"] * (540 - images) + ["square"] * images)
    others = {f"robust_accuracy__{name}": attack(1.0) for name in ("fgsm", "pgd20")}
    arrays = measured(**others)
    arrays["robust_accuracy/pgd100"]["right"] = right(1.0)
    arrays["robust_accuracy/autoattack"]["stage"] = stage
    (alarm,) = [one for one in read_alarms(arrays, 10) if one.name == "black box beats white box"]
    assert alarm.raised is is_raised
    assert alarm.numbers == {"only_square": images / 1000}
    assert ("within sampling error" in alarm.message) == (images == 5)


def test_an_alarm_without_its_metrics_is_neither_raised_nor_not_raised() -> None:
    alarms = read_alarms({}, num_classes=10)
    assert {alarm.raised for alarm in alarms if alarm.name != "precision"} == {None}
    assert len(alarms) == 13


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=600, test_size=200)


@pytest.fixture(scope="module")
def honest(digits: Dataset) -> nn.Module:
    return train_honest(digits)


@pytest.fixture(scope="module")
def l2_honest(digits: Dataset) -> nn.Module:
    return train_honest(digits, Threat("l2", "1/2"))


def measure(network: nn.Module, digits: Dataset, *, images: int = 200, square: bool = False) -> Record:
    attacks = [RobustAccuracy(name) for name in ("fgsm", "pgd20", "pgd100", "cw")]
    autoattack = [AutoAttack()] if square else []
    metrics = (CleanAccuracy(), *attacks, SecurityCurve(images=images), *autoattack, WorstCase())
    return bench.evaluate(network, digits, THREAT, Battery("alarms", images, metrics, ""))


def raised_by(record: Record) -> set[str]:
    return {alarm.name for alarm in record.alarms if alarm.raised}


def test_an_honestly_robust_network_raises_none(honest: nn.Module, digits: Dataset) -> None:
    record = measure(honest, digits)
    worst = record.metrics["robust_accuracy/worst_case"].value
    assert worst is not None
    assert worst > 0.5
    assert raised_by(record) == set()


@pytest.mark.parametrize(
    ("disguise", "names"),
    [
        (LargestAlone, {"tied logits"}),
        (HalfDetached, {"gradient contradicts the output"}),
        (Saturated, {"zero gradients", "curve not falling", "PGD far above the strongest attack"}),
        (Quantised, {"zero gradients", "curve not falling"}),
        (Randomised, {"randomised output"}),
        (TinyGradient, {"zero gradients", "curve not falling"}),
        (OnlyAtCleanPixels, {"one step beats iterative", "zero gradients", "curve not falling"}),
        (Masked, {"curve not falling"}),
        (Steep, {"loss still moving"}),
        (Jagged, {"more steps still help"}),
    ],
)
def test_a_disguised_network_raises_its_alarms(
    honest: nn.Module, digits: Dataset, disguise: type[Disguised], names: set[str]
) -> None:
    assert names <= raised_by(measure(disguise(honest), digits))


def test_a_gradient_below_float32_is_not_taken_for_zero(honest: nn.Module, digits: Dataset) -> None:
    shares = {}
    for disguise in (TinyGradient, Quantised):
        alarms = {alarm.name: alarm for alarm in measure(disguise(honest), digits, images=50).alarms}
        shares[disguise] = alarms["zero gradients"].numbers
    assert shares[TinyGradient].items() >= {"float32": 1.0, "float64": 0.0}.items()
    assert shares[Quantised].items() >= {"float32": 1.0, "float64": 1.0}.items()


def alarm_of(name: str, network: nn.Module, digits: Dataset, *metrics: Metric, images: int = 20) -> Alarm:
    record = bench.evaluate(network, digits, THREAT, Battery("alarm", images, metrics, ""))
    (found,) = (alarm for alarm in record.alarms if alarm.name == name)
    return found


class Guess(nn.Module):
    """One class for every image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :10] * 0 + torch.eye(10)[0]


def test_a_network_that_guesses_gives_no_signal_and_says_what_to_change(
    honest: nn.Module, digits: Dataset
) -> None:
    alarm = alarm_of("no signal", Guess(), digits, CleanAccuracy())
    assert alarm.raised
    assert "is at chance: try more images, more epochs, a smaller ε" in alarm.message
    assert alarm_of("no signal", honest, digits, CleanAccuracy()).raised is False


@pytest.mark.parametrize("disguise", [CenteredOnBatch, ByPosition])
def test_predictions_that_depend_on_the_batch(
    honest: nn.Module, digits: Dataset, disguise: type[Disguised]
) -> None:
    name = "predictions depend on the batch"
    assert alarm_of(name, disguise(honest), digits, CleanAccuracy(), images=40).raised
    assert alarm_of(name, Randomised(honest), digits, CleanAccuracy()).raised is None
    alarm = alarm_of(name, honest, digits, CleanAccuracy(), images=40)
    assert alarm.raised is False
    assert (alarm.numbers["median"] or 0) < 1e-6


@pytest.mark.parametrize("jumping", [0, 8])
def test_a_few_images_that_jump_by_rounding_are_no_dependence(jumping: int) -> None:
    moved = np.array([0.5] * jumping + [4e-3] * (32 - jumping))
    clean = {"right": right(0.9), "between_passes": np.zeros(1), "between_batches": moved}
    assert raised(measured(clean_accuracy=clean)) == set()


@pytest.mark.parametrize("name", MODELS.names())
def test_no_network_of_ours_depends_on_the_batch(name: str) -> None:
    network = build(name, input_shape=(3, 32, 32), num_classes=10, seed=0).eval()
    images = torch.rand(9, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        moved = moved_by_batch(network, images[:4], network(images)[:4])
    assert float(moved.max()) < BATCH_LIMIT / 100


@pytest.mark.usefixtures("short_autoattack")
def test_low_precision_that_breaks_what_float32_does_not(honest: nn.Module, digits: Dataset) -> None:
    attack = AutoAttack(passes="bfloat16")
    assert alarm_of("precision", OtherInLowPrecision(honest), digits, attack).raised
    assert alarm_of("precision", honest, digits, attack).raised is False


@pytest.mark.usefixtures("short_autoattack")
def test_autoattack_finds_random_outputs_where_clean_accuracy_was_not_measured(
    honest: nn.Module, digits: Dataset
) -> None:
    name = "randomised output"
    alarm = alarm_of(name, Randomised(honest), digits, AutoAttack(), images=4)
    assert alarm.raised
    assert (alarm.numbers["difference"] or 0) > 1e-3
    assert alarm_of(name, honest, digits, AutoAttack(), images=4).raised is False
    assert alarm_of(name, honest, digits, AutoAttack(version="rand"), images=4).raised is None


@pytest.mark.parametrize("eps", ["1/4", "1/2", "1", "2"])
def test_half_a_pixel_range_is_a_small_step_in_l2(digits: Dataset, l2_honest: nn.Module, eps: str) -> None:
    metrics = (CleanAccuracy(), SecurityCurve(images=100))
    record = bench.evaluate(l2_honest, digits, Threat("l2", eps), Battery("alarms", 100, metrics, ""))
    assert raised_by(record) == set()
    (curve,) = (alarm for alarm in record.alarms if alarm.name == "curve not falling")
    assert curve.numbers["at_half"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "disguise",
    [TinyGradient, *(pytest.param(kind, marks=pytest.mark.long) for kind in (Quantised, Masked))],
)
def test_square_sees_through_a_disguise(
    honest: nn.Module, digits: Dataset, disguise: type[Disguised]
) -> None:
    names = {"black box beats white box", "PGD far above the strongest attack"}
    assert names <= raised_by(measure(disguise(honest), digits, images=100, square=True))


@pytest.mark.long
@pytest.mark.slow
def test_the_whole_set_of_attacks_raises_none_on_the_honest_network(
    honest: nn.Module, digits: Dataset
) -> None:
    assert raised_by(measure(honest, digits, images=100, square=True)) == set()
