"""Checkpoints: a training that can go on, and weights that anyone can load."""

import io
import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.files import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a resumable state, whole or not at all."""
    # By way of memory: torch's own writer tells a full disk in words that nobody would recognise.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; no code in the file is ever run.

    Raises:
        UserError: when it cannot be read.
    """
    return _load_pickle(path, device)


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's tensors as safetensors, whole or not at all; tied weights are written once for each name."""
    tensors = {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()
    }
    with replacing(path) as temporary:
        temporary.write_bytes(serialize(tensors))


def load_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from safetensors, or from a torch file without code in it.

    Torch files may nest the weights under "state_dict", "model" or "model_state_dict"; a "module." prefix from
    data-parallel training is taken off.

    Raises:
        UserError: when the file is missing, unreadable, holds pickled code, or no tensors.
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
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def fill(module: nn.Module, weights: dict[str, Tensor], source: Path | str) -> None:
    """Load weights into a module, every one or none.

    Raises:
        UserError: when names or shapes differ; the first differences are named.
    """
    expected = module.state_dict()
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


def _load_pickle(path: Path, device: torch.device | str) -> Any:
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        # A zip archive or a bare pickle that names anything but tensors; other bytes only look like one.
        if path.read_bytes()[:2] in (b"PK", b"\x80\x02"):
            raise UserError(
                f"checkpoint {path} holds pickled code, which is not run; save model.state_dict() instead"
            ) from None
        raise UserError(f"cannot read checkpoint {path}: it is no torch file, or it is cut short") from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, BadZipFile) as error:
        readable = isinstance(error, OSError | RuntimeError) and str(error)
        reason = str(error).splitlines()[0] if readable else "it is no torch file, or it is cut short"
        raise UserError(f"cannot read checkpoint {path}: {reason}") from error
