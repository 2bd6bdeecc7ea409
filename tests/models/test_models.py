"""The networks by name: their layers, their features, their weights, and what they learn."""

import sys
from itertools import pairwise
from types import ModuleType

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.data import Dataset, load
from bench.models import MODELS, Network, build

NAMES = [
    "cnn6",
    "vgg16",
    "vgg16-bn",
    "resnet18",
    "resnet18-imagenet",
    "lenet",
    "nin",
    "mnist4",
    "conv5gap",
]
SHAPES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (3, 37, 41)]
WIDTHS = {"cnn6": 128, "lenet": 64, "nin": 192, "mnist4": 1024, "conv5gap": 256}


def make(name: str, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10, seed: int = 0) -> Classifier:
    return build(name, input_shape=shape, num_classes=classes, seed=seed).eval()


def images_of(shape: tuple[int, ...], batch: int = 2) -> Tensor:
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(1))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolution_parameters(widths: list[int], kernel: int) -> int:
    return sum(inputs * outputs * kernel**2 + outputs for inputs, outputs in pairwise(widths))


def test_the_networks_of_the_papers_are_registered() -> None:
    assert MODELS.names()[: len(NAMES)] == NAMES


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_every_network_accepts_every_image_size_and_ends_with_its_head(
    name: str, shape: tuple[int, int, int]
) -> None:
    network = make(name, shape)
    logits, features = network.forward_with_features(images_of(shape))
    assert logits.shape == (2, 10)
    assert features.shape == (2, network.num_features) == (2, WIDTHS.get(name, 512))
    assert torch.equal(logits, network.head(network.activation(features)))
    assert torch.equal(features > 0, network.activation(features) > 0)
    if network.site == "pooled":
        assert features.min() >= 0
    else:
        assert features.min() < 0 < features.max()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_every_network_accepts_any_number_of_classes(name: str, classes: int) -> None:
    network = make(name, classes=classes)
    assert network.num_classes == classes
    assert network(images_of((1, 8, 8))).shape == (2, classes)


@pytest.mark.parametrize("name", NAMES)
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make(name, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert same_weights(first, make(name, seed=3))
    assert not torch.equal(first.head.weight, make(name, seed=4).head.weight)


@pytest.mark.parametrize("name", NAMES)
def test_no_layer_works_in_place(name: str) -> None:
    assert not any(getattr(layer, "inplace", False) for layer in make(name).modules())


def test_the_classifier_normalizes_inside() -> None:
    mean, std = (0.2, 0.4, 0.6), (0.5, 0.25, 0.125)
    network = build("cnn6", input_shape=(3, 8, 8), num_classes=10, mean=mean, std=std, seed=0).eval()
    plain = make("cnn6", (3, 8, 8))
    images = images_of((3, 8, 8))
    normalized = torchvision.transforms.functional.normalize(images, list(mean), list(std))
    torch.testing.assert_close(network(images), plain(normalized))


def test_cnn6_is_the_network_of_the_paper() -> None:
    network = make("cnn6", (3, 32, 32))
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] == [64 * 4 * 4, 512, 128]
    expected = convolution_parameters([3, 32, 64, 128, 128, 64, 64], 3) + convolution_parameters(
        [1024, 512, 128, 10], 1
    )
    assert parameters(network) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "reference"), [("vgg16", "vgg16"), ("vgg16-bn", "vgg16_bn")])
def test_the_convolutions_of_vgg16_are_torchvisions(name: str, reference: str) -> None:
    ours = make(name, (3, 32, 32)).backbone[0]  # type: ignore[index]
    theirs = getattr(torchvision.models, reference)(weights=None, num_classes=2).features.eval()
    # The layers stand in the same order, so one state fills the other.
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = images_of((3, 32, 32))
    torch.testing.assert_close(ours(images), theirs(images))


def test_resnet18_with_the_imagenet_stem_is_torchvisions() -> None:
    network = make("resnet18-imagenet", (3, 64, 64))
    theirs = torchvision.models.resnet18(weights=None, num_classes=10).eval()
    theirs.fc = network.head
    state = network.backbone.state_dict()
    theirs.load_state_dict(state, strict=False)
    assert {key for key in theirs.state_dict() if not key.startswith("fc.")} == set(state)
    images = images_of((3, 64, 64))
    torch.testing.assert_close(network(images), theirs(images))


def test_the_small_stem_of_resnet18_keeps_the_image_size() -> None:
    shapes: list[torch.Size] = []
    network = make("resnet18", (3, 32, 32))
    network.backbone.layer4.register_forward_hook(lambda *seen: shapes.append(seen[2].shape))  # type: ignore[union-attr]
    network(images_of((3, 32, 32)))
    assert shapes == [(2, 512, 4, 4)]


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        (
            "lenet",
            (3, 32, 32),
            convolution_parameters([3, 32, 32, 64], 5) + convolution_parameters([1024, 64, 10], 1),
        ),
        (
            "mnist4",
            (1, 28, 28),
            convolution_parameters([1, 32, 64], 5) + convolution_parameters([3136, 1024, 10], 1),
        ),
        (
            "conv5gap",
            (3, 32, 32),
            convolution_parameters([3, 64, 64, 128, 128, 256], 3) + convolution_parameters([256, 10], 1),
        ),
        (
            "nin",
            (3, 32, 32),
            convolution_parameters([3, 192], 5)
            + convolution_parameters([192, 160, 96], 1)
            + convolution_parameters([96, 192], 5)
            + convolution_parameters([192, 192, 192], 1)
            + convolution_parameters([192, 192], 3)
            + convolution_parameters([192, 192, 10], 1),
        ),
    ],
)
def test_the_small_networks_have_the_layers_of_their_docstrings(
    name: str, shape: tuple[int, int, int], expected: int
) -> None:
    assert parameters(make(name, shape)) == expected


@torch.no_grad()
def test_nin_equals_the_original_order_of_classes_and_average() -> None:
    network = make("nin", (3, 32, 32))
    maps = list(network.backbone.children())[:-2]  # without the average and the flattening
    images = images_of((3, 32, 32))
    per_pixel = F.conv2d(
        nn.Sequential(*maps)(images), network.head.weight[..., None, None], network.head.bias
    )
    torch.testing.assert_close(network(images), per_pixel.mean(dim=(2, 3)))


@pytest.mark.parametrize("shape", [(1, 7, 8), (3, 8, 4)])
def test_smaller_images_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match=f"at least 8x8 pixels, got {shape[1]}x{shape[2]}"):
        make("cnn6", shape)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 classes, got 1"):
        make("cnn6", classes=1)


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean resnet18"):
        make("resnet-18")


def wide_linear(input_shape: tuple[int, int, int], num_classes: int) -> Network:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], 7))
    return Network(backbone, nn.Linear(7, num_classes))


def not_a_network(input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    return nn.Linear(1, num_classes)


def test_plug_in_networks_are_given_as_module_and_function(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("others")
    module.__dict__.update(
        wide_linear=wide_linear,
        nothing=lambda input_shape, num_classes: 3,
        not_a_network=not_a_network,
        made=nn.Linear(1, 1),
    )
    monkeypatch.setitem(sys.modules, "others", module)
    assert make("others:wide_linear").num_features == 7
    for name, message in (
        ("nothing", r"returns a torch\.nn\.Module or a bench\.models\.Network, it returned int"),
        ("not_a_network", r"does not take images of shape \(1, 8, 8\)"),
        ("made", "expected a function that makes the network"),
    ):
        with pytest.raises(UserError, match=message):
            make(f"others:{name}")


class Lazy(nn.Sequential):
    def __init__(self, num_classes: int, width: int = 32) -> None:
        super().__init__(nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), nn.LazyLinear(num_classes))


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(10, 64))

    def forward(self, images: Tensor) -> Tensor:
        return F.linear(F.normalize(images.flatten(1)), F.normalize(self.directions))


@pytest.mark.parametrize(("network", "site"), [(Lazy, "pooled"), (Cosine, "none")])
def test_any_module_is_a_network_whose_weights_depend_on_the_seed(
    network: type[nn.Module], site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "others", ModuleType("others"))
    sys.modules["others"].network = network  # type: ignore[attr-defined]
    made = make("others:network", seed=1)
    images = images_of((1, 8, 8))
    assert made.site == site
    assert torch.equal(made(images), made.module(images))  # type: ignore[operator]
    assert same_weights(made, make("others:network", seed=1))
    assert not same_weights(made, make("others:network", seed=2))


def learn(name: str, data: Dataset, epochs: int) -> float:
    """Validation accuracy after training as the papers do: Adam 1e-3, batch 128."""
    network = build(
        name,
        input_shape=data.shape,
        num_classes=data.num_classes,
        mean=data.mean,
        std=data.std,
        seed=0,
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        network.train()
        for index in torch.randperm(len(data.train), generator=generator).split(128):
            images, labels = data.train.batch(index)
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        images, labels = data.validation.batch(slice(None))
        return (network(images).argmax(1) == labels).float().mean().item()


@pytest.mark.slow
def test_cnn6_learns_the_digits_in_five_epochs() -> None:
    assert learn("cnn6", load("digits"), 5) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epochs"),
    [
        pytest.param("vgg16", 7, marks=pytest.mark.long),
        pytest.param("vgg16-bn", 7, marks=pytest.mark.long),
        pytest.param("resnet18", 3, marks=pytest.mark.long),
        pytest.param("resnet18-imagenet", 4, marks=pytest.mark.long),
        ("lenet", 5),
        ("nin", 5),
        ("mnist4", 2),
        ("conv5gap", 2),
    ],
)
def test_every_network_learns_the_digits(name: str, epochs: int) -> None:
    torch.manual_seed(0)  # for dropout
    assert learn(name, load("digits"), epochs) > 0.5
