import math

import numpy as np

from metrics.curvature.shared_directions import NOISE, SharedDirections
from tests.metrics.curvature.networks import Ridge, evaluate


def test_directions_along_which_every_boundary_bends_are_found_and_are_where_noise_is_not_harmless(
    make_record,
):
    metric = SharedDirections(train_images=10, per_image=2, count=3, directions=200)
    measured = metric.measure(evaluate(Ridge()))
    axes = np.eye(12)[[1, 2]]
    assert (np.linalg.norm(measured["basis"][:2] @ axes.T, axis=1) > 0.9).all()
    scores = metric.reduce(measured)
    assert scores["shared_directions/curvature"].value > 1
    assert scores["shared_directions"].n == 40
    m, d = measured["basis"].shape
    # E‖P_S v‖ for a unit v; its square has the Beta(m/2, (d − m)/2) distribution.
    logs = [math.lgamma(x / 2) for x in (m + 1, d, m, d + 1)]
    expected = math.exp(logs[0] + logs[1] - logs[2] - logs[3])
    spread = math.sqrt((m / d - expected**2) / 40)
    assert abs(scores["shared_directions/random"].value - expected) < 4 * spread
    assert measured["changed_inside"].shape == (len(NOISE), 40)
    for name in ("noise_inside", "noise_outside"):
        score = scores[f"shared_directions/{name}"]
        assert 0 <= score.low <= score.value <= score.high <= 1
    charts = metric.charts(measured, make_record())
    assert [chart.name for chart in charts] == [
        *("curvature-shared-directions", "curvature-noise", "curvature-projection")
    ]


def test_noise_in_the_span_of_the_only_direction_that_matters_changes_classes_and_other_noise_does_not():
    arrays = {
        "basis": np.eye(12)[:1],
        "used": np.array([4]),
        "relative_curvature": np.zeros((0, 1)),
        "changed_inside": np.tile([[True, False]], (len(NOISE), 1)),
        "changed_outside": np.zeros((len(NOISE), 2), bool),
        **{f"projection/{kind}": np.zeros(0) for kind in ("adversarial", "random", "difference", "gradient")},
    }
    scores = SharedDirections().reduce(arrays)
    assert scores["shared_directions/noise_inside"].value == 0.5
    assert scores["shared_directions/noise_outside"].value == 0
    assert scores["shared_directions"].value is None
    assert scores["shared_directions/curvature"].value is None
