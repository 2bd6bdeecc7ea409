"""The state of an AutoAttack run on disk, with which a killed run goes on from its next batch.

A state belongs to one network. Its code may change while its weights stay, so that the logits of a few images are
compared as well.
"""

import hashlib
import json
import zlib
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

#: Images whose logits stand for the network.
SAMPLE_SIZE = 8
#: The largest difference of two runs' logits that counts as rounding, relative to the largest logit.
ROUNDING = 1e-3


@dataclass
class AutoAttackState:
    """What a run has found so far, and which batch comes next.

    Attributes:
        adversarial: [B, C, H, W] so far.
        stage: int64 [B]; the number of the stage that broke each image, 0 for "clean", −1 for none so far.
        unconfirmed: bool [B]; misclassified in bfloat16, but not in float32.
        number, batches: the current stage, and how many of its batches are done.
        forwards, backwards: passes so far, in images.
        warnings: stage → its first warning.
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
    def initial(cls, images: Tensor, labels: Tensor) -> "AutoAttackState":
        """The state before any pass."""
        return cls(images.clone(), torch.full_like(labels, -1), torch.zeros_like(labels, dtype=torch.bool))

    def save(self, path: Path, fingerprint: str) -> None:
        """Write the state, whole or not at all, with the adversarial images of broken ones alone."""
        tensors = {
            "stage": self.stage.cpu(),
            "unconfirmed": self.unconfirmed.cpu(),
            "adversarial": self.adversarial[self.stage > 0].cpu(),
        }
        numbers = (self.number, self.batches, self.forwards, self.backwards)
        position = json.dumps([*numbers, self.warnings])
        about = {"fingerprint": fingerprint, "position": position, "checksum": _checksum(tensors, position)}
        with replacing(path) as temporary:
            save_file(tensors, temporary, about)

    @classmethod
    def load(cls, path: Path, fingerprint: str, images: Tensor) -> "AutoAttackState | None":
        """Read the state of an equal run; None where the file is missing or something else."""
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                if not same_run(about.get("fingerprint", ""), fingerprint):
                    return None
                tensors = {name: file.get_tensor(name) for name in ("stage", "unconfirmed", "adversarial")}
            # States of earlier versions have no checksum.
            if about.get("checksum", checksum := _checksum(tensors, about["position"])) != checksum:
                return None
            stage = tensors["stage"].to(images.device)
            adversarial = images.clone()
            adversarial[stage > 0] = tensors["adversarial"].to(images)
            unconfirmed = tensors["unconfirmed"].to(images.device)
            return cls(adversarial, stage, unconfirmed, *json.loads(about["position"]))
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError, RuntimeError):
            return None


def _checksum(tensors: Mapping[str, Tensor], position: str) -> str:
    """CRC-32 of a state, as hex: safetensors checks the form of a file, not its content."""
    crc = zlib.crc32(position.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def fingerprint_of(
    classifier: AnyClassifier, images: Tensor, labels: Tensor, threat: Threat, settings: Mapping[str, Value]
) -> str:
    """SHA-256 of all that a run depends on, and in a second line logits of the network; see `same_run`."""
    about = (threat.norm, str(threat.exact), str(classifier))
    digest = hashlib.sha256(json.dumps([*about, dict(settings)]).encode())
    weights = chain(classifier.named_parameters(), classifier.named_buffers())
    for name, tensor in chain([("images", images), ("labels", labels)], weights):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return f"{digest.hexdigest()}\n{sample_logits(classifier, images)}"


@torch.no_grad()
def sample_logits(classifier: AnyClassifier, images: Tensor) -> str:
    """The logits of the first images [n, C, H, W] as JSON, in eval mode and with a seeded global random state.

    "null" where they are not finite, or two such passes differ.
    """
    sample, passes = images[:SAMPLE_SIZE], []
    for _ in range(2):
        with evaluating(classifier), random_state_kept(0):
            logits = check_logits(classifier(sample), len(sample), classifier.num_classes)
        passes.append([[float(f"{value:.5g}") for value in row] for row in logits.tolist()])
    first, second = (json.dumps(logits) for logits in passes)
    return first if _agree(first, second) else "null"


def same_run(before: str, now: str) -> bool:
    """Whether two fingerprints are of one run: equal but for the last line, whose logits agree up to rounding."""
    (first, _, old_logits), (second, _, logits) = before.rpartition("\n"), now.rpartition("\n")
    return before == now or (first == second and _agree(old_logits, logits))


def _agree(first: str, second: str) -> bool:
    try:
        one, other = (torch.tensor(json.loads(text), dtype=torch.float64) for text in (first, second))
    except (ValueError, TypeError, RuntimeError):
        return False
    if one.shape != other.shape or one.numel() == 0:
        return False
    # NaN and infinity agree with nothing.
    return bool((one - other).abs().max() <= ROUNDING * one.abs().max())
