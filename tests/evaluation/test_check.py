"""What all extra checks share: they go on after a kill, keep what they verified, and say what they cost."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.attacks import ATTACKS
from bench.attacks.guided import Guided
from bench.core.progress import Progress
from bench.core.record import Alarm
from bench.core.threat import Threat
from bench.data import Dataset, Split, load
from bench.evaluation import check
from bench.evaluation.check import Batch, Check
from bench.evaluation.extra_checks import cost_of, extra_checks
from bench.evaluation.standard_network import train_standard
from bench.evaluation.stronger_attacks import WORST, StandInAttack, StrongerAttack
from metrics import titles
from metrics.evaluation import Evaluation
from tests.attacks.linear import Linear, classifier, distances, some_images

THREAT = Threat("linf", "0.05")


def an_evaluation(scratch: Path | None = None) -> Evaluation:
    images, labels = some_images()
    split = Split((255 * images).round().to(torch.uint8), labels)
    return Evaluation(
        classifier=classifier(Linear()),
        dataset=Dataset("some", ("no", "yes"), split, split, split),
        threat=THREAT,
        images=images,
        labels=labels,
        test_index=torch.arange(len(labels)),
        scratch=scratch,
    )


def test_a_killed_check_goes_on_with_its_next_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "TOGETHER", 10)
    monkeypatch.setattr(StandInAttack, "attack", Guided(steps=10, losses=("margin",)))
    whole, evaluation = an_evaluation(), an_evaluation(tmp_path)
    expected = StandInAttack(False).measure(whole)
    find, calls = StandInAttack.find, []

    def killed(self: Check, batch: Batch) -> torch.Tensor:
        calls.append(len(batch.images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return find(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(StandInAttack, "find", killed)
    with pytest.raises(KeyboardInterrupt):
        StandInAttack(False).measure(evaluation)
    before = evaluation.forwards
    resumed = an_evaluation(tmp_path)
    found = StandInAttack(False).measure(resumed)
    assert len(calls) == 5  # two batches, the killed one, and the two that were left
    assert resumed.forwards >= before
    assert resumed.forwards == whole.forwards
    assert not list(tmp_path.iterdir())
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_what_a_check_keeps_is_adversarial() -> None:
    evaluation = an_evaluation()
    arrays = StrongerAttack(ATTACKS["pgd20"]).measure(evaluation)
    far = distances(evaluation.images, THREAT).numpy() / THREAT.radius
    assert (arrays["right"] == (far > 1)).all()
    index = arrays["example_index"]
    examples = torch.from_numpy(arrays["examples"])
    assert len(index)
    assert THREAT.allows(examples, evaluation.images[index]).all()
    assert (evaluation.classifier(examples).argmax(dim=1) != evaluation.labels[index]).all()


def test_a_check_attacks_what_earlier_ones_left() -> None:
    evaluation = an_evaluation()
    left = np.arange(40) % 3 > 0
    evaluation.measured["suspicious/earlier"] = {"right": left, "within_threat": np.array([True])}
    arrays = StrongerAttack(ATTACKS["pgd20"]).measure(evaluation)
    assert (arrays["tried"] == left).all()
    assert not (arrays["right"] & ~left).any()


def raised(*names: str) -> list[Alarm]:
    return [Alarm(name=name, raised=True, message="") for name in names]


@pytest.mark.parametrize(
    ("alarm", "chosen"),
    [
        ("randomised output", {"eot", "straight_through"}),
        ("zero gradients", {"straight_through", "float64", "hop_skip_jump", "square"}),
        ("black box beats white box", {"straight_through", "hop_skip_jump"}),
        ("loss still moving", {"float64", "pgd500", "margin100x10"}),
    ],
)
def test_the_alarm_chooses_the_checks(alarm: str, chosen: set[str]) -> None:
    checks = extra_checks(raised(alarm), None)
    names = {metric.name.removeprefix("suspicious/") for metric in checks}
    assert chosen <= names
    assert {metric.name for metric in checks} | {"suspicious/transfer"} <= titles().keys()
    assert ("eot" in names) == (alarm == "randomised output")


def test_a_network_that_depends_on_the_batch_is_attacked_alone() -> None:
    checks = extra_checks(raised("predictions depend on the batch"), None)
    assert all(each.alone for each in checks if isinstance(each, Check))


@pytest.mark.slow
def test_the_estimated_cost_is_not_exceeded() -> None:
    evaluation = an_evaluation()
    checks = [
        each
        for each in extra_checks(raised("zero gradients"), None)
        if each.name not in ("suspicious/square", "suspicious/hop_skip_jump", WORST)
    ]
    forwards, backwards = cost_of(checks, evaluation)
    stand_ins = 4 * (64 + 2)  # each is tried on some images
    start = evaluation.forwards
    for each in checks:
        evaluation.measured[each.name] = each.measure(evaluation)
    assert evaluation.forwards - start <= forwards + stand_ins
    assert evaluation.backwards <= backwards + stand_ins


@pytest.mark.slow
def test_a_small_standard_network_is_trained_for_transfer() -> None:
    digits = load("digits", train_size=600, test_size=100)
    network = train_standard(digits, Progress())
    assert network is not None
    images, labels = digits.test.batch(slice(None))
    assert (network(images).argmax(dim=1) == labels).float().mean() > 0.8
    few = load("digits", train_size=100, test_size=100)
    assert train_standard(few, Progress()) is None
