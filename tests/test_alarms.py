"""Every alarm on arrays made so that it must, or must not, be raised."""

import numpy as np
import pytest

from bench.alarms import read_alarms


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
        ("randomised output", {"clean_accuracy": {"right": right(0.9), "between_passes": np.array([0.1])}}),
    ],
)
def test_each_sign_raises_its_alarm_alone(name: str, change: dict[str, dict[str, np.ndarray]]) -> None:
    assert raised(measured(**change)) == {name}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((0.9, 0.5, 0.7, 0.02, 0.0), "rises"),
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


def test_a_difference_within_sampling_error_is_no_alarm() -> None:
    assert raised(measured(robust_accuracy__fgsm=attack(0.498))) == set()


def test_a_difference_of_exactly_the_limit_is_no_alarm() -> None:
    shares = {
        "robust_accuracy__pgd20": attack(0.22),
        "robust_accuracy__pgd100": attack(0.21, loss=[2.0] * 101),
    }
    assert "more steps still help" not in raised(measured(**shares))


def test_what_did_not_run_is_neither_raised_nor_quiet() -> None:
    alarms = read_alarms({}, num_classes=10)
    assert {alarm.raised for alarm in alarms if alarm.name != "precision"} == {None}
    assert len(alarms) == 9
