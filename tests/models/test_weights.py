"""Checkpoints and weights, written and read; files that are damaged or do not fit."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.models.weights import load_checkpoint, load_weights, save_checkpoint, save_weights, set_weights


class CustomClass:
    """A class of ours, so that pickling it puts code into the file."""


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("nest", [None, "state_dict", "model", "model_state_dict"])
def test_weights_are_restored_bit_for_bit(tmp_path: Path, nest: str | None) -> None:
    source, target = network(), network()
    save_weights(tmp_path / "w.safetensors", source)
    state = {f"module.{name}": tensor for name, tensor in source.state_dict().items()}
    torch.save({nest: state} if nest else state, tmp_path / "w.pt")
    for path in (tmp_path / "w.safetensors", tmp_path / "w.pt"):
        set_weights(target, load_weights(path), path)
        for name, tensor in source.state_dict().items():
            assert torch.equal(tensor, target.state_dict()[name])


@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_prefixes_of_data_parallel_training_and_of_the_wrapper_are_removed(
    prefix: str, wrapped: bool
) -> None:
    source, inner = network(), network()
    classifier = WrappedClassifier(nn.Sequential(nn.Flatten(), inner), (3, 1, 1), 2) if wrapped else inner
    names = f"{prefix}1." if wrapped else prefix
    set_weights(classifier, {names + name: tensor for name, tensor in source.state_dict().items()}, "w.pt")
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, inner.state_dict()[name])


def test_a_network_with_a_child_called_module_keeps_its_names() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.module(images.flatten(1)))

    source, target = Nested(), Nested()
    saved = WrappedClassifier(source, (3, 1, 1), 2).state_dict()
    for weights in (source.state_dict(), saved):
        nn.init.zeros_(target.module.weight)
        set_weights(WrappedClassifier(target, (3, 1, 1), 2), weights, "w.pt")
        assert torch.equal(source.module.weight, target.module.weight)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such checkpoint.*nowhere\.pt"):
        load_weights(tmp_path / "nowhere.pt")


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(CustomClass(), tmp_path / "code.pt")
    with pytest.raises(UserError, match="pickled code"):
        load_weights(tmp_path / "code.pt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 cut"])
def test_an_unreadable_file_is_one_line(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot read checkpoint") as error:
        load_weights(path)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for name in ("w.safetensors", "w.pt"):
        save_weights(tmp_path / "w.safetensors", network())
        torch.save(network().state_dict(), tmp_path / "w.pt")
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(UserError, match="cannot read checkpoint"):
            load_weights(path)


def test_no_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="no state dict"):
        load_weights(tmp_path / "w.pt")


def test_weights_of_another_network_change_nothing() -> None:
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    other = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    with pytest.raises(UserError, match=r"does not fit.*\(5, 3\).*\(4, 3\).*missing"):
        set_weights(target, other.state_dict(), "w.pt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    save_checkpoint(path, {"epoch": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(path, {"epoch": 2})
    assert [each.name for each in tmp_path.iterdir()] == ["state.pt"]
    assert load_checkpoint(path) == {"epoch": 1}
