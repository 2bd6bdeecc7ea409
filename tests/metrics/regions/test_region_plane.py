from dataclasses import replace

import numpy as np
import pytest
import torch

from metrics.evaluation import NotMeasurable
from metrics.regions.region_plane import RegionPlane
from tests.metrics.surface.networks import LABELS, POINTS, Constant, Sums, data, network, run, wrapped
from tests.metrics.toys import evaluate, identity, split


def test_a_plane_needs_a_feature_layer():
    with pytest.raises(NotMeasurable, match="feature layer"):
        RegionPlane().measure(wrapped(Sums(), data(classes=2), 2))


def test_regions_of_an_identity_network_are_the_quadrants_of_its_plane():
    corners = split([[-0.4, -0.4], [0.4, -0.4], [-0.4, 0.4]], [0, 1, 2])
    weight = [[-1, -1], [1, 0], [0, 1]]
    evaluation = evaluate(corners, corners, identity(2, weight))
    arrays, scores, (chart,) = run(RegionPlane(planes=1, resolution=10), evaluation)
    assert scores["region_plane"].value == 4
    assert scores["region_plane"].n == 1
    # One training image a class.
    assert scores["region_plane/training"].value is None
    assert "among 3" in scores["region_plane/training"].reason
    assert sorted(arrays["label"][0].tolist()) == [0, 1, 2]
    assert len(set(arrays["corner_region"][0].tolist())) == 3
    regions, own, classes = (panel.marks[0] for panel in chart.panels)
    assert np.array_equal(regions.z, arrays["region"][0])
    assert np.array_equal(classes.z, arrays["predicted"][0])
    for number, region in enumerate(arrays["corner_region"][0], 1):
        assert np.array_equal(np.array(own.z) == number, arrays["region"][0] == region)
    assert len(own.names) == 4
    assert (regions.neutral, own.neutral, classes.neutral) == (None, 0, None)


def test_the_images_of_a_plane_are_of_three_classes_where_there_are_three():
    evaluation = wrapped(network((1, 4, 5), 4), data(classes=4, count=30), 4)
    arrays = RegionPlane(planes=6, resolution=2).measure(evaluation)
    assert all(len(set(labels)) == 3 for labels in arrays["label"].tolist())
    assert len({tuple(index) for index in arrays["test_index"].tolist()}) > 1
    few = wrapped(network((1, 4, 5), 2), data(classes=2, count=30), 2)
    arrays = RegionPlane(planes=6, resolution=2).measure(few)
    assert all(len(set(labels)) == 2 for labels in arrays["label"].tolist())
    assert all(len(set(index)) == 3 for index in arrays["test_index"].tolist())


def test_planes_through_training_images_are_of_one_class_and_charts_say_which_images_they_are():
    train = data(classes=4, count=20, seed=1)
    evaluation = wrapped(network((1, 4, 5), 4), data(classes=4, count=9), 4)
    alone = RegionPlane(planes=3, resolution=5).measure(evaluation)
    evaluation.dataset = replace(evaluation.dataset, train=train)
    arrays, scores, charts = run(RegionPlane(planes=3, resolution=5), evaluation)
    test_planes = [name for name in alone if not name.startswith("training/")]
    assert all(np.array_equal(arrays[name], alone[name]) for name in test_planes)
    index, labels = arrays["training/index"], arrays["training/label"]
    assert index.shape == (3, 3)
    assert np.array_equal(labels, train.labels.numpy()[index])
    assert all(len(set(own)) == 1 for own in labels.tolist())
    assert all(len(set(own)) == 3 for own in index.tolist())
    assert scores["region_plane/training"].value == arrays["training/count"].mean()
    assert scores["region_plane/training"].n == 3
    assert len({chart.name for chart in charts}) == 6
    shown = charts[3]
    assert "three training images of one class" in shown.title
    expected = f"Training images {', '.join(map(str, index[0].tolist()))}, all of class class {labels[0, 0]}"
    assert expected in shown.caption
    assert shown.panels[0].marks[1].labels == [f"image {at}" for at in index[0]]
    # The corners of the plane are the images themselves.
    images, _ = train.batch(torch.from_numpy(index[0]))
    distance = (images[1] - images[0]).norm().item()
    assert np.linalg.norm(np.diff(arrays["training/corner"][0, :2], axis=0)) == pytest.approx(distance)


def test_images_that_share_a_region_share_its_name():
    evaluation = wrapped(Constant(3), data(), 3)
    arrays, _, charts = run(RegionPlane(planes=1, resolution=4), evaluation)
    index = arrays["training/index"][0]
    heatmap = charts[1].panels[1].marks[0]
    assert heatmap.names[1] == "of " + " and ".join(f"image {at}" for at in index)
    assert np.all(np.array(heatmap.z) == 1)


def test_without_training_images_the_planes_of_test_images_are_measured_alone():
    evaluation = wrapped(network((1, 4, 5), 3), data(), 3)
    evaluation.dataset = replace(evaluation.dataset, train=evaluation.dataset.train.take(0))
    _, scores, charts = run(RegionPlane(planes=2, resolution=5), evaluation)
    assert scores["region_plane"].value is not None
    assert scores["region_plane/training"].value is None
    assert scores["region_plane/training"].reason == "there are no training images"
    assert len(charts) == 2


def test_images_on_a_line_or_too_few_span_no_plane():
    line = split([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]], [0, 1, 1])
    for images in (line, split(POINTS[:2], LABELS[:2])):
        with pytest.raises(NotMeasurable, match="span a plane"):
            RegionPlane().measure(evaluate(images, images))
