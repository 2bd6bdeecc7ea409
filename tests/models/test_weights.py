"""Checkpoints and weights, written and read; files that are damaged or do not fit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.models.weights import (
    load_checkpoint,
    load_weights,
    save_weights,
    set_weights,
    write_checkpoint,
)


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
    write_checkpoint(path, {"epoch": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        write_checkpoint(path, {"epoch": 2})
    assert [each.name for each in tmp_path.iterdir()] == ["state.pt"]
    assert load_checkpoint(path) == {"epoch": 1}


CHAINS = ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.", "_orig_mod.module."]


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("chain", CHAINS)
def test_prefixes_and_their_chains_are_removed_in_both_kinds_of_files(
    tmp_path: Path, chain: str, suffix: str
) -> None:
    source, target, path = network(), network(), tmp_path / f"w.{suffix}"
    state = {chain + name: tensor.clone() for name, tensor in source.state_dict().items()}
    if suffix == "pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    set_weights(target, load_weights(path), path)
    assert_equal_weights(source, target)


def assert_equal_weights(source: nn.Module, target: nn.Module) -> None:
    ours, theirs = source.state_dict(), target.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize("theirs", [nn.Sequential, nn.DataParallel])
def test_a_loader_may_return_a_wrapper_itself(theirs: Callable[..., nn.Module]) -> None:
    source, target = network(), nn.DataParallel(network())
    weights = theirs(source).state_dict() if theirs is nn.DataParallel else source.state_dict()
    set_weights(target, weights, "w.pt")
    assert_equal_weights(source, target.module)


def test_a_prefix_before_a_part_of_the_network_alone_is_removed() -> None:
    source, target = nn.Sequential(network(), nn.Linear(2, 2)), nn.Sequential(network(), nn.Linear(2, 2))
    weights = {name.replace("0.", "0._orig_mod.", 1): t for name, t in source.state_dict().items()}
    set_weights(target, weights, "w.pt")
    assert_equal_weights(source, target)


def test_old_batch_norm_without_its_counter_is_loaded() -> None:
    source, target = network(), network()
    weights = source.state_dict()
    del weights["1.num_batches_tracked"]
    set_weights(target, weights, "w.pt")
    assert_equal_weights(source, target)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_old_weight_norm_is_loaded_into_new(prefix: str) -> None:
    old, new = network(), network()
    nn.utils.weight_norm(old[0])  # type: ignore[index]
    nn.utils.parametrizations.weight_norm(new[0])  # type: ignore[index]
    set_weights(new, {prefix + name: tensor for name, tensor in old.state_dict().items()}, "w.pt")
    images = torch.rand(4, 3)
    assert torch.equal(new.eval()(images), old.eval()(images))


@pytest.mark.parametrize(
    ("prefix", "target", "message"),
    [
        ("net.", network(), r"the checkpoint's names begin with 'net\.', the network's do not"),
        ("", nn.ModuleDict({"backbone": network()}), r"the network's names begin with 'backbone\.'"),
    ],
)
def test_another_prefix_is_named(prefix: str, target: nn.Module, message: str) -> None:
    weights = {prefix + name: tensor for name, tensor in network().state_dict().items()}
    with pytest.raises(UserError, match=rf"does not fit.*missing.*unknown.*{message}"):
        set_weights(target, weights, "w.pt")


class Stateful(nn.Linear):
    """A layer with a state of its own in its state dict."""

    classes: tuple[str, ...] = ("zero", "one")

    def get_extra_state(self) -> tuple[str, ...]:
        return self.classes

    def set_extra_state(self, state: tuple[str, ...]) -> None:
        if not isinstance(state, tuple):
            raise TypeError("expected class names")
        self.classes = state


def test_an_extra_state_is_loaded_where_the_file_has_one(tmp_path: Path) -> None:
    source, target = Stateful(3, 2), Stateful(3, 2)
    source.classes = ("cat", "dog")
    torch.save(source.state_dict(), tmp_path / "w.pt")
    set_weights(target, load_weights(tmp_path / "w.pt"), "w.pt")
    assert target.classes == ("cat", "dog")
    save_weights(tmp_path / "w.safetensors", source)
    target = Stateful(3, 2)
    set_weights(target, load_weights(tmp_path / "w.safetensors"), "w.safetensors")
    assert torch.equal(source.weight, target.weight)
    assert target.classes == ("zero", "one")


def test_a_network_that_fails_to_load_stays_as_it_was() -> None:
    target = Stateful(3, 2)
    before = target.weight.clone()
    weights = {**Stateful(3, 2).state_dict(), "_extra_state": 3}
    with pytest.raises(UserError, match="does not fit the network: expected class names"):
        set_weights(target, weights, "w.pt")
    assert torch.equal(target.weight, before)
    with pytest.raises(UserError, match=r"1 unknown \(other\)"):
        set_weights(target, {**Stateful(3, 2).state_dict(), "other": torch.zeros(1)}, "w.pt")
    assert torch.equal(target.weight, before)


def test_weights_that_are_not_finite_are_refused_but_masks_may_be_infinite() -> None:
    target = network()
    with pytest.raises(UserError, match=r"NaN or infinite weights \(0.weight\)"):
        set_weights(target, {**network().state_dict(), "0.weight": torch.full((4, 3), torch.nan)}, "w.pt")
    masked, source = nn.Linear(3, 2), nn.Linear(3, 2)
    for each in (masked, source):
        each.register_buffer("mask", torch.full((2,), -torch.inf))
    set_weights(masked, source.state_dict(), "w.pt")
    assert torch.equal(masked.weight, source.weight)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_named(tmp_path: Path) -> None:
    torch.jit.trace(network().eval(), torch.rand(2, 3)).save(str(tmp_path / "w.pt"))
    with pytest.raises(UserError, match=r"is a TorchScript network.*--loader"):
        load_weights(tmp_path / "w.pt")


def test_weights_under_an_unknown_key_are_found(tmp_path: Path) -> None:
    source = network().state_dict()
    torch.save({"net": source, "epoch": 3}, tmp_path / "w.pt")
    assert load_weights(tmp_path / "w.pt").keys() == source.keys()
