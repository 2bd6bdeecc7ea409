"""Free adversarial training: against the paper's algorithm written out, and the batches that replays see."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Split
from bench.testing import tiny_classifier, tiny_dataset
from bench.training.recipe import make_recipe
from bench.training.step import epoch_batches, take_step
from defenses import Objective, Training, get
from tests.defenses.toys import EPS, SLOPE, batch, linear, training

RATE = 0.05


THREAT = Threat("linf", str(EPS))


def objective_of(name, classifier, threat=THREAT, **values):
    train = tiny_dataset().train
    objective = get(name).make(values).objective(Training(classifier, train, threat, 4, 0, 8))
    objective.begin_epoch(1)
    return objective


def batches():
    split = tiny_dataset().train
    return [split.batch(slice(start, start + 8)) for start in (0, 8, 16)]


def step(objective: Objective, classifier, optimizer, images, labels):
    take_step(objective, classifier, optimizer, images, labels, RATE, "fp32")


def test_weights_and_perturbation_are_those_of_the_papers_algorithm():
    classifier = tiny_classifier().train()
    twin = copy.deepcopy(classifier)
    objective = objective_of("free", classifier, replays=3)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=RATE)
    by_hand = torch.optim.SGD(twin.parameters(), lr=RATE)
    delta = torch.zeros(8, 1, 8, 8)
    for images, labels in batches():
        for _ in range(3):
            step(objective, classifier, optimizer, images, labels)
            points = (images + delta).clamp(0, 1).requires_grad_()
            by_hand.zero_grad()
            cross_entropy(twin(points), labels).backward()
            by_hand.step()
            moved = (points.detach() + EPS * points.grad.sign() - images).clamp(-EPS, EPS)
            delta = (images + moved).clamp(0, 1) - images
    for weight, expected in zip(classifier.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight, expected)
    torch.testing.assert_close(objective.perturbation[:8], delta)
    assert delta.abs().max() > EPS / 2


def test_the_perturbation_after_a_step_is_that_of_fgsm_from_the_one_before():
    classifier = linear()
    images, labels = batch(4)
    objective = get("free").make({"replays": 1, "step_factor": 0.75}).objective(training(classifier))
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.0)
    for expected in (0.75, 1.0):
        step(objective, classifier, optimizer, images, labels)
        # The margin falls fastest along −sign(slope) at every pixel.
        moved = -objective.perturbation[:4].flatten(1) * SLOPE.sign()
        torch.testing.assert_close(moved, torch.full_like(moved, expected * EPS))


def test_one_replay_without_a_carried_perturbation_is_standard_training():
    weights = []
    for name, values in (("free", {"replays": 1}), ("standard", {})):
        classifier = tiny_classifier().train()
        objective = objective_of(name, classifier, **values)
        optimizer = torch.optim.SGD(classifier.parameters(), lr=RATE)
        for images, labels in batches():
            if name == "free":
                objective.perturbation.zero_()
            step(objective, classifier, optimizer, images, labels)
        weights.append(list(classifier.parameters()))
    for first, second in zip(*weights, strict=True):
        assert torch.equal(first, second)


def test_label_smoothing_reaches_the_loss():
    losses = []
    for smoothing in (0.0, 0.2):
        classifier = linear()
        objective = get("free").make({}).objective(training(classifier, smoothing=smoothing))
        losses.append(objective.loss(classifier, *batch(4)))
    assert not torch.isclose(*losses)


def test_an_l2_perturbation_stays_in_the_ball():
    classifier = tiny_classifier().train()
    objective = objective_of("free", classifier, Threat("l2", "0.5"))
    optimizer = torch.optim.SGD(classifier.parameters(), lr=RATE)
    for images, labels in batches():
        step(objective, classifier, optimizer, images, labels)
        lengths = objective.perturbation[:8].flatten(1).norm(dim=1)
        assert lengths.max() <= 0.5 + 1e-5
    assert lengths.min() > 0


@pytest.mark.parametrize("name", ["jacobian+free", "awp(free)"])
def test_compositions_replay_and_move_the_perturbation(name):
    classifier = tiny_classifier().train()
    objective = objective_of(name, classifier, **({"warmup": 0} if "awp" in name else {}))
    assert objective.replays == 8
    optimizer = torch.optim.SGD(classifier.parameters(), lr=RATE)
    step(objective, classifier, optimizer, *batches()[0])
    replayed = objective.inner if name == "awp(free)" else objective.components["free"]
    assert replayed.perturbation[:8].abs().amax() > 0


def numbered(size: int) -> Split:
    return Split(torch.arange(size, dtype=torch.uint8).view(size, 1, 1, 1), torch.arange(size))


@pytest.mark.parametrize(("size", "replays"), [(10, 3), (10, 8), (4, 5), (9, 1), (8, 2)])
def test_every_batch_comes_replays_times_in_a_row_and_each_epoch_has_as_many_steps(size, replays):
    recipe, split = make_recipe("paper,batch_size=4"), numbered(size)
    standard = len(list(epoch_batches(split, recipe, 0, 1, "fp32", 1)))
    seen = []
    for epoch in range(1, 2 * replays + 1):
        shares, labels = zip(
            *(
                (share, tuple(labels.tolist()))
                for share, _, labels in epoch_batches(split, recipe, 0, epoch, "fp32", replays)
            ),
            strict=True,
        )
        assert shares == tuple(number / standard for number in range(standard))
        seen += labels
    for passed in (seen[: len(seen) // 2], seen[len(seen) // 2 :]):
        once = passed[::replays]
        assert passed == [each for each in once for _ in range(replays)]
        assert sorted(label for each in once for label in each) == list(range(size))


def test_a_single_replay_draws_what_it_always_drew():
    split, recipe = numbered(10), make_recipe("paper,batch_size=4")
    order = torch.randperm(10, generator=make_generator(5, "batches", 2)).tolist()
    found = [
        label for _, _, labels in epoch_batches(split, recipe, 5, 2, "fp32", 1) for label in labels.tolist()
    ]
    assert found == order
