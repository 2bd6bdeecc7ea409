"""Charts of probed quantities by epoch."""

import statistics
from collections.abc import Mapping, Sequence

from bench.charts import Axis, Chart, Line, Panel
from bench.study.quantities import PROBED

SOURCE = "P1, figures 2 and 6; P2, figure 5"

#: Epoch → value, in one training.
Course = Mapping[int, float]


def epoch_chart(
    name: str, title: str, courses: Mapping[str, Mapping[str, Sequence[Course]]], caption: str
) -> Chart | None:
    """One panel per quantity and one line per label; None without any value.

    Several courses of one label are drawn as their mean, with a band of one standard deviation.

    Args:
        name, title, caption: of the chart.
        courses: quantity of `PROBED` → label of a line → a course for each training.
    """
    panels = []
    for quantity, lines in courses.items():
        marks = [line for label, trainings in lines.items() if (line := _mean_line(label, trainings))]
        if marks:
            label = PROBED[quantity].title
            panels.append(Panel(title=label, x=Axis(label="epoch"), y=Axis(label=label), marks=marks))
    return Chart(name=name, title=title, source=SOURCE, caption=caption, panels=panels) if panels else None


def _mean_line(name: str, courses: Sequence[Course]) -> Line | None:
    epochs = sorted(set().union(*courses))
    if not epochs:
        return None
    values = [[course[epoch] for course in courses if epoch in course] for epoch in epochs]
    means = [statistics.fmean(each) for each in values]
    spreads = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in values]
    banded = any(spreads)
    return Line(
        name=name,
        x=[float(epoch) for epoch in epochs],
        y=list(means),
        low=[mean - spread for mean, spread in zip(means, spreads, strict=True)] if banded else [],
        high=[mean + spread for mean, spread in zip(means, spreads, strict=True)] if banded else [],
        markers=len(epochs) < 15,
    )
