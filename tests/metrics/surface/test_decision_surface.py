import numpy as np
import pytest

from bench.charts import Heatmap
from bench.core.margins import decision_function
from metrics.surface.decision_surface import DecisionSurface
from tests.metrics.surface.networks import MARGINS, SMALL, TEST, Sums, data, network, run, wrapped
from tests.metrics.toys import evaluate


def test_distances_of_a_linear_network_are_its_margins():
    arrays, scores, charts = run(DecisionSurface(half=10, parameter_images=0), evaluate(TEST, TEST))
    right = MARGINS[:3]
    assert arrays["line"].shape == (3, 4, 11)
    for name in ("decision_surface", "decision_surface/untargeted"):
        assert scores[name].value == pytest.approx(np.median(right), abs=1e-5)
        assert scores[name].n == 3
    # J = ±(1, 0): random signs, turned so that L falls, cross where the gradient does.
    assert scores["decision_surface/random"].value == pytest.approx(np.median(right), abs=1e-5)
    # L(x + jβ) = L − j‖J‖₁.
    expected = right[:, None] - 0.05 * np.arange(11)
    assert arrays["line"][:, 3] == pytest.approx(expected, abs=1e-5)
    assert arrays["decision"].shape == arrays["loss"].shape == (2, 4, 21, 21)
    assert arrays["decision"][0, 3, 10] == pytest.approx(right[0] - 0.05 * (np.arange(21) - 10), abs=1e-5)
    assert [chart.name for chart in charts] == [
        "surface-decision-1",
        "surface-loss-1",
        "surface-decision-2",
        "surface-loss-2",
        "surface-profiles",
    ]


def test_images_that_do_not_cross_within_the_window_leave_no_median():
    _, scores, _ = run(DecisionSurface(half=1, parameter_images=0), evaluate(TEST, TEST))
    assert scores["decision_surface"].value is None
    assert "1 of 3 cross within 0.05" in scores["decision_surface"].reason


def test_the_maps_stand_upright_and_decision_surfaces_mark_the_boundary():
    evaluation = wrapped(network((1, 4, 5), 3), data(), 3, right=True)
    arrays, _, charts = run(SMALL["decision_surface"], evaluation)
    by_name = {chart.name: chart for chart in charts}
    for kind, contour in (("decision", 0.0), ("loss", None)):
        for at, panel in enumerate(by_name[f"surface-{kind}-1"].panels):
            heatmap = panel.marks[0]
            assert isinstance(heatmap, Heatmap)
            assert heatmap.contour == contour
            # z[row][column] at (α = x[column], β = y[row]).
            assert heatmap.z[1][5] == pytest.approx(float(arrays[kind][0, at, 5, 1]), rel=1e-5)
            assert "β" in panel.y.label
    weights = [panel.marks[0] for panel in by_name["surface-parameters"].panels]
    assert [heatmap.contour for heatmap in weights] == [None, 0, None, 0]
    assert weights[0].z[0][3] == pytest.approx(float(arrays["parameter_loss"][3, 0]), rel=1e-5)
    assert weights[2].z[0][3] == pytest.approx(float(arrays["parameter_gradient_loss"][3, 0]), rel=1e-5)


def test_the_middle_of_every_surface_is_the_function_itself():
    evaluation = wrapped(network((1, 4, 5), 3), data(), 3, right=True)
    arrays, _, _ = run(SMALL["decision_surface"], evaluation)
    margins = decision_function(evaluation.classifier(evaluation.images), evaluation.labels).detach().numpy()
    for number, index in enumerate(arrays["test_index"]):
        assert arrays["decision"][number, :, 3, 3] == pytest.approx([margins[index]] * 4, abs=1e-6)
    for kind in ("parameter", "parameter_gradient"):
        assert arrays[f"{kind}_decision"][2, 2] == pytest.approx(margins[:4].mean(), abs=1e-6)
    # Along α alone both surfaces are the same line; along the gradient L falls faster than along random β.
    assert np.array_equal(arrays["parameter_decision"][:, 2], arrays["parameter_gradient_decision"][:, 2])
    assert arrays["parameter_gradient_decision"][2, 3] < arrays["parameter_decision"][2, 3]
    assert arrays["line"][:, :, 0] == pytest.approx(np.repeat(margins[:5, None], 4, axis=1), abs=1e-6)


def test_colour_images_take_steps_of_one_grey_level():
    evaluation = wrapped(network((3, 4, 5), 3), data((3, 4, 5)), 3)
    arrays = SMALL["decision_surface"].measure(evaluation)
    assert np.diff(arrays["offset"]) == pytest.approx([1 / 255] * 6)


def test_a_network_without_weights_has_surfaces_around_images_alone():
    evaluation = wrapped(Sums(), data(classes=2), 2)
    arrays, _, charts = run(SMALL["decision_surface"], evaluation)
    assert "parameter_loss" not in arrays
    assert "surface-parameters" not in [chart.name for chart in charts]
