"""Where an AutoAttack run stands, on disk, so that a killed one goes on with its next batch.

And how a run under way knows its network again: code may change while the weights stay, so it is asked.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.core.checks import check_logits
from bench.core.classifier import AnyClassifier
from bench.core.files import replacing
from bench.core.guards import evaluating, random_state_kept
from bench.core.record import Value
from bench.core.threat import Threat

#: Images that a network is asked about.
ASKED = 8
#: By how much two runs' logits may differ for rounding, relative to the largest.
ROUNDING = 1e-3


@dataclass
class Standing:
    """What a run has found, and how far it has come.

    Attributes:
        adversarial: [B, C, H, W] so far.
        stage: int64 [B]; the number of the stage that broke each image, 0 for "clean", −1 for none so far.
        unconfirmed: bool [B]; misclassified in low precision where float32 disagreed.
        number, batches: the stage under way, and how many of its batches are done.
        forwards, backwards: passes so far, in images.
        warnings: stage → what was warned of.
    """

    adversarial: Tensor
    stage: Tensor
    unconfirmed: Tensor
    number: int = 0
    batches: int = 0
    forwards: int = 0
    backwards: int = 0
    warnings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at_the_start(cls, images: Tensor, labels: Tensor) -> "Standing":
        """Nothing found and nothing done."""
        return cls(images.clone(), torch.full_like(labels, -1), torch.zeros_like(labels, dtype=torch.bool))

    def save(self, path: Path, fingerprint: str) -> None:
        """Write it, whole or not at all; images that nothing broke are left out."""
        tensors = {
            "stage": self.stage.cpu(),
            "unconfirmed": self.unconfirmed.cpu(),
            "adversarial": self.adversarial[self.stage > 0].cpu(),
        }
        numbers = (self.number, self.batches, self.forwards, self.backwards)
        about = {"fingerprint": fingerprint, "position": json.dumps([*numbers, self.warnings])}
        with replacing(path) as temporary:
            save_file(tensors, temporary, about)

    @classmethod
    def load(cls, path: Path, fingerprint: str, images: Tensor) -> "Standing | None":
        """The state of an equal run; None when there is none or the file is something else."""
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                if not same_run(about.get("fingerprint", ""), fingerprint):
                    return None
                stage = file.get_tensor("stage").to(images.device)
                adversarial = images.clone()
                adversarial[stage > 0] = file.get_tensor("adversarial").to(images)
                unconfirmed = file.get_tensor("unconfirmed").to(images.device)
        except (OSError, SafetensorError):
            return None
        return cls(adversarial, stage, unconfirmed, *json.loads(about["position"]))


def fingerprint_of(
    classifier: AnyClassifier, images: Tensor, labels: Tensor, threat: Threat, settings: Mapping[str, Value]
) -> str:
    """SHA-256 of all that a run depends on, and in a second line what the network answers; see `same_run`."""
    about = (threat.norm, str(threat.exact), str(classifier))
    digest = hashlib.sha256(json.dumps([*about, dict(settings)]).encode())
    weights = chain(classifier.named_parameters(), classifier.named_buffers())
    for name, tensor in chain([("images", images), ("labels", labels)], weights):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return f"{digest.hexdigest()}\n{answers_of(classifier, images)}"


@torch.no_grad()
def answers_of(classifier: AnyClassifier, images: Tensor) -> str:
    """The logits of the first images [n, C, H, W] as JSON, in eval mode and with seeded draws.

    "null" where they are not finite, or the network draws from elsewhere than torch's global state.
    """
    asked, passes = images[:ASKED], []
    for _ in range(2):
        with evaluating(classifier), random_state_kept(0):
            logits = check_logits(classifier(asked), len(asked), classifier.num_classes)
        passes.append([[float(f"{value:.5g}") for value in row] for row in logits.tolist()])
    first, second = (json.dumps(answers) for answers in passes)
    return first if _agree(first, second) else "null"


def same_run(before: str, now: str) -> bool:
    """Whether two descriptions of a run agree: all lines but the last alike, the answers in it up to rounding."""
    (first, _, said), (second, _, says) = before.rpartition("\n"), now.rpartition("\n")
    return before == now or (first == second and _agree(said, says))


def _agree(first: str, second: str) -> bool:
    try:
        one, other = (torch.tensor(json.loads(text), dtype=torch.float64) for text in (first, second))
    except (ValueError, TypeError, RuntimeError):
        return False
    if one.shape != other.shape or one.numel() == 0:
        return False
    # NaN and infinity agree with nothing.
    return bool((one - other).abs().max() <= ROUNDING * one.abs().max())
