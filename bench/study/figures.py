"""A study's figures as plain data."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.charts import Axis, Chart, Line, Panel, Points
from bench.charts.words import attack_title, norm_sign
from bench.core.names import short_hash, slug
from bench.core.record import Record
from bench.study.correlation import Candidate, CorrelationResult, Regression
from bench.study.spec import CorrelationStudy, TableStudy
from bench.study.table import TableResult

WORDS = {
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
    "robust_accuracy": "robust accuracy (PGD-20)",
    "prs_ratio": "PRS ratio",
    "inclusion_ratio": "inclusion ratio",
    "final_layer_cosine": "final-layer cosine",
    "sparsity": "sparsity (share of zeros)",
}
SOURCES = {
    "robust_accuracy": "P1, figure 4",
    "final_layer_cosine": "P1, table 1",
    "inclusion_ratio": "P1, table 1",
    "sparsity": "P2, figure 12",
}
#: History key → what the courses of a probed training show.
PROBED = {
    "train_accuracy": "train_accuracy",
    "probe_accuracy": "test_accuracy",
    "probe_robust_accuracy": "robust_accuracy",
    "prs_ratio": "prs_ratio",
    "inclusion_ratio": "inclusion_ratio",
    "final_layer_cosine": "final_layer_cosine",
    "sparsity": "sparsity",
}


def correlation_charts(study: CorrelationStudy, result: CorrelationResult) -> list[Chart]:
    """A scatter of each quantity against the PRS ratio, then the courses of each network and data set."""
    charts = []
    for quantity in SOURCES:
        chart = scatter(quantity, study, result)
        if chart is not None:
            charts.append(chart)
    for name in study.datasets:
        for network in study.models:
            chart = courses(network, name, result.candidates)
            if chart is not None:
                charts.append(chart)
    return charts


def scatter(quantity: str, study: CorrelationStudy, result: CorrelationResult) -> Chart | None:
    """One panel a network: kept candidates and the regression line of each data set; None without candidates."""
    panels = []
    for network in study.models:
        marks: list[Points | Line] = []
        for name in study.datasets:
            chosen = [
                each
                for each in result.candidates
                if (each.network, each.dataset) == (network, name)
                and each.kept
                and getattr(each, quantity) is not None
            ]
            if not chosen:
                continue
            x = [each.prs_ratio for each in chosen]
            marks.append(
                Points(
                    name=name,
                    x=x,
                    y=[getattr(each, quantity) for each in chosen],
                    labels=[
                        f"batch {each.batch_size}, seed {each.seed}, epoch {each.epoch}" for each in chosen
                    ],
                )
            )
            line = _line(name, x, result.regressions, (quantity, network, name))
            if line is not None:
                marks.append(line)
        if marks:
            panels.append(
                Panel(title=network, x=Axis(label="PRS ratio"), y=Axis(label=WORDS[quantity]), marks=marks)
            )
    if not panels:
        return None
    kept = sum(each.kept for each in result.candidates)
    return Chart(
        name=f"study-{quantity.replace('_', '-')}",
        title=f"{WORDS[quantity][0].upper()}{WORDS[quantity][1:]} against the PRS ratio",
        source=SOURCES[quantity],
        caption=f"Each point is a network at one probed epoch of one training, {kept} in all, whose test accuracy "
        "lies above its data set's threshold; lines are ordinary least squares. Points of one training are not "
        "independent.",
        panels=panels,
    )


def _line(
    name: str, x: Sequence[float], regressions: Sequence[Regression], at: tuple[str, str, str]
) -> Line | None:
    fit = next(each.fit for each in regressions if (each.quantity, each.network, each.dataset) == at)
    if fit.slope is None or fit.intercept is None:
        return None
    ends = [min(x), max(x)]
    return Line(name=name, x=ends, y=[fit.intercept + fit.slope * end for end in ends])


def courses(network: str, dataset: str, candidates: Sequence[Candidate]) -> Chart | None:
    """Every quantity by epoch, a line a batch size, with a band of one standard deviation over seeds."""
    series: dict[str, dict[str, list[Mapping[int, float]]]] = {quantity: {} for quantity in WORDS}
    own = [each for each in candidates if (each.network, each.dataset) == (network, dataset)]
    for training in sorted({(each.batch_size, each.seed) for each in own}):
        course = [each for each in own if (each.batch_size, each.seed) == training]
        for quantity in WORDS:
            values = {
                each.epoch: float(value) for each in course if (value := getattr(each, quantity)) is not None
            }
            series[quantity].setdefault(f"batch {training[0]}", []).append(values)
    seeds = len({each.seed for each in own})
    return _courses(
        f"study-course-{slug(network)}-{slug(dataset)}-{short_hash([network, dataset])}",
        f"{network} on {dataset} by epoch",
        "P1, figures 2 and 6; P2, figure 5",
        series,
        f"Every probed epoch, whatever its accuracy; bands: ± one standard deviation over {seeds} seeds."
        if seeds > 1
        else "Every probed epoch, whatever its accuracy; one seed.",
    )


def table_charts(study: TableStudy, result: TableResult) -> list[Chart]:
    """Robust accuracy against ε, the courses of probed rows, and the figures of metrics the study asks for."""
    found = [_security(study, result), _row_courses(result)]
    return [*(chart for chart in found if chart is not None), *result.charts]


def _security(study: TableStudy, result: TableResult) -> Chart | None:
    """One panel an attack that has several ε: ours as lines with intervals, the paper's as points."""
    panels = []
    attacks = dict.fromkeys(column.attack.name for column in study.columns if column.attack is not None)
    for attack in attacks:
        columns = sorted(
            (each for each in study.columns if each.attack and each.attack.name == attack and each.threat),
            key=lambda column: column.threat.radius if column.threat else 0.0,
        )
        norms = {column.threat.norm for column in columns if column.threat}
        if len(columns) < 2 or len(norms) > 1:
            continue
        marks: list[Line | Points] = []
        for row in result.rows:
            cells = [row.cells[column.name] for column in columns]
            radii = [column.threat.radius for column in columns if column.threat]
            if any(cell.value is not None for cell in cells):
                marks.append(
                    Line(
                        name=row.name,
                        x=radii,
                        y=_percent([cell.value for cell in cells]),
                        low=_percent([cell.low for cell in cells]),
                        high=_percent([cell.high for cell in cells]),
                    )
                )
            paper = [(radius, cell.paper) for radius, cell in zip(radii, cells, strict=True)]
            published = [(radius, value) for radius, value in paper if value is not None]
            if published:
                marks.append(
                    Points(
                        name=row.name,
                        x=[radius for radius, _ in published],
                        y=[value for _, value in published],
                    )
                )
        if marks:
            label = f"ε ({norm_sign(norms.pop())}, pixels in [0, 1])"
            panels.append(
                Panel(
                    title=attack_title(attack),
                    x=Axis(label=label),
                    y=Axis(label="accuracy (%)", low=0, high=100),
                    marks=marks,
                )
            )
    if not panels:
        return None
    return Chart(
        name="study-robust-accuracy",
        title="Accuracy under attack against ε",
        source=study.source,
        caption="Lines: ours, with 95 % intervals over test images; points: the paper's numbers, in the color of "
        "their row.",
        panels=panels,
    )


def _row_courses(result: TableResult) -> Chart | None:
    series: dict[str, dict[str, list[Mapping[int, float]]]] = {quantity: {} for quantity in WORDS}
    for row in result.rows:
        for record in row.records:
            for key, quantity in PROBED.items():
                series[quantity].setdefault(row.name, []).append(_course(record, key))
    return _courses(
        "study-courses",
        "By epoch",
        "P1, figures 2 and 6; P2, figure 5",
        series,
        "Every probed epoch; bands, where a row has several seeds: ± one standard deviation over them.",
    )


def _course(record: Record, key: str) -> dict[int, float]:
    history: list[dict[str, Any]] = record.history
    return {
        int(row["epoch"] or 0): float(row[key] or 0.0)
        for row in history
        if "probe_accuracy" in row and row.get(key) is not None
    }


def _courses(
    name: str,
    title: str,
    source: str,
    series: Mapping[str, Mapping[str, Sequence[Mapping[int, float]]]],
    caption: str,
) -> Chart | None:
    """A panel a quantity, a line a name; several courses of one name become their mean with a band."""
    panels = []
    for quantity, lines in series.items():
        marks = [line for label, runs in lines.items() if (line := _mean(label, runs)) is not None]
        if marks:
            panels.append(
                Panel(
                    title=WORDS[quantity], x=Axis(label="epoch"), y=Axis(label=WORDS[quantity]), marks=marks
                )
            )
    return Chart(name=name, title=title, source=source, caption=caption, panels=panels) if panels else None


def _mean(name: str, runs: Sequence[Mapping[int, float]]) -> Line | None:
    epochs = sorted(set().union(*runs))
    if not epochs:
        return None
    values = [[run[epoch] for run in runs if epoch in run] for epoch in epochs]
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


def _percent(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]
