"""Run by `test_ranks.py` under torchrun: two steps in float64, divided and not; prints how far weights differ."""

import sys
from contextlib import nullcontext

import torch

from bench.core.threat import Threat
from bench.core.torchrun import is_worker
from bench.data import load
from bench.models import build
from bench.training.exchange import receive
from bench.training.ranks import sharing, together
from bench.training.workers import joined
from defenses import get
from defenses.base import Training


def main(model: str, name: str) -> None:
    torch.set_num_threads(1)
    with joined("cpu"):
        compare(model, name)
        if is_worker():
            receive()


def compare(model: str, name: str) -> None:
    dataset, found = load("digits", train_size=60, test_size=10), []
    images, labels = dataset.train.batch(slice(0, 15))
    for shared in (False, True):
        network = build(
            model, input_shape=dataset.shape, num_classes=10, mean=dataset.mean, std=dataset.std, seed=0
        )
        network.double()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        training = Training(
            network, dataset.train, Threat("linf", "0.1"), 4, 0, 16, restart_optimizer=lambda: None
        )
        defense = get(name)
        objective = defense.make({"warmup": 0.0} if "awp" in name else {}).objective(training)
        with together(), sharing(network) if shared else nullcontext():
            network.train()
            for epoch in (1, 2):
                objective.begin_epoch(epoch)
                loss = objective.loss(network, images.double(), labels)
                optimizer.zero_grad()
                loss.backward()
                objective.after_backward()
                optimizer.step()
        found.append(network.state_dict())
    one, two = found
    worst = max(float((one[key].double() - two[key].double()).abs().max()) for key in one)
    moved = float((one["head.weight"]).abs().max())
    if not is_worker():
        print(f"differs by {worst} of {moved}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
