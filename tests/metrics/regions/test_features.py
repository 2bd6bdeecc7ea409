import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.data import Split
from bench.models import build
from bench.testing import tiny_classifier, tiny_dataset
from metrics.evaluation import NotMeasurable
from metrics.regions.features import Features, embed
from tests.metrics.toys import empty, evaluate, split
from tests.records import make_record

RECORD = make_record(dataset={"classes": ["one", "two", "three"]})


def small(classifier=None, size=24, **settings):
    dataset = tiny_dataset(size=size)
    evaluation = evaluate(dataset.train, dataset.test, classifier or tiny_classifier().eval(), batch_size=10)
    metric = Features(**settings)
    return evaluation, metric, metric.measure(evaluation)


def test_the_score_is_the_mean_silhouette_of_the_features():
    evaluation, metric, arrays = small()
    images, labels = evaluation.dataset.train.batch(slice(None))
    with torch.no_grad():
        features = evaluation.classifier.features(images).numpy()
    score = metric.reduce(arrays)["features/silhouette"]
    assert score.value == pytest.approx(silhouette_score(features, labels.numpy()), abs=1e-6)
    assert score.low < score.value < score.high
    assert score.n == 24


def test_no_more_images_are_mapped_than_asked_for():
    assert len(small(images=12)[2]["embedding"]) == 12


def test_separate_clusters_stay_separate_in_the_plane():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    features = generator.normal(size=(60, 8)) + 40 * labels[:, None]
    assert silhouette_score(embed(features, 0), labels) > 0.5


def test_the_same_seed_gives_the_same_map():
    features = np.random.default_rng(0).normal(size=(30, 5))
    assert np.array_equal(embed(features, 3), embed(features, 3))


@pytest.mark.parametrize("columns", [1, 4])
def test_features_on_a_line_or_a_point_have_a_map_too(columns):
    line = np.outer(np.arange(12.0), np.ones(columns))
    assert np.isfinite(embed(line, 0)).all()
    assert not embed(np.ones((12, columns)), 0).any()


def test_feature_maps_are_the_first_channels_of_the_first_activations():
    classifier = build("cnn6", input_shape=(1, 8, 8), num_classes=3, seed=0).eval()
    evaluation, metric, arrays = small(classifier, layers=2, channels=3)
    assert arrays["map_layer"].tolist() == ["backbone.0.1", "backbone.0.3"]
    with torch.no_grad():
        normalised = (evaluation.images[:1] - classifier.mean) / classifier.std
        expected = classifier.backbone[0][:2](normalised)[0, :3]
    assert np.array_equal(arrays["map_0"], expected.numpy())
    maps, _ = metric.charts(arrays, RECORD)
    assert [panel.title.split(":")[0] for panel in maps.panels] == ["input", "backbone.0.1", "backbone.0.3"]
    assert np.allclose(maps.panels[1].marks[0].values, arrays["map_0"])


@pytest.mark.parametrize("dead", [1, 3])
def test_a_dead_map_says_so_and_is_drawn_at_the_zero_end_of_its_layers_scale(dead):
    classifier = build("cnn6", input_shape=(1, 8, 8), num_classes=3, seed=0).eval()
    with torch.no_grad():
        classifier.backbone[0][0].weight[:dead] = 0
        classifier.backbone[0][0].bias[:dead] = -1
        classifier.backbone[0][0].bias[dead:] = 1
    _, metric, arrays = small(classifier, layers=1, channels=3)
    maps, _ = metric.charts(arrays, RECORD)
    panel = maps.panels[1]
    (tiles,) = panel.marks
    assert f"{dead} of 3 maps dead" in panel.title
    assert [caption.endswith("dead") for caption in tiles.captions] == [k < dead for k in range(3)]
    assert not np.any(tiles.values[0])
    assert tiles.low == 0 < tiles.high
    assert tiles.high == pytest.approx(max(np.max(tiles.values), 0) or 1)


def test_a_network_without_convolutions_has_a_space_but_no_maps():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3))
    _, metric, arrays = small(WrappedClassifier(network, (1, 8, 8), 3).eval())
    assert "map_layer" not in arrays
    assert [chart.name for chart in metric.charts(arrays, RECORD)] == ["regions-feature-space"]


def test_a_network_without_features_has_maps_but_no_space():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3), nn.Softmax(dim=1))
    _, metric, arrays = small(WrappedClassifier(network, (1, 8, 8), 3).eval())
    score = metric.reduce(arrays)["features/silhouette"]
    assert score.value is None
    assert "feature layer" in score.reason
    assert arrays["map_layer"].tolist() == ["0"]
    assert [chart.name for chart in metric.charts(arrays, RECORD)] == ["regions-feature-maps"]


def test_with_neither_it_is_not_measurable():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.Softmax(dim=1))
    images = split([[0.1, 0.2]], [0])
    with pytest.raises(NotMeasurable, match="neither"):
        Features().measure(evaluate(images, images, WrappedClassifier(network, (1, 1, 2), 2).eval()))


def test_dead_features_one_class_and_few_images_give_defined_results():
    classifier = tiny_classifier().eval()
    with torch.no_grad():
        for parameter in classifier.backbone.parameters():
            parameter.zero_()
    _, metric, arrays = small(classifier)
    assert not arrays["embedding"].any()
    assert metric.reduce(arrays)["features/silhouette"].value == 0

    dataset = tiny_dataset()
    same = Split(dataset.train.images, torch.zeros_like(dataset.train.labels))
    one_class = metric.measure(evaluate(same, dataset.test, tiny_classifier().eval()))
    assert len(one_class["embedding"]) == 24
    assert metric.reduce(one_class)["features/silhouette"].reason

    few = metric.measure(evaluate(dataset.train.take(4), dataset.test, tiny_classifier().eval()))
    assert len(few["embedding"]) == 0
    assert "map_layer" in few


def test_points_are_coloured_by_class_and_large_images_are_thinned_out():
    _, metric, arrays = small()
    chart = metric.charts(arrays, RECORD)[-1]
    assert [mark.name for mark in chart.panels[0].marks] == ["one", "two", "three"]
    assert sum(len(mark.x) for mark in chart.panels[0].marks) == 24
    large = {**arrays, "image": np.zeros((3, 200, 100), np.float32)}
    picture = metric.charts(large, RECORD)[0].panels[0].marks[0]
    assert np.shape(picture.values) == (1, 50, 25, 3)


@pytest.mark.parametrize("wrong", ["images", "layers", "channels"])
def test_mistakes_are_told(wrong):
    with pytest.raises(UserError, match="at least 1"):
        Features(**{wrong: 0})


def test_no_image_at_all_is_not_measurable():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(NotMeasurable):
        Features().measure(evaluate(empty(2), empty(2), WrappedClassifier(network, (1, 1, 2), 2).eval()))
