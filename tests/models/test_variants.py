"""Networks with options: one name for each, refusals, equal first weights, shapes, and a round trip."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.core.randomness import seeded
from bench.core.record import load_record
from bench.models import MODELS, build
from bench.models.network import Network, convolutions, hidden
from bench.results.restore import restore
from bench.results.verify import verify
from bench.runs.config import RunConfig
from bench.runs.run import run
from bench.tracking import NullTracker
from tests.models.test_models import NAMES, images_of, same_weights

#: The large ones take seconds.
SOME_SLOW = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith(("vgg", "resnet18")) else name
    for name in NAMES
]
ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


def optional(
    input_shape: tuple[int, int, int], num_classes: int, *, units: int = 8, word: str = "a"
) -> Network:
    """A network with options of its own."""
    assert word in ("a", "b")
    return Network(
        nn.Sequential(nn.Flatten(), hidden(input_shape[1] * input_shape[2], units)),
        nn.Linear(units, num_classes),
    )


def make(name: str, seed: int = 0) -> Classifier:
    return build(name, input_shape=(1, 8, 8), num_classes=10, seed=seed).eval()


def test_a_variant_has_one_name() -> None:
    for written, name in {
        "cnn6": "cnn6",
        "cnn6()": "cnn6",
        "cnn6(activation=relu, width=1)": "cnn6",
        "cnn6( width = 0.50 , activation='silu')": "cnn6(activation=silu,width=0.5)",
        "resnet18(width=2.0)": "resnet18(width=2)",
        # Reading a name imports no code, so the defaults of `optional` are not known.
        f"{__name__}:optional(word=b,units=8)": f"{__name__}:optional(units=8,word=b)",
    }.items():
        assert MODELS.canonical(written) == RunConfig(defense="standard", model=written).model == name


@given(st.sampled_from(NAMES), st.sampled_from(list(ACTIVATIONS)), st.floats(0.01, 16))
def test_a_canonical_name_stands_for_the_same_options(name: str, activation: str, width: float) -> None:
    written = f"{name}(width={width!r},activation={activation})"
    once = MODELS.canonical(written)
    assert MODELS.canonical(once) == once
    assert (f"activation={activation}" in once) == (activation != "relu")
    assert float((re.findall(r"width=([^,)]+)", once) or [1])[0]) == width


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cnn6(activation=tanh)",
            r"network cnn6, activation: expected 'relu', 'silu' or 'gelu' \(got 'tanh'\)",
        ),
        ("cnn6(depth=2)", r"network cnn6 has no option 'depth'; its options are activation, width"),
        ("tests.models.test_models:Cosine(width=2)", r"no option 'width'; it has no options"),
        ("cnn6(input_shape=2)", r"no option 'input_shape'"),
        ("cnn6(width=0)", r"width: expected greater than 0"),
        ("cnn6(width=True)", r"width: expected a valid number \(got True\)"),
        ("cnn6(width=1e999)", r"width: expected less than or equal to 16"),
        ("cnn6(width=[1])", r"width: expected a number or a word, got \[1\]"),
        ("cnn6(silu)", r"NAME\(KEY=VALUE, …\) such as cnn6\(activation=silu\), got 'cnn6\(silu\)'"),
        ("cnn6(width=1,width=2)", r"NAME\(KEY=VALUE, …\)"),
        ("cnn6(**x)", r"NAME\(KEY=VALUE, …\)"),
        ("cnn6(width=1", r"NAME\(KEY=VALUE, …\)"),
        ("cnn6[activation=silu]", r"options of a network in parentheses"),
        ("cnn7(width=2)", r"unknown network 'cnn7'; did you mean cnn6"),
        (f"{__name__}:optional(word=c)", r"optional.* failed: AssertionError"),
    ],
)
def test_a_mistake_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(name)


def test_options_of_other_networks_are_their_parameters_with_defaults() -> None:
    assert make(f"{__name__}:optional(units=3)").num_features == 3
    assert make("tests.models.test_models:Lazy(width=5)").num_features == 5


@pytest.mark.parametrize("name", SOME_SLOW)
@torch.no_grad()
def test_activations_share_their_first_weights_and_signs(name: str) -> None:
    plain = make(name)
    for activation, kind in ACTIVATIONS.items():
        network = make(f"{name}(activation={activation},width=1)")
        assert same_weights(plain, network)
        assert {type(each) for each in network.modules() if type(each) in ACTIVATIONS.values()} == {kind}
        features = network.features(images_of((1, 8, 8)))
        if network.site == "pre-activation":
            assert isinstance(network.activation, kind)
        assert torch.equal(features > 0, network.activation(features) > 0)


@pytest.mark.parametrize("name", SOME_SLOW)
@torch.no_grad()
def test_width_multiplies_every_layer(name: str) -> None:
    plain, wide, narrow = make(name), make(f"{name}(width=1.5)"), make(f"{name}(width=0.001,activation=gelu)")
    for layer, wider, narrower in zip(plain.modules(), wide.modules(), narrow.modules(), strict=True):
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            kind = "out_channels" if isinstance(layer, nn.Conv2d) else "num_features"
            assert getattr(wider, kind) == 1.5 * getattr(layer, kind)
            assert getattr(narrower, kind) == 1
    assert (wide.num_features, narrow.num_features) == (1.5 * plain.num_features, 1)
    for network in (wide, narrow):
        assert network(images_of((1, 8, 8))).shape == (2, 10)


def test_the_draws_of_cnn6_are_those_of_its_layers_in_order() -> None:
    pool = partial(nn.MaxPool2d, 2)
    with seeded(3, "weights"):
        layers, _ = convolutions((1, 8, 8), [32, 64, pool, 128, 128, pool, 64, pool, 64])
        parts = [*layers, hidden(64, 512), hidden(512, 128), nn.Linear(128, 10)]
    expected = [each for part in parts for each in part.parameters()]
    found = list(make("cnn6", seed=3).parameters())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_the_draws_of_resnet18_are_those_of_a_stem_and_of_torchvision() -> None:
    with seeded(3, "weights"):
        stem = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        network = torchvision.models.resnet18(weights=None, num_classes=10)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        network.conv1 = stem
    ours = make("resnet18", seed=3)
    assert all(
        torch.equal(one, other) for one, other in zip(ours.parameters(), network.parameters(), strict=True)
    )


@pytest.mark.slow
def test_a_variant_is_trained_restored_and_verified_by_its_name(tmp_path: Path, still_clock: None) -> None:
    config = RunConfig.make(
        {
            "defense": "standard",
            "model": "lenet(width=0.25, activation=silu)",
            "out": tmp_path,
            "epochs": 1,
            "trials": 0,
            "train_size": 60,
            "test_size": 20,
            "metrics": "clean_accuracy,prs_ratio",
        }
    )
    (path,) = run(config, NullTracker(), Progress())
    record = load_record(path)
    assert record.model == "lenet(activation=silu,width=0.25)"
    assert "-lenet_activation_silu_width_0.25_-" in str(path)
    assert f"--model '{record.model}'" in record.provenance.command
    network = restore(path, device="cpu").classifier
    assert {type(each) for each in network.modules()} & {nn.ReLU, nn.SiLU} == {nn.SiLU}
    assert network.num_features == 16
    assert verify(path, device="cpu").matches
