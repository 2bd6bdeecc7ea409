import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.core.classifier import WrappedClassifier
from metrics.evaluation import NotMeasurable
from metrics.regions.major_region import MajorRegion
from tests.metrics.toys import empty, evaluate, identity, split
from tests.records import make_record


def measure(points, labels, classes=2):
    train = split(points, labels)
    weight = np.zeros((classes, train.images.shape[-1]))
    return MajorRegion().measure(evaluate(train, train, identity(train.images.shape[-1], weight)))


def values(arrays):
    return {name: score.value for name, score in MajorRegion().reduce(arrays).items()}


#: Class 0: three in (+, +), one in (+, −). Class 1: one in (+, +), two in (−, −).
POINTS = [[0.1, 0.1], [0.2, 0.3], [0.3, 0.1], [0.1, -0.1], [0.1, 0.2], [-0.1, -0.1], [-0.3, -0.2]]
LABELS = [0, 0, 0, 0, 1, 1, 1]


def test_shares_and_counts_of_a_toy_by_hand():
    arrays = measure(POINTS, LABELS)
    found = values(arrays)
    assert found == {
        "major_region/share": 5 / 7,
        "major_region/smallest_class": 2 / 3,
        "major_region/largest_class": 3 / 4,
        "major_region/regions": 3,
        "major_region/major_regions": 2,
        "major_region/extra_regions": 1,
    }
    spread = sorted(zip(arrays["region_class"].tolist(), arrays["region_size"].tolist(), strict=True))
    assert spread == [(0, 1), (0, 3), (1, 1), (1, 2)]


def test_classes_may_share_a_major_region():
    found = values(measure([[0.1], [0.2], [0.3]], [0, 1, 1]))
    assert found["major_region/major_regions"] == 1
    assert found["major_region/extra_regions"] == 0
    assert found["major_region/share"] == 1


def test_where_every_image_is_alone_each_class_has_a_major_region_of_one():
    found = values(measure([[0.1, 0.1], [-0.1, 0.1], [0.1, -0.1], [-0.1, -0.1]], [0, 0, 1, 1]))
    assert found["major_region/share"] == 0.5
    assert found["major_region/regions"] == 4


def test_a_class_without_images_is_left_out_and_named():
    arrays = measure(POINTS, LABELS, classes=4)
    assert arrays["major_size"].tolist() == [3, 2, 0, 0]
    assert values(arrays)["major_region/smallest_class"] == 2 / 3
    assert "2 classes have no training image" in MajorRegion().reduce(arrays)["major_region/share"].reason
    assert MajorRegion().charts(arrays, make_record())


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2)), min_size=1, max_size=25))
def test_shares_are_those_of_a_count_by_hand(rows):
    points = [[0.1 if first else -0.1, 0.1 if second else -0.1] for first, second, _ in rows]
    labels = [label for *_, label in rows]
    majors = {
        label: max(sum(row[:2] == other[:2] and row[2] == label for row in rows) for other in rows)
        for label in set(labels)
    }
    found = values(measure(points, labels, classes=3))
    assert found["major_region/share"] == pytest.approx(sum(majors.values()) / len(rows))
    assert found["major_region/regions"] == len({row[:2] for row in rows})


def test_the_chart_shows_major_and_extra_images_and_every_region_of_a_class():
    arrays = measure(POINTS, LABELS)
    (chart,) = MajorRegion().charts(arrays, make_record(dataset={"classes": ["cat", "dog"]}))
    major, extra = chart.panels[0].marks
    assert (major.categories, major.values, extra.values) == (["cat", "dog"], [3, 2], [1, 1])
    assert (major.stacked, extra.stacked) == (True, True)
    assert [line.y for line in chart.panels[1].marks] == [[3, 1], [2, 1]]
    assert not any(line.markers for line in chart.panels[1].marks)


def test_without_features_or_images_there_are_no_regions():
    softmax = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.Softmax(dim=1))
    train = split(POINTS, LABELS)
    with pytest.raises(NotMeasurable, match="feature layer"):
        MajorRegion().measure(evaluate(train, train, WrappedClassifier(softmax, (1, 1, 2), 2)))
    with pytest.raises(NotMeasurable, match="empty"):
        MajorRegion().measure(evaluate(empty(2), train))


def test_the_order_of_images_does_not_matter():
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3)).tolist()
    assert values(measure(POINTS, LABELS)) == values(
        measure([POINTS[i] for i in order], [LABELS[i] for i in order])
    )
