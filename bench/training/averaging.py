"""Weight averaging: a second copy of the network, whose weights are an average along the training."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn

from bench.core.classifier import Classifier
from bench.data import Split
from bench.training.recipe import Recipe


class Average:
    """The average of a network's weights along its training.

    "ema" is an exponential moving average over steps with decay 0.999, and at most (1 + n)/(10 + n) after n
    steps, so that the random initial weights do not dominate a short training. "swa" (Izmailov et al. 2018) is
    the plain mean of the weights after each epoch of the last quarter, with batch-norm statistics estimated anew.
    """

    def __init__(self, recipe: Recipe, network: Classifier) -> None:
        self.kind = recipe.averaging
        self.decay = recipe.ema_decay
        average = get_ema_multi_avg_fn(self.decay) if self.kind == "ema" else get_swa_multi_avg_fn()
        self._model = AveragedModel(network, multi_avg_fn=average, use_buffers=self.kind == "ema")

    @property
    def network(self) -> Classifier:
        """The averaged network."""
        return cast(Classifier, self._model.module)

    @property
    def started(self) -> bool:
        """Whether any weights have been averaged yet."""
        return int(self._model.n_averaged) > 0

    def after_step(self, network: Classifier) -> None:
        """Update the average after an optimizer step."""
        if self.kind == "ema":
            steps = int(self._model.n_averaged)
            self._model.multi_avg_fn = get_ema_multi_avg_fn(min(self.decay, (1 + steps) / (10 + steps)))
            self._model.update_parameters(network)

    def after_epoch(self, network: Classifier, share: float, train: Split, batch_size: int) -> None:
        """Update the average after an epoch.

        Args:
            network: as the epoch left it.
            share: of the training that is over, 0 to 1.
            train: the training images, unaugmented, for the batch-norm statistics.
            batch_size: of the passes over them.
        """
        if self.kind == "swa" and share > 0.75:
            self._model.update_parameters(network)
            update_bn(_batches(train, batch_size), self._model)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return self._model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._model.load_state_dict(state)


def _batches(split: Split, size: int) -> Iterator[Tensor]:
    for start in range(0, len(split), size):
        yield split.batch(slice(start, start + size))[0]


def make_average(recipe: Recipe, network: Classifier) -> Average | None:
    """The average that a recipe asks for, or None."""
    return None if recipe.averaging == "none" else Average(recipe, network)


@torch.no_grad()
def weights_of(network: Classifier) -> dict[str, Tensor]:
    """A copy of every weight and buffer."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
