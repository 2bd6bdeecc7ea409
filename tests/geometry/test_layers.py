import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torch.nn import functional as F

from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.errors import UserError
from bench.geometry.layers import PENULTIMATE, find_layers, observe, pick_layers, shorten
from bench.geometry.regions import count_regions
from bench.models import build

SHAPE = (1, 8, 8)


def images(count=3):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def layers_of(classifier, kind):
    return [layer for layer in find_layers(classifier, images(1)) if layer.kind == kind]


def watch(classifier, layers, batches):
    """Outputs of the layers, copied as they are shown."""
    seen = {layer.name: [] for layer in layers}
    observe(classifier, layers, batches, lambda layer, output: seen[layer.name].append(output.clone()))
    return {name: torch.cat(parts) for name, parts in seen.items()}


class Functional(nn.Module):
    """Calls one layer twice and writes its activations as functions, one of them in place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
        self.head = nn.Linear(5, 3)

    def forward(self, images):
        first = F.relu(self.conv(images))
        second = torch.relu_(self.conv(first))
        return self.head(self.inner(second).tanh())


class InPlace(nn.Module):
    """A ReLU in place right behind a convolution, and a batch norm that reads what it left."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(2), nn.Flatten())
        self.head = nn.Linear(72, 3)

    def forward(self, images):
        return self.head(self.body(images))


def test_linear_layers_of_cnn6_are_its_convolutions_and_hidden_layers_without_the_head():
    classifier = build("cnn6", input_shape=SHAPE, num_classes=3, seed=0).eval()
    layers = layers_of(classifier, "linear")
    assert [layer.shape[0] for layer in layers] == [32, 64, 128, 128, 64, 64, 512, 128]
    assert all(layer.site == layer.name for layer in layers)
    assert len(layers_of(classifier, "activation")) == 8


def test_the_last_linear_layer_of_a_pre_activation_network_gives_its_features():
    classifier = build("cnn6", input_shape=SHAPE, num_classes=3, seed=0).eval()
    (last,) = layers_of(classifier, "linear")[-1:]
    with torch.no_grad():
        assert torch.equal(watch(classifier, [last], [images()])[last.name], classifier.features(images()))


def test_batch_norm_directly_behind_a_convolution_belongs_to_it():
    classifier = build("resnet18", input_shape=SHAPE, num_classes=3, seed=0).eval()
    layers = layers_of(classifier, "linear")
    assert len(layers) == 20
    assert all(layer.site != layer.name for layer in layers)
    (first,) = pick_layers(layers, ["backbone.conv1"])
    network = classifier.backbone
    with torch.no_grad():
        expected = network.bn1(network.conv1(images()))
        assert torch.equal(watch(classifier, [first], [images()])["backbone.conv1"], expected)


def test_every_call_of_a_shared_activation_is_a_layer_of_its_own():
    classifier = build("resnet18", input_shape=SHAPE, num_classes=3, seed=0).eval()
    names = [layer.name for layer in layers_of(classifier, "activation")]
    assert len(names) == len(set(names)) == 17
    assert {"backbone.layer1.0.relu", "backbone.layer1.0.relu:2"} <= set(names)


def test_pooled_features_come_last_and_are_what_the_head_reads():
    classifier = build("resnet18", input_shape=SHAPE, num_classes=3, seed=0).eval()
    last = find_layers(classifier, images(1))[-1]
    assert (last.name, last.kind, last.shape) == (PENULTIMATE, "penultimate", (512,))
    with torch.no_grad():
        assert torch.equal(watch(classifier, [last], [images()])[PENULTIMATE], classifier.features(images()))


def test_functions_and_second_calls_are_seen_in_a_network_written_elsewhere():
    network = Functional().eval()
    classifier = WrappedClassifier(network, SHAPE, 3).eval()
    found = find_layers(classifier, images(1))
    assert [layer.name for layer in found if layer.kind == "linear"] == ["conv", "conv:2", "inner.1"]
    activations = [layer for layer in found if layer.kind == "activation"]
    assert [layer.name for layer in activations] == ["relu", "relu:2", "tanh"]
    with torch.no_grad():
        seen = watch(classifier, found, [images()])
        first = network.conv(images())
        second = network.conv(first.relu())
        assert torch.equal(seen["conv"], first)
        assert torch.equal(seen["relu"], first.relu())
        assert torch.equal(seen["conv:2"], second)
        assert torch.equal(seen["relu:2"], second.relu())
        assert torch.equal(seen["tanh"], network.inner(second.relu()).tanh())


def test_an_activation_module_is_seen_once_although_it_calls_a_function():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3))
    found = find_layers(WrappedClassifier(network, SHAPE, 3).eval(), images(1))
    assert [layer.name for layer in found if layer.kind == "activation"] == ["2"]


def test_a_convolution_is_shown_before_an_activation_in_place_overwrites_it():
    network = InPlace().eval()
    classifier = WrappedClassifier(network, SHAPE, 3).eval()
    (layer,) = layers_of(classifier, "linear")
    # The batch norm gets the very tensor that the convolution gave, but a rectified one.
    assert layer.site == "body.0"
    with torch.no_grad():
        seen = watch(classifier, [layer], [images()])["body.0"]
        assert torch.equal(seen, network.body[0](images()))
        assert (seen < 0).any()


def test_a_head_that_is_the_whole_network_leaves_no_linear_layer():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    found = find_layers(WrappedClassifier(network, SHAPE, 3).eval(), images(1))
    assert [layer.kind for layer in found] == ["other", "penultimate"]


def test_a_network_without_a_final_linear_layer_still_has_layers():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softmax(dim=1))
    classifier = WrappedClassifier(network, SHAPE, 3).eval()
    assert [layer.name for layer in layers_of(classifier, "linear")] == ["1"]
    assert layers_of(classifier, "penultimate") == []


def test_observing_changes_neither_the_network_nor_its_output():
    classifier = build("cnn6", input_shape=SHAPE, num_classes=3, seed=0).eval()
    before = copy.deepcopy(classifier.state_dict())
    with torch.no_grad():
        expected = classifier(images())
        layers = find_layers(classifier, images(1))
        watch(classifier, layers, images(4).split(2))
        assert torch.equal(classifier(images()), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.modules())


def test_hooks_are_removed_when_a_look_fails():
    classifier = build("cnn6", input_shape=SHAPE, num_classes=3, seed=0).eval()
    layers = find_layers(classifier, images(1))

    def fail(layer, output):
        raise KeyError(layer.name)

    with pytest.raises(KeyError):
        observe(classifier, layers, [images()], fail)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.modules())


def test_an_unknown_layer_is_told_with_the_nearest_and_all_that_exist():
    head = nn.Linear(4, 2)
    classifier = Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
        head,
        activation=nn.ReLU(),
        site="pre-activation",
        input_shape=SHAPE,
    ).eval()
    layers = find_layers(classifier, images(1))
    with pytest.raises(
        UserError, match=r"'backbone\.2'; did you mean .*backbone\.1.*; |this network has"
    ) as told:
        pick_layers(layers, ["backbone.2"])
    for layer in layers:
        assert layer.name in str(told.value)
    assert "did you mean" in str(told.value)
    with pytest.raises(UserError, match="unknown layer 'xyz'; this network has backbone"):
        pick_layers(layers, ["xyz"])


def test_picked_layers_come_in_the_order_in_which_they_run():
    classifier = build("cnn6", input_shape=SHAPE, num_classes=3, seed=0).eval()
    layers = find_layers(classifier, images(1))
    names = [layer.name for layer in pick_layers(layers, ["backbone.4", "backbone.0.0"])]
    assert names == ["backbone.0.0", "backbone.4"]


@given(arrays(np.uint64, st.tuples(st.integers(1, 20), st.integers(1, 5)), elements=st.integers(0, 1)))
def test_shortened_rows_are_equal_exactly_where_the_rows_are(rows):
    short = shorten(rows)
    assert short.shape == (len(rows), min(rows.shape[1], 2))
    assert count_regions(short) == len(np.unique(rows, axis=0))
    same = (rows[:, None] == rows[None]).all(axis=2)
    assert np.array_equal((short[:, None] == short[None]).all(axis=2), same)
