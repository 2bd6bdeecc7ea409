"""Weights in and out, and every way a file can be wrong."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.core.errors import UserError
from bench.models.weights import fill, load_checkpoint, load_weights, save_checkpoint, save_weights


class Stranger:
    """A class of ours, so that pickling it puts code into the file."""


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("nest", [None, "state_dict", "model", "model_state_dict"])
def test_weights_come_back_bit_for_bit(tmp_path: Path, nest: str | None) -> None:
    source, target = network(), network()
    save_weights(tmp_path / "w.safetensors", source)
    state = {f"module.{name}": tensor for name, tensor in source.state_dict().items()}
    torch.save({nest: state} if nest else state, tmp_path / "w.pt")
    for path in (tmp_path / "w.safetensors", tmp_path / "w.pt"):
        fill(target, load_weights(path), path)
        for name, tensor in source.state_dict().items():
            assert torch.equal(tensor, target.state_dict()[name])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such checkpoint.*nowhere\.pt"):
        load_weights(tmp_path / "nowhere.pt")


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(Stranger(), tmp_path / "code.pt")
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
        fill(target, other.state_dict(), "w.pt")
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
