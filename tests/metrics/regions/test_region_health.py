import math

import pytest

from metrics.regions.prs_ratio import PRSRatio
from metrics.regions.region_health import RegionHealth
from tests.metrics.regions.quadrants import QUADRANTS, evaluate, scores, split


def test_dead_units_have_prs_ratio_one_over_n_no_live_unit_and_no_entropy():
    dead = split([[-1, -1, -1]] * 5, [0, 1, 1, 1, 0])
    evaluation = evaluate(dead, dead)
    assert scores(PRSRatio(), evaluation)["prs_ratio"].value == 1 / 5
    health = scores(RegionHealth(), evaluation)
    assert health["region_health/live_units"].value == 0
    assert health["region_health/entropy"].value == 0
    assert health["region_health/purity"].value == 3 / 5


def test_region_health_of_four_points_in_three_quadrants():
    health = scores(RegionHealth(), evaluate(QUADRANTS, QUADRANTS))
    assert health["region_health/live_units"].value == 1
    assert health["region_health/entropy"].value == pytest.approx(0.5 * math.log(2) + 2 * 0.25 * math.log(4))
    assert health["region_health/entropy"].unit == "nats"
    assert health["region_health/purity"].value == 1


def test_entropy_is_the_log_of_the_size_where_every_image_is_alone():
    alone = split([[1, 1], [-1, 1], [1, -1], [-1, -1]], [0, 0, 1, 1])
    assert scores(RegionHealth(), evaluate(alone, alone))["region_health/entropy"].value == pytest.approx(
        math.log(4)
    )
