"""The cost of a training step of each defense beside one of standard training, and the cost that is counted.

All steps are those after the warm-up. Work between epochs, such as the pass of PRS over the training set for its
region means, is left out. Counted units ignore batch norm: with it, penalties on the input gradient need a separate
forward pass in eval mode, which adds 1.00 to what they cost (except with `bn=train`).
"""

from collections.abc import Callable, Iterator

import torch

from bench.core.randomness import make_generator, seeded
from bench.core.threat import Threat
from bench.data import Split
from bench.models import build
from bench.training.device import training_layout
from bench.training.recipe import make_recipe
from bench.training.step import shuffled_batches, take_step
from benchmarks.speed.floor import floor
from benchmarks.speed.rows import Row, in_turn
from defenses import DEFENSES, get
from defenses.base import Defense, Training

#: The registered defenses, and further settings to which compute budgets refer.
SETTINGS: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, {}) for name in DEFENSES.names() if name != "standard"},
    "at, PGD-7": ("at", {"steps": 7}),
    "at, PGD-20": ("at", {"steps": 20}),
    "jacobian, bn=train": ("jacobian", {"bn": "train"}),
}
#: Of these the cost is measured on every network; of all others on cnn6 alone.
PENALTIES = ("prs", "mr", "jacobian")
SHAPE, CLASSES, EPOCHS, STEPS = (3, 32, 32), 10, 100, 2
#: Network → images of a batch.
BATCHES = {"cnn6": 64, "vgg16": 32, "resnet18": 32}


def rows(networks: list[str], rounds: int) -> Iterator[Row]:
    """Each defense beside standard training, in float32."""
    for model in networks:
        standard = turn(get("standard").make({}), model)
        for name in SETTINGS if model == "cnn6" else PENALTIES:
            registered, values = SETTINGS[name]
            defense = get(registered).make(values)
            ours = turn(defense, model)
            work = f"{name} step, {model}, batch {BATCHES[model]}, fp32"
            counted = f"costs {defense.forward_units() / 3:.2f} times as much by its passes"
            yield in_turn(work, "our standard", counted, ours, standard, rounds, floor=floor(ours, "fp32"))


def turn(defense: Defense, model: str) -> Callable[[], None]:
    """A function that trains for some steps past every warm-up."""
    split, recipe = _split(model), make_recipe(f"paper,batch_size={BATCHES[model]}")
    classifier = build(model, input_shape=SHAPE, num_classes=CLASSES, seed=0).train()
    training = Training(classifier, split, Threat("linf", "8/255"), EPOCHS, 0, recipe.batch_size)
    objective = defense.objective(training)
    for epoch in range(1, EPOCHS + 1):
        objective.begin_epoch(epoch)
    optimizer = recipe.make_optimizer(classifier.parameters())

    def train() -> None:
        with seeded("training cost"), training_layout("fp32", classifier):
            for _, images, labels in shuffled_batches(split, recipe, make_generator("training cost"), "fp32"):
                take_step(objective, classifier, optimizer, images, labels, recipe.lr, "fp32")

    return train


def _split(model: str) -> Split:
    generator = make_generator("training cost", "data")
    count = STEPS * BATCHES[model]
    images = torch.randint(256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % CLASSES)
