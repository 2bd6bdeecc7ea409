"""Charts of a predictors study: correlations with robustness, error against cost, and the strongest indicators."""

import statistics
from collections.abc import Callable, Sequence

from bench.charts import Axis, Chart, Line, Panel, Points, Rule
from bench.study.indicators import PAPERS
from bench.study.predictors import Findings, Predictors
from bench.study.ranks import Estimate

#: Indicators that are drawn against robustness.
STRONGEST = 4
#: An axis is logarithmic where the largest value is more than so many times the median.
FAR_OUT = 20


def predictor_charts(result: Predictors) -> list[Chart]:
    """The charts for which there are numbers."""
    found = [_correlations(result), _errors(result), _scatters(result)]
    return [chart for chart in found if chart is not None]


def _correlations(result: Predictors) -> Chart | None:
    """One panel per paper, with an indicator on each line."""
    panels = []
    for paper in PAPERS:
        own = [
            each
            for each in result.findings
            if each.indicator.paper == paper and each.across.value is not None
        ]
        if own:
            own.reverse()  # the first one on top
            places = list(map(float, range(len(own))))
            y = Axis(
                ticks=places,
                tick_labels=[each.indicator.title for each in own],
                low=-0.6,
                high=len(own) - 0.4,
            )
            marks = [
                *_estimates("across defenses", own, lambda each: each.across, 0.2),
                *_estimates("given clean accuracy", own, lambda each: each.given_clean, 0.0),
                *_estimates("standard training only", own, lambda each: each.within_standard, -0.2),
                Rule(x=0.0),
            ]
            panels.append(
                Panel(
                    title=paper, x=Axis(label="Kendall’s τ with robustness", low=-1, high=1), y=y, marks=marks
                )
            )
    if not panels:
        return None
    return Chart(
        name="study-correlations",
        title="Which quantities order networks as robustness does",
        caption="Kendall’s τ between each quantity and the worst case under escalation, over the networks of one "
        "data set and threat, with 95 % intervals from a bootstrap over networks.",
        panels=panels,
    )


def _estimates(
    name: str, findings: Sequence[Findings], of: Callable[[Findings], Estimate], shift: float
) -> list[Points]:
    x, y, low, high = [], [], [], []
    for place, each in enumerate(findings):
        found = of(each)
        if found.value is not None and found.low is not None and found.high is not None:
            x.append(found.value)
            low.append(found.low)
            high.append(found.high)
            y.append(place + shift)
    return [Points(name=name, x=x, y=y, x_low=low, x_high=high)] if x else []


def _errors(result: Predictors) -> Chart | None:
    """The error of predictions against the forward passes that they take."""
    marks: list[Points | Line | Rule] = []
    for paper in PAPERS:
        own = [
            (each.cost, each.error.value, each.indicator.title)
            for each in result.findings
            if each.indicator.paper == paper and each.cost and each.error.value is not None
        ]
        if own:
            cost, error, titles = map(list, zip(*own, strict=True))
            marks.append(Points(name=paper, x=cost, y=[100 * each for each in error], labels=titles))
    known = [(cost, each) for cost, each in result.curve if each.value is not None]
    if known:
        marks.append(
            Line(
                name="PGD-20 on 1 to 100 images",
                x=[cost for cost, _ in known],
                y=[100 * (each.value or 0.0) for _, each in known],
                low=[None if each.low is None else 100 * each.low for _, each in known],
                high=[None if each.high is None else 100 * each.high for _, each in known],
                markers=True,
            )
        )
    mean = result.baselines[0].error.value if result.baselines else None
    if not marks:
        return None
    if mean is not None:
        marks.append(Rule(name="mean of the other families", y=100 * mean))
    return Chart(
        name="study-error-and-cost",
        title="Error of predicted robustness against cost",
        caption="Each point is an indicator: its mean error over networks of a held-out defense family, in "
        "points of robust accuracy, and the median of its forward passes, a backward pass counted as two. The line "
        "attacks images with PGD-20 instead, and takes the share that survives. All are judged on the same other "
        "images.",
        panels=[
            Panel(
                x=Axis(label="forward passes (images)", log=True),
                y=Axis(label="mean error (points)", low=0),
                marks=marks,
            )
        ],
    )


def _spans_decades(values: Sequence[float]) -> bool:
    """Whether a few large values would leave all others at the end of a linear axis."""
    return min(values) > 0 and max(values) > FAR_OUT * statistics.median(values)


def _scatters(result: Predictors) -> Chart | None:
    """The indicators with the largest |τ|, against robustness."""
    ranked = sorted(
        (each for each in result.findings if each.across.value is not None),
        key=lambda each: -abs(each.across.value or 0.0),
    )
    panels = []
    for each in ranked[:STRONGEST]:
        marks = []
        for stratum in sorted({network.stratum for network in result.networks}):
            own = [
                network
                for network in result.networks
                if network.stratum == stratum and each.indicator.score in network.scores
            ]
            if own:
                marks.append(
                    Points(
                        name=stratum,
                        x=[network.scores[each.indicator.score] for network in own],
                        y=[100 * network.robustness for network in own],
                        groups=[network.family for network in own],
                        labels=[network.title for network in own],
                    )
                )
        axis = Axis(label="robust accuracy, worst case (%)", low=0, high=100)
        x = Axis(label=each.indicator.title, log=_spans_decades([x for mark in marks for x in mark.x]))
        panels.append(Panel(title=each.indicator.title, x=x, y=axis, marks=marks))
    if not panels:
        return None
    return Chart(
        name="study-strongest",
        title="The quantities with the largest τ, against robustness",
        caption="Each point is a network, colored by the family of its defense.",
        panels=panels,
    )
