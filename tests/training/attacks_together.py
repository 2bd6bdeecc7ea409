"""What `test_ranks.py` runs under torchrun: attacks by one process, or divided among several, bit for bit.

python attacks_together.py FILE [STOP]     # STOP: end after so many batches of AutoAttack, as a kill does
"""

import os
import sys
from pathlib import Path

import pytest
import torch

from bench.attacks import ATTACKS
from bench.attacks.resume import AutoAttackState
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.core.torchrun import is_worker
from bench.data import load
from bench.training.plan import Plan
from bench.training.recipe import make_recipe
from bench.training.workers import helpers_of, joined, serve
from defenses import get
from metrics.evaluation import Evaluation
from tests.shortened import shorten_autoattack


def main(file: Path, stop: int | None) -> None:
    torch.set_num_threads(1)
    shorten_autoattack(pytest.MonkeyPatch())
    dataset = load("digits", train_size=20, test_size=70)
    threat = Threat("linf", "0.1")
    defense = get("standard")
    plan = Plan("standard", defense, {}, "cnn6(width=0.25)", dataset, threat, make_recipe("paper"), 1, "fp32")
    with joined("cpu"):
        if is_worker():
            serve(plan.classifier(0), plan)
            return
        network = plan.classifier(0).eval()
        images, labels = dataset.test.batch(slice(None))
        # Weights that no other process can know, and classes that make half of the images right.
        with torch.no_grad():
            for weight in network.parameters():
                weight += 0.01 * torch.randn(weight.shape, generator=make_generator("weights"))
            logits = network(images)
        labels = torch.where(torch.arange(len(labels)) % 4 > 0, logits.argmax(dim=1), labels)
        evaluation = Evaluation(
            network,
            dataset,
            threat,
            images,
            labels,
            torch.arange(len(labels)),
            batch_size=16,
            scratch=file.parent / "state",
            helped=helpers_of(network, images),
        )
        if stop:
            _stop_after(stop)
        assert evaluation.scratch
        evaluation.scratch.mkdir(parents=True, exist_ok=True)
        found = {}
        for name in ("pgd20", "adaptive"):
            result = evaluation.attack(ATTACKS[name], images, labels, name)
            found[name] = {key: value for key, value in vars(result).items() if key != "notes"}
        strongest = evaluation.autoattack(seed=0, batch_size=16)
        keys = ("adversarial", "broken", "stage", "forwards", "backwards")
        found["autoattack"] = {key: getattr(strongest, key) for key in keys}
        evaluation.passes.add(strongest.resumed)
        found["passes"] = [evaluation.forwards, evaluation.backwards]
        torch.save(found, file)


def _stop_after(batches: int) -> None:
    save, done = AutoAttackState.save, 0

    def stopping(state: AutoAttackState, path: Path, fingerprint: str) -> None:
        nonlocal done
        save(state, path, fingerprint)
        done += 1
        if done == batches:
            os._exit(9)

    AutoAttackState.save = stopping  # type: ignore[method-assign]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
