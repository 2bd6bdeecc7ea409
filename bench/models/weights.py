"""Read and write checkpoints: the state of a training to resume, and the weights of a network."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.files import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a training atomically."""
    # Through memory: the error that torch's own writer raises on a full disk does not mention the disk.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a state that `save_checkpoint` wrote, without running any code in the file.

    Raises:
        UserError: when the file cannot be read.
    """
    return _load_pickle(path, device)


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's state dict as safetensors, atomically; tied weights are written once for each name."""
    tensors = {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()
    }
    with replacing(path) as temporary:
        temporary.write_bytes(serialize(tensors))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file, or from a torch file without pickled code.

    A torch file may nest the weights under "state_dict", "model_state_dict" or "model". Names are returned as
    they are in the file; `set_weights` fits them to a network.

    Raises:
        UserError: when the file is missing or unreadable, or holds pickled code or no tensors.
    """
    if not path.is_file():
        raise UserError(f"no such checkpoint: {path}")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"cannot read checkpoint {path}: {error}; is it a safetensors file?") from error
    state: Any = _load_pickle(path, "cpu")
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
    if not named or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"checkpoint {path} holds no state dict of tensors; save model.state_dict()")
    return dict(state)


def set_weights(classifier: nn.Module, weights: dict[str, Tensor], source: Path | str) -> None:
    """Load a state dict into a network, every tensor or none.

    The names may carry the prefix "module." of data-parallel training, and that of `WrappedClassifier`, once or
    several times; it is removed as far as the network's own names ask for it.

    Args:
        classifier: of a `WrappedClassifier`, the network inside is filled.
        weights: name → tensor, as `load_weights` returns them.
        source: named in errors.

    Raises:
        UserError: when names or shapes differ (the first differences are listed), or a weight is not finite.
    """
    module = classifier.module if isinstance(classifier, WrappedClassifier) else classifier
    expected = module.state_dict()
    weights = _without_prefix(weights, expected)
    missing = [name for name in expected if name not in weights]
    extra = [name for name in weights if name not in expected]
    shapes = [
        f"{name} is {tuple(weights[name].shape)}, the network wants {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    problems = [
        *shapes[:2],
        *([f"{len(missing)} missing ({', '.join(missing[:3])})"] if missing else []),
        *([f"{len(extra)} unknown ({', '.join(extra[:3])})"] if extra else []),
    ]
    if problems:
        raise UserError(f"checkpoint {source} does not fit the network: {'; '.join(problems)}")
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(f"checkpoint {source} has NaN or infinite weights ({', '.join(broken[:3])})")
    module.load_state_dict(weights)


def _without_prefix(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with as many "module." prefixes removed as make most names those of the network."""
    candidates = [weights]
    while any(name.startswith("module.") for name in candidates[-1]):
        candidates.append({name.removeprefix("module."): tensor for name, tensor in candidates[-1].items()})
    return max(candidates, key=lambda candidate: len(candidate.keys() & expected.keys()))


def _load_pickle(path: Path, device: torch.device | str) -> Any:
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        # By its first bytes a zip archive or a pickle, which names classes other than tensors; else a damaged file.
        if path.read_bytes()[:2] in (b"PK", b"\x80\x02"):
            raise UserError(
                f"checkpoint {path} holds pickled code, which is not run; save model.state_dict() instead"
            ) from None
        raise UserError(
            f"cannot read checkpoint {path}: it is not a torch file, or it is truncated"
        ) from None
    except Exception as error:  # what is no pickle may raise anything
        readable = isinstance(error, OSError | RuntimeError) and str(error)
        reason = str(error).splitlines()[0] if readable else "it is not a torch file, or it is truncated"
        raise UserError(f"cannot read checkpoint {path}: {reason}") from error
