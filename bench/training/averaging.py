"""Weight averaging: a second copy of the network that follows the first and is the one that counts."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn

from bench.core.classifier import Classifier
from bench.training.recipe import Recipe


class Average:
    """The average of a network's weights along its training.

    "ema" follows every step with decay 0.999, or faster early on: after n steps at most (1 + n)/(10 + n), so that a
    short training is not averaged with its random start. "swa" (Izmailov et al. 2018) takes the plain mean of the
    weights after each epoch of the last quarter, and estimates batch-norm statistics anew.
    """

    def __init__(self, recipe: Recipe, network: Classifier) -> None:
        self.kind = recipe.averaging
        self.decay = recipe.ema_decay
        average = get_ema_multi_avg_fn(self.decay) if self.kind == "ema" else get_swa_multi_avg_fn()
        self._model = AveragedModel(network, multi_avg_fn=average, use_buffers=self.kind == "ema")

    @property
    def network(self) -> Classifier:
        """The averaged network."""
        assert isinstance(self._model.module, Classifier)
        return self._model.module

    @property
    def started(self) -> bool:
        """Whether anything was averaged yet."""
        return int(self._model.n_averaged) > 0

    def after_step(self, network: Classifier) -> None:
        """Follow one optimizer step."""
        if self.kind == "ema":
            steps = int(self._model.n_averaged)
            self._model.multi_avg_fn = get_ema_multi_avg_fn(min(self.decay, (1 + steps) / (10 + steps)))
            self._model.update_parameters(network)

    def after_epoch(self, network: Classifier, share: float, batches: Iterable[Tensor]) -> None:
        """Follow one epoch that ended after `share` of the training; `batches` are unaugmented training images."""
        if self.kind == "swa" and share > 0.75:
            self._model.update_parameters(network)
            update_bn(batches, self._model)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return self._model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self._model.load_state_dict(state)


def make_average(recipe: Recipe, network: Classifier) -> Average | None:
    """The average a recipe asks for, or None."""
    return None if recipe.averaging == "none" else Average(recipe, network)


@torch.no_grad()
def weights_of(network: Classifier) -> dict[str, Tensor]:
    """A copy of every weight and buffer."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
