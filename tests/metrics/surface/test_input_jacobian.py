import numpy as np
import pytest

from bench.charts import Tiles
from bench.core.intervals import proportion_interval
from metrics.surface.input_jacobian import InputJacobian
from tests.metrics.surface.networks import MARGINS, TEST, data, network, run, wrapped
from tests.metrics.toys import evaluate


def test_the_jacobian_of_a_linear_network_by_hand():
    evaluation = evaluate(TEST, TEST)
    arrays, scores, charts = run(InputJacobian(shown=2), evaluation)
    # J = ±(1, 0): the norms are 1, half of the entries are zero, and the margin is L/ε.
    assert [scores[name].value for name in ("input_jacobian", "input_jacobian/l2")] == [1, 1]
    assert scores["input_jacobian/near_zero"].value == 0.5
    assert arrays["first_order_margin"] == pytest.approx(MARGINS / 0.1, abs=1e-5)
    assert scores["input_jacobian/first_order_margin"].value == pytest.approx(
        np.median(MARGINS) / 0.1, abs=1e-5
    )
    robust = scores["input_jacobian/first_order_robust"]
    assert (robust.value, robust.low, robust.high) == (0.5, *proportion_interval(2, 4))
    assert arrays["jacobian"].reshape(2, 2).tolist() == [[1, 0], [-1, 0]]
    assert arrays["entries"].sum() == 4
    assert arrays["zero_entries"].item() == 4
    statistics, pictures = charts
    assert sum(statistics.panels[0].marks[0].values) == 0.5
    tiles = pictures.panels[1].marks[0]
    assert isinstance(tiles, Tiles)
    assert tiles.scale == "diverging"
    assert tiles.values[0] == [[1, 0]]


def test_colour_images_are_shown_in_colour_and_their_jacobians_summed():
    evaluation = wrapped(network((3, 70, 5), 3), data((3, 70, 5)), 3)
    arrays, _, charts = run(InputJacobian(shown=2), evaluation)
    images, jacobians = (panel.marks[0].values for panel in charts[1].panels)
    assert np.shape(images) == (2, 35, 3, 3)
    assert np.allclose(jacobians, arrays["jacobian"][:, :, ::2, ::2].sum(axis=1))


def test_no_picture_is_drawn_where_none_is_wanted():
    _, _, charts = run(InputJacobian(shown=0), evaluate(TEST, TEST))
    assert [chart.name for chart in charts] == ["surface-jacobian-statistics"]
