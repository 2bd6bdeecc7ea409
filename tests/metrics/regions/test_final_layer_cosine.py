import numpy as np
import pytest
import torch
from torch import nn

from bench.core.classifier import WrappedClassifier
from metrics.evaluation import NotMeasurable
from metrics.regions.final_layer_cosine import FinalLayerCosine
from tests.metrics.toys import evaluate, identity, split
from tests.records import make_record

IMAGES = split([[0.1, 0.2, 0.3]], [0])


def measure(weight):
    return FinalLayerCosine().measure(evaluate(IMAGES, IMAGES, identity(3, weight)))


def test_orthogonal_classes_have_cosine_zero_and_equal_ones_one():
    score = FinalLayerCosine().reduce(measure(np.eye(3)))["final_layer_cosine"]
    assert (score.value, score.n) == (0, 3)
    assert FinalLayerCosine().reduce(measure(np.ones((4, 3))))["final_layer_cosine"].value == pytest.approx(1)


def test_the_bias_is_left_out():
    classifier = identity(3, np.eye(3))
    with torch.no_grad():
        classifier.head.bias.fill_(100)
    arrays = FinalLayerCosine().measure(evaluate(IMAGES, IMAGES, classifier))
    assert np.array_equal(arrays["cosine"], np.eye(3))


def test_dead_rows_give_a_number_and_are_named():
    score = FinalLayerCosine().reduce(measure(np.zeros((2, 3))))["final_layer_cosine"]
    assert score.value == 0
    assert "2 rows are zero" in score.reason


def test_no_image_passes_the_network():
    evaluation = evaluate(IMAGES, IMAGES, identity(3, np.eye(3)))
    FinalLayerCosine().measure(evaluation)
    assert evaluation.forwards == 0


def test_without_a_final_linear_layer_it_is_not_measurable():
    softmax = nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.Softmax(dim=1))
    with pytest.raises(NotMeasurable, match="no linear layer"):
        FinalLayerCosine().measure(evaluate(IMAGES, IMAGES, WrappedClassifier(softmax, (1, 1, 3), 2)))


@pytest.mark.parametrize(("classes", "shown"), [(2, 2), (150, 100)])
def test_the_heat_map_shows_the_matrix_and_of_many_classes_the_first(classes, shown):
    arrays = measure(np.random.default_rng(0).normal(size=(classes, 3)))
    (chart,) = FinalLayerCosine().charts(
        arrays, make_record(dataset={"classes": [f"c{i}" for i in range(classes)]})
    )
    (heatmap,) = chart.panels[0].marks
    assert np.allclose(heatmap.z, arrays["cosine"][:shown, :shown])
    assert ("first 100 of 150" in chart.caption) == (classes > 100)
