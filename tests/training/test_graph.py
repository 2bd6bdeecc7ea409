"""Steps through `Stepper`; what a graph captures is tested where a CUDA device is there."""

import copy

import pytest
import torch

from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Split
from bench.models import build
from bench.training.device import batches_ahead, set_learning_rate, training_layout
from bench.training.graph import Stepper, python_state
from bench.training.recipe import make_recipe
from bench.training.step import take_step
from defenses import get
from defenses.base import Training

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    ),
]
BATCH = 8


def setting(device, defense="at"):
    generator = make_generator("graph")
    images = torch.randint(256, (32, 1, 8, 8), generator=generator).to(torch.uint8)
    split = Split(images, torch.arange(32) % 3).to(torch.device(device))
    classifier = build("cnn6", input_shape=(1, 8, 8), num_classes=3, seed=0).to(device).train()
    training = Training(classifier, split, Threat("linf", "1/10"), 1, 0, BATCH)
    values = {"steps": 2} if defense == "at" else {}
    objective = get(defense).make(values).objective(training)
    optimizer = make_recipe("strong,batch_size=8").make_optimizer(classifier.parameters())
    return classifier, split, objective, optimizer


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("defense", ["standard", "at", "jacobian", "free"])
def test_steps_are_those_of_take_step(device, defense):
    results = []
    for stepped in (False, True):
        classifier, split, objective, optimizer = setting(device, defense)
        stepper = Stepper(objective, classifier, "fp32", BATCH)
        objective.begin_epoch(1)
        with training_layout("fp32", classifier):
            for step in range(6):
                images, labels = split.batch(slice(8 * (step % 4), 8 * (step % 4) + (8 if step < 5 else 5)))
                if stepped:
                    stepper(optimizer, images, labels, 0.1 / (step + 1))
                else:
                    take_step(objective, classifier, optimizer, images, labels, 0.1 / (step + 1), "fp32")
        results.append([weight.detach().cpu() for weight in classifier.parameters()])
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_on_the_cpu_nothing_is_captured_and_batches_come_one_by_one():
    classifier, split, objective, optimizer = setting("cpu")
    stepper = Stepper(objective, classifier, "fp32", BATCH)
    stepper(optimizer, *split.batch(slice(0, 8)), 0.1)
    assert stepper._captured is None
    assert batches_ahead(split.images, 8) == 1
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25]


def test_whatever_a_step_takes_from_python_changes_its_state():
    _, _, objective, _ = setting("cpu")
    before = python_state(objective)
    assert python_state(objective) == before
    changed = copy.copy(objective)
    changed.strength = 2.0
    assert python_state(changed) != before
    torch.rand(1, generator=objective.generator)
    assert python_state(objective) != before


def test_containers_and_tensors_count_by_their_content():
    assert python_state({"a": [1, (2, 3)]}) == python_state({"a": [1, (2, 3)]})
    assert python_state({"a": [1, (2, 3)]}) != python_state({"a": [1, (2, 4)]})
    assert python_state(torch.tensor([1, 2])) == python_state(torch.tensor([1, 2]))
    assert python_state(torch.tensor([1, 2])) != python_state(torch.tensor([1, 3]))


def test_an_epoch_that_changes_nothing_needs_no_new_capture():
    _, _, objective, _ = setting("cpu")
    objective.begin_epoch(1)
    before = python_state(vars(objective) | {"generator": None})
    objective.begin_epoch(2)
    assert python_state(vars(objective) | {"generator": None}) == before
    objective.threat = objective.threat.scaled("1/2")
    assert python_state(vars(objective) | {"generator": None}) != before
