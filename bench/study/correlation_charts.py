"""Charts of a correlation study: scatters against the PRS ratio, and courses by epoch."""

from collections.abc import Sequence

from bench.charts import Axis, Chart, Line, Panel, Points
from bench.core.names import short_hash, slug
from bench.study.correlation import CorrelationResult, ProbedNetwork, Regression, regressed_networks
from bench.study.epoch_charts import Course, epoch_chart
from bench.study.quantities import PROBED, REGRESSED, RegressedQuantity
from bench.study.spec import CorrelationStudy


def correlation_charts(study: CorrelationStudy, result: CorrelationResult) -> list[Chart]:
    """A scatter of each quantity against the PRS ratio, then the courses of each network and data set."""
    charts = [scatter(quantity, study, result) for quantity in REGRESSED]
    charts += [
        course_chart(network, name, result.networks) for name in study.datasets for network in study.models
    ]
    return [chart for chart in charts if chart is not None]


def scatter(quantity: RegressedQuantity, study: CorrelationStudy, result: CorrelationResult) -> Chart | None:
    """One panel per network architecture, with the candidates and the regression line of each data set.

    Returns:
        None without candidates.
    """
    axis = Axis(label=PROBED[quantity].title)
    panels = []
    for network in study.models:
        marks: list[Points | Line] = []
        for name in study.datasets:
            candidates = regressed_networks(result.networks, network, name, quantity)
            if not candidates:
                continue
            x = [each.prs_ratio for each in candidates]
            labels = [f"batch {each.batch_size}, seed {each.seed}, epoch {each.epoch}" for each in candidates]
            y = [getattr(each, quantity) for each in candidates]
            marks.append(Points(name=name, x=x, y=y, labels=labels))
            line = _regression_line(name, x, result.regressions, (quantity, network, name))
            if line is not None:
                marks.append(line)
        if marks:
            panels.append(Panel(title=network, x=Axis(label="PRS ratio"), y=axis, marks=marks))
    if not panels:
        return None
    candidates_in_all = sum(each.kept for each in result.networks)
    return Chart(
        name=f"study-{quantity.replace('_', '-')}",
        title=f"{PROBED[quantity].heading} against the PRS ratio",
        source=PROBED[quantity].source,
        caption=f"Each point is a network at one probed epoch of one training, {candidates_in_all} in all, whose "
        "test accuracy lies above its data set's threshold; lines are ordinary least squares. Points of one "
        "training are not independent.",
        panels=panels,
    )


def _regression_line(
    name: str, x: Sequence[float], regressions: Sequence[Regression], key: tuple[str, str, str]
) -> Line | None:
    fit = next(each.fit for each in regressions if (each.quantity, each.network, each.dataset) == key)
    if fit.slope is None or fit.intercept is None:
        return None
    ends = [min(x), max(x)]
    return Line(name=name, x=ends, y=[fit.intercept + fit.slope * end for end in ends])


def course_chart(network: str, dataset: str, networks: Sequence[ProbedNetwork]) -> Chart | None:
    """Every quantity by epoch, one line per batch size, with a band of one standard deviation over seeds."""
    courses: dict[str, dict[str, list[Course]]] = {quantity: {} for quantity in PROBED}
    own = [each for each in networks if (each.network, each.dataset) == (network, dataset)]
    for batch_size, seed in sorted({(each.batch_size, each.seed) for each in own}):
        training = [each for each in own if (each.batch_size, each.seed) == (batch_size, seed)]
        for quantity in PROBED:
            values = {
                each.epoch: float(value)
                for each in training
                if (value := getattr(each, quantity)) is not None
            }
            courses[quantity].setdefault(f"batch {batch_size}", []).append(values)
    seeds = len({each.seed for each in own})
    spread = f"bands: ± one standard deviation over {seeds} seeds." if seeds > 1 else "one seed."
    return epoch_chart(
        f"study-course-{slug(network)}-{slug(dataset)}-{short_hash([network, dataset])}",
        f"{network} on {dataset} by epoch",
        courses,
        f"Every probed epoch, whatever its accuracy; {spread}",
    )
