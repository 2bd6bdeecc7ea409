import numpy as np
import pytest
import torch
from torch import nn

from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.errors import UserError
from bench.models import build
from bench.testing import tiny_dataset
from metrics.evaluation import NotMeasurable
from metrics.regions.prs_by_layer import PRSByLayer
from metrics.regions.prs_ratio import PRSRatio
from metrics.regions.sparsity import Sparsity
from tests.metrics.toys import Counting, empty, evaluate, split
from tests.records import make_record

QUADRANTS = split([[0.4, 0.4], [0.2, 0.4], [-0.4, 0.4], [-0.4, -0.4]], [1, 1, 0, 0])


def two_layers(first, second):
    """Z = second · relu(first · (x − 1/2)), with a head that nobody looks at."""
    layers = [nn.Linear(2, len(first), bias=False), nn.Linear(len(first), len(second), bias=False)]
    with torch.no_grad():
        for layer, weight in zip(layers, (first, second), strict=True):
            layer.weight.copy_(torch.tensor(weight))
    return Classifier(
        nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1]),
        nn.Linear(len(second), 2),
        activation=nn.ReLU(),
        site="pre-activation",
        input_shape=(1, 1, 2),
        mean=[0.5],
    ).eval()


IDENTITY_THEN_DEAD = two_layers([[1.0, 0.0], [0.0, 1.0]], [[-1.0, -1.0]])


def scores(metric, evaluation):
    return metric.reduce(metric.measure(evaluation))


def test_each_layer_has_the_ratio_of_its_own_patterns():
    result = scores(PRSByLayer(), evaluate(QUADRANTS, QUADRANTS, IDENTITY_THEN_DEAD))
    values = {name: score.value for name, score in result.items()}
    # Three of four quadrants in the first layer; −(x⁺ + y⁺) > 0 never holds, so the second has one region.
    assert values == {
        "prs_by_layer": 0.5,
        "prs_by_layer/backbone.1": 0.75,
        "prs_by_layer/backbone.3": 0.25,
    }
    assert all(score.n == 4 and score.low is None for score in result.values())


def test_sparsity_is_the_mean_over_layers_of_exact_zeros():
    result = scores(Sparsity(), evaluate(QUADRANTS, QUADRANTS, IDENTITY_THEN_DEAD))
    # Of x⁺ and y⁺ three of eight are zero; behind the second layer all are.
    assert result["sparsity/backbone.2"].value == 3 / 8
    assert result["sparsity/activation"].value == 1
    assert result["sparsity"].value == (3 / 8 + 1) / 2
    assert result["sparsity"].n == 4


def test_a_chosen_layer_is_measured_alone_and_an_unknown_one_is_told():
    evaluation = evaluate(QUADRANTS, QUADRANTS, IDENTITY_THEN_DEAD)
    assert PRSByLayer(layers=("backbone.3",)).measure(evaluation)["layer"].tolist() == ["backbone.3"]
    with pytest.raises(UserError, match=r"unknown layer 'backbone\.9'.*backbone\.3"):
        PRSByLayer(layers=("backbone.9",)).measure(evaluation)


@pytest.mark.parametrize("name", ["cnn6", "resnet18"])
def test_the_last_layer_has_the_prs_ratio_of_the_network(name):
    dataset = tiny_dataset(size=40)
    evaluation = evaluate(
        dataset.train,
        dataset.test,
        build(name, input_shape=dataset.shape, num_classes=3, seed=0).eval(),
        batch_size=16,
    )
    ratios = list(scores(PRSByLayer(), evaluation).values())
    assert ratios[-1].value == scores(PRSRatio(), evaluation)["prs_ratio"].value


def test_wide_layers_are_counted_as_their_whole_patterns_are():
    dataset = tiny_dataset(size=30)
    repeated = torch.arange(30) % 7
    train = type(dataset.train)(dataset.train.images[repeated], dataset.train.labels[repeated])
    classifier = build("cnn6", input_shape=dataset.shape, num_classes=3, seed=0).eval()
    result = scores(PRSByLayer(layers=("backbone.0.0",)), evaluate(train, dataset.test, classifier))
    with torch.no_grad():
        patterns = classifier.backbone[0][0](train.batch(slice(None))[0]).flatten(1) > 0
    assert result["prs_by_layer"].value == len(np.unique(patterns.numpy(), axis=0)) / 30


@pytest.mark.parametrize("metric", [PRSByLayer(), Sparsity()], ids=lambda metric: metric.name)
def test_batches_do_not_matter_and_every_pass_is_counted(metric):
    network = nn.Sequential(Counting(nn.Flatten()), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    classifier = WrappedClassifier(network, (1, 1, 2), 2).eval()
    results = []
    for batch_size in (1, 3, 100):
        evaluation = evaluate(QUADRANTS, QUADRANTS, classifier, batch_size=batch_size)
        network[0].seen = 0
        results.append(metric.measure(evaluation))
        assert evaluation.forwards == network[0].seen == 5
    for name, array in results[0].items():
        assert all(np.array_equal(array, other[name]) for other in results[1:])


@pytest.mark.parametrize("kind", [PRSByLayer, Sparsity])
def test_fewer_training_images_are_drawn_once_each_and_more_are_taken_as_they_are(kind):
    evaluation = evaluate(QUADRANTS, QUADRANTS, IDENTITY_THEN_DEAD)
    assert scores(kind(train_images=3), evaluation)[kind.name].n == 3
    assert scores(kind(train_images=9), evaluation)[kind.name].n == 4
    with pytest.raises(UserError, match="train_images=0"):
        kind(train_images=0)


def test_layers_of_a_network_without_a_final_linear_layer_are_measured_all_the_same():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Softmax(dim=1))
    evaluation = evaluate(QUADRANTS, QUADRANTS, WrappedClassifier(network, (1, 1, 2), 2).eval())
    assert "prs_by_layer/1" in scores(PRSByLayer(), evaluation)
    assert "sparsity/2" in scores(Sparsity(), evaluation)


def test_without_layers_activations_or_images_there_is_nothing_to_measure():
    class Raw(nn.Module):
        def forward(self, images):
            return images.flatten(1)

    raw = evaluate(QUADRANTS, QUADRANTS, WrappedClassifier(Raw(), (1, 1, 2), 2).eval())
    with pytest.raises(NotMeasurable, match="no convolution"):
        PRSByLayer().measure(raw)
    with pytest.raises(NotMeasurable, match="no activation"):
        Sparsity().measure(raw)
    for metric in (PRSByLayer(), Sparsity()):
        with pytest.raises(NotMeasurable, match="empty"):
            metric.measure(evaluate(empty(2), QUADRANTS, IDENTITY_THEN_DEAD))


@pytest.mark.parametrize("metric", [PRSByLayer(), Sparsity()], ids=lambda metric: metric.name)
def test_the_chart_has_a_bar_for_each_layer(metric):
    arrays = metric.measure(evaluate(QUADRANTS, QUADRANTS, IDENTITY_THEN_DEAD))
    (chart,) = metric.charts(arrays, make_record())
    bars = chart.panels[0].marks[0]
    assert [name.split(". ")[1] for name in bars.categories] == arrays["layer"].tolist()
    assert bars.values == [metric.reduce(arrays)[f"{metric.name}/{name}"].value for name in arrays["layer"]]
