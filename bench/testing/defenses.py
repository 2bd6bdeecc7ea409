"""What every defense keeps to."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.core.randomness import seeded
from bench.testing.state import equal, snapshot, untouched
from bench.testing.toys import BATCH, EPOCHS, THREAT, Shape, quick, tiny_classifier, tiny_dataset
from defenses.base import Attacked, Defense, Objective, Training


class Run:
    """A toy training under way, one epoch at a time: what the checks drive."""

    def __init__(self, kind: type[Defense], *, shape: Shape = (1, 8, 8), classes: int = 3) -> None:
        self.dataset = tiny_dataset(shape, classes)
        self.classifier = tiny_classifier(shape, classes).train()
        self.defense = quick(kind)
        self.epoch = 0
        training = Training(
            self.classifier, self.dataset.train, THREAT, EPOCHS, 0, BATCH, restart_optimizer=self.restart
        )
        self.objective: Objective = self.defense.objective(training)
        self.restart()

    def restart(self) -> None:
        """A fresh optimizer over what still requires a gradient."""
        weights = [weight for weight in self.classifier.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.SGD(weights, lr=0.01, momentum=0.5)

    def begin(self, epoch: int) -> None:
        """Go to an epoch by way of all before it, without a step."""
        for number in range(self.epoch + 1, epoch + 1):
            self.objective.begin_epoch(number)
        self.epoch = epoch

    def settle(self) -> None:
        """Let batch norm's running statistics meet the data, so that eval mode is near training mode."""
        images, _ = self.dataset.train.batch(slice(0, BATCH))
        with torch.no_grad():
            for _ in range(50):
                self.classifier(images)

    def loss(self, size: int = BATCH) -> Tensor:
        """The loss on the first images."""
        images, labels = self.dataset.train.batch(slice(0, size))
        return self.objective.loss(self.classifier, images, labels)

    def step(self, loss: Tensor) -> None:
        """Follow the gradient of a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.objective.after_backward()
        self.optimizer.step()

    def train_epoch(self) -> None:
        """One pass over the training images in their order, under a global seed of the epoch's own."""
        self.epoch += 1
        self.classifier.train()
        self.objective.begin_epoch(self.epoch)
        with seeded("toy epoch", self.epoch):
            for start in range(0, len(self.dataset.train), BATCH):
                images, labels = self.dataset.train.batch(slice(start, start + BATCH))
                self.step(self.objective.loss(self.classifier, images, labels))

    def state(self) -> dict[str, Any]:
        """All that the training loop keeps in a checkpoint."""
        return {
            "epoch": self.epoch,
            "classifier": copy.deepcopy(self.classifier.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "objective": copy.deepcopy(self.objective.state_dict()),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from such a state, in the training loop's order."""
        self.epoch = state["epoch"]
        self.classifier.load_state_dict(state["classifier"])
        self.objective.load_state_dict(state["objective"])
        self.restart()
        self.optimizer.load_state_dict(state["optimizer"])


def gradients_are_finite(kind: type[Defense]) -> None:
    """In the first and in the last epoch, every trained weight has a finite gradient, and some are not zero."""
    run = Run(kind)
    for epoch in (1, EPOCHS):
        run.begin(epoch)
        run.optimizer.zero_grad(set_to_none=True)
        loss = run.loss()
        assert loss.dim() == 0, f"the loss must be a scalar, got shape {tuple(loss.shape)}"
        loss.backward()
        _check_gradients(run)


def two_steps_change_weights_and_lower_the_loss(kind: type[Defense]) -> None:
    """In the first and in the last epoch, on the same images, the same attack and the same random numbers."""
    for epoch in (1, EPOCHS):
        run = Run(kind)
        run.settle()
        run.begin(epoch)
        images, labels = run.dataset.train.batch(slice(0, BATCH))
        objective, weights, losses = run.objective, snapshot(run.classifier), []
        attack = objective.attack(run.classifier, images, labels) if isinstance(objective, Attacked) else None
        for _ in range(3):
            # The epoch's random numbers start anew, so that the steps descend one and the same function.
            state = objective.state_dict()
            objective.begin_epoch(epoch)
            objective.load_state_dict(state)
            if isinstance(objective, Attacked):
                loss = objective.loss_on(run.classifier, images, attack, labels)
            else:
                loss = objective.loss(run.classifier, images, labels)
            losses.append(loss.item())
            run.step(loss)
        assert not equal(weights, snapshot(run.classifier)), "two steps left all weights as they were"
        shown = ", ".join(f"{loss:.4f}" for loss in losses)
        assert losses[2] < losses[0], f"epoch {epoch}: the loss went {shown}"


def the_same_seed_gives_the_same_weights(kind: type[Defense]) -> None:
    """Two trainings agree bit for bit, whatever the global random state is."""
    results = []
    for seed in (1, 2):
        with seeded(seed, "elsewhere"):
            run = Run(kind)
            for _ in range(EPOCHS):
                run.train_epoch()
        results.append(snapshot(run.classifier))
    assert equal(*results), "two trainings with one seed ended in different weights"


def a_saved_state_goes_on_bit_for_bit(kind: type[Defense]) -> None:
    """Saved after any epoch and loaded into a fresh training, it ends in the weights of an uninterrupted one."""
    whole, states = Run(kind), []
    for _ in range(EPOCHS):
        whole.train_epoch()
        states.append(whole.state())
    for state in states[:-1]:
        resumed = Run(kind)
        resumed.load(state)
        while resumed.epoch < EPOCHS:
            resumed.train_epoch()
        message = f"a training that went on after epoch {state['epoch']} ended in different weights"
        assert equal(snapshot(whole.classifier), snapshot(resumed.classifier)), message


def the_loss_leaves_everything_as_it_was(kind: type[Defense]) -> None:
    """Modes, `requires_grad`, gradients, weights and the global random state; stages freeze in `epoch` alone."""
    run = Run(kind)
    frozen_by_hand = run.classifier.backbone[1]  # type: ignore[index]
    frozen_by_hand.eval()
    for epoch in (1, EPOCHS):
        run.begin(epoch)
        run.optimizer.zero_grad(set_to_none=True)
        with untouched(run.classifier, buffers=False):
            run.loss()
        with untouched(run.classifier, buffers=True):
            run.objective.report()


def a_single_image_is_enough(kind: type[Defense]) -> None:
    """A batch of one gives a finite loss and finite gradients."""
    run = Run(kind)
    for epoch in (1, EPOCHS):
        run.begin(epoch)
        run.optimizer.zero_grad(set_to_none=True)
        run.loss(size=1).backward()
        _check_gradients(run, some=False)


def two_classes_and_colour_are_enough(kind: type[Defense]) -> None:
    """Two and three classes, grey and colour, and images that are not square."""
    for shape, classes in (((1, 8, 8), 2), ((3, 8, 8), 3), ((3, 8, 9), 2)):
        run = Run(kind, shape=shape, classes=classes)
        for epoch in (1, EPOCHS):
            run.begin(epoch)
            run.optimizer.zero_grad(set_to_none=True)
            run.loss().backward()
            _check_gradients(run)


def bfloat16_autocast_works(kind: type[Defense]) -> None:
    """Under autocast the loss is finite and reaches every weight that it reaches in float32."""
    for epoch in (1, EPOCHS):
        reached = []
        for enabled in (False, True):
            run = Run(kind)
            run.begin(epoch)
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = run.loss()
            loss.backward()
            _check_gradients(run)
            reached.append(
                {name for name, weight in run.classifier.named_parameters() if weight.grad is not None}
            )
        assert reached[0] == reached[1], f"autocast cuts the gradient of {sorted(reached[0] - reached[1])}"


def the_card_is_complete(kind: type[Defense]) -> None:
    """A name, a family, a docstring, a cost, hyper-parameters that come back, defaults inside their ranges."""
    for attribute in ("name", "family", "__doc__"):
        assert getattr(kind, attribute, None), f"the class has no {attribute.strip('_')}"
    defense = kind.make({})
    values = defense.hyperparameters()
    assert kind.make(values).hyperparameters() == values, "make(hyperparameters()) gives other values"
    texts = {name: str(value) for name, value in values.items() if value is not None}
    assert kind.make(texts).hyperparameters() == values, "hyper-parameters do not survive as text"
    units, attack = defense.forward_units(), defense.attack_units()
    assert units >= 3 + attack >= 3, (
        f"forward_units() must be at least 3 + attack_units(), and that at least 0; they are {units} and {attack}"
    )
    for name, spread in kind.space().items():
        low, high = getattr(spread, "low", None), getattr(spread, "high", None)
        inside = values[name] in spread.values if low is None else low <= values[name] <= high  # type: ignore[union-attr]
        assert inside, f"the default of {name} lies outside its search range"
    objective = Run(kind).objective
    assert isinstance(objective, Attacked) or not kind.attacks, "`attacks` promises an Attacked objective"


#: Checks of a defense's class: `check(MyDefense)`.
DEFENSE_CHECKS: tuple[Callable[[type[Defense]], None], ...] = (
    the_card_is_complete,
    gradients_are_finite,
    two_steps_change_weights_and_lower_the_loss,
    the_same_seed_gives_the_same_weights,
    a_saved_state_goes_on_bit_for_bit,
    the_loss_leaves_everything_as_it_was,
    a_single_image_is_enough,
    two_classes_and_colour_are_enough,
    bfloat16_autocast_works,
)


def _check_gradients(run: Run, *, some: bool = True) -> None:
    gradients = {
        name: weight.grad for name, weight in run.classifier.named_parameters() if weight.grad is not None
    }
    bad = [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]
    assert not bad, f"epoch {run.epoch}: the gradient of {', '.join(bad)} is not finite"
    assert not some or any(gradient.any() for gradient in gradients.values()), (
        f"epoch {run.epoch}: no weight has a gradient other than zero"
    )
