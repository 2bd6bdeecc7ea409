"""Read and write checkpoints: the state of a training to resume, and the weights of a network."""

import io
import os
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError, first_line
from bench.core.files import replacing
from bench.models.renaming import other_prefix, renaming


def previous_checkpoint(path: Path) -> Path:
    """Where the checkpoint that was replaced last is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a training atomically, and keep the checkpoint that it replaces."""
    # In memory: the error that torch's own writer raises on a full disk does not mention the disk.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    previous = previous_checkpoint(path)
    # First, so that there are never more than two on the disk.
    previous.unlink(missing_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
        if path.exists():
            os.replace(path, previous)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a state that `write_checkpoint` wrote, without running any code in the file.

    Raises:
        UserError: when the file cannot be read, or its content does not have the checksums it was written with.
    """
    state = _load_pickle(path, device)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"cannot read checkpoint {path}: {error}") from error
    if damaged is not None or not isinstance(state, dict):
        raise UserError(f"cannot read checkpoint {path}: it is damaged")
    return state


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module's state dict; what `get_extra_state` adds to it is no weight."""
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's weights as safetensors, atomically; tied weights are written once for each name."""
    tensors = {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights_of(module).items()
    }
    with replacing(path) as temporary:
        temporary.write_bytes(serialize(tensors))


def load_weights(path: Path) -> dict[str, Any]:
    """Read a state dict from a safetensors file, or from a torch file without pickled code.

    A torch file may nest the weights under "state_dict", "model_state_dict", "model", or in its only dictionary of
    tensors. Names are returned as they are in the file; `set_weights` fits them to a network.

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
    state = _nested(_load_pickle(path, "cpu"))
    if not _is_state_dict(state):
        raise UserError(f"checkpoint {path} holds no state dict of tensors; save model.state_dict()")
    return dict(state)


def _nested(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state.get(key), dict):
            return state[key]
    inner = [value for value in state.values() if _is_state_dict(value)]
    return inner[0] if len(inner) == 1 else state


def _is_state_dict(state: Any) -> bool:
    return (
        isinstance(state, dict)
        and all(isinstance(name, str) for name in state)
        and any(isinstance(value, Tensor) for value in state.values())
    )


def set_weights(classifier: nn.Module, weights: dict[str, Any], source: Path | str) -> None:
    """Load a state dict into a network as torch does, every tensor or none.

    Torch fills in what old files lack, such as the counter of batch norm, and renames old weight norm. Names may
    carry the prefixes of `renaming`.

    Args:
        classifier: of a `WrappedClassifier`, the network inside is filled.
        weights: name → value, as `load_weights` returns them.
        source: named in errors.

    Raises:
        UserError: when names or shapes differ (the first differences are listed), or a weight is not finite.
    """
    module = classifier.module if isinstance(classifier, WrappedClassifier) else classifier
    expected = module.state_dict()
    fitting = {new: weights[old] for new, old in renaming(list(weights), module).items()}
    problems = _misfits(fitting, expected)
    # A mask among the buffers may hold infinity.
    learned = fitting.keys() - dict(module.named_buffers()).keys()
    broken = [name for name in fitting if name in learned and not _is_finite(fitting[name])]
    if broken and not problems:
        raise UserError(f"checkpoint {source} has NaN or infinite weights ({', '.join(broken[:3])})")
    problems = problems or _loaded(module, fitting, expected)
    if problems:
        prefix = other_prefix(list(weights), list(weights_of(module)))
        raise UserError(f"checkpoint {source} does not fit the network: {'; '.join([*problems, *prefix])}")


def _misfits(weights: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Tensors of another shape, and then all other differences."""
    tensors = {name: value for name, value in expected.items() if isinstance(value, Tensor)}
    shapes = [
        f"{name} is {_shape(weights[name])}, the network wants {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in weights and _shape(weights[name]) != tuple(tensor.shape)
    ]
    if not shapes:
        return []
    return [
        *shapes[:2],
        *_missing_and_extra(tensors.keys() - weights.keys(), weights.keys() - expected.keys()),
    ]


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _missing_and_extra(missing: Iterable[str], extra: Iterable[str]) -> list[str]:
    counted = (("missing", sorted(missing)), ("unknown", sorted(extra)))
    return [f"{len(names)} {word} ({', '.join(names[:3])})" for word, names in counted if names]


def _loaded(module: nn.Module, weights: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Load the weights, or leave the module as it was and say what does not fit."""
    before = {name: value.clone() for name, value in expected.items() if isinstance(value, Tensor)}
    try:
        missing, extra = module.load_state_dict(weights, strict=False)
        problems = _missing_and_extra(
            (name for name in missing if isinstance(expected.get(name), Tensor)), extra
        )
    except Exception as error:  # a network may load its weights with code of its own
        problems = [first_line(error)]
    if problems:
        with torch.no_grad():
            for name, value in weights_of(module).items():
                value.copy_(before[name])
    return problems


def _is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or bool(torch.isfinite(value).all())


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
        if "TorchScript archive" in str(error):
            raise UserError(
                f"checkpoint {path} is a TorchScript network, not its weights; return torch.jit.load(FILE) from a "
                "function and give that with --loader"
            ) from None
        readable = isinstance(error, OSError | RuntimeError) and str(error)
        reason = str(error).splitlines()[0] if readable else "it is not a torch file, or it is truncated"
        raise UserError(f"cannot read checkpoint {path}: {reason}") from error
