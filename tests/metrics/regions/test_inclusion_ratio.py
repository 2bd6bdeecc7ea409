from bench.core.intervals import proportion_interval
from metrics.regions.inclusion_ratio import InclusionRatio
from tests.metrics.regions.quadrants import QUADRANTS, evaluate, scores, split


def test_a_pattern_seen_only_in_another_class_counts_as_included_but_not_in_its_own():
    # z_0 > 0, so the test image is predicted as class 1, where its pattern does occur.
    train, test = split([[1, 1], [-1, -1]], [1, 0]), split([[1, 1]], [0])
    result = scores(InclusionRatio(), evaluate(train, test))
    assert result["inclusion_ratio"].value == 1
    assert result["inclusion_ratio/true_label"].value == 0
    assert result["inclusion_ratio/pred_label"].value == 1


def test_inclusion_ratio_is_over_the_whole_test_set_with_its_interval():
    test = split([[1, 1], [1, -1], [-1, -1], [1, -1], [-1, 1]], [0, 0, 1, 1, 1])
    evaluation = evaluate(QUADRANTS, test)
    arrays = InclusionRatio().measure(evaluation)
    assert arrays["included"].tolist() == [True, False, True, False, True]
    score = InclusionRatio().reduce(arrays)["inclusion_ratio"]
    assert (score.value, score.n) == (3 / 5, 5)
    assert (score.low, score.high) == proportion_interval(3, 5)
    assert evaluation.forwards == len(QUADRANTS) + len(test)


def test_every_training_image_is_included_in_its_own_regions():
    arrays = InclusionRatio().measure(evaluate(QUADRANTS, QUADRANTS))
    assert arrays["included"].all()
    assert arrays["included_true_label"].all()
