"""Charts with a point for each entry: trade-offs of a board, and its geometry against the worst case."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.charts import Chart, Line, Points
from bench.charts.numbers import within
from bench.core.names import CLEAN_ACCURACY, PRS_RATIO, TIME_PER_EPOCH, WORST_CASE
from bench.core.regression import Fit, regress
from leaderboards.board import Board
from leaderboards.charts import LONGEST_LABEL, is_drawable, make_chart
from leaderboards.entry import Entry, Summary
from leaderboards.front import front
from leaderboards.geometry import GeometryBoard, Row, pairs
from leaderboards.rows import family_of
from leaderboards.text import is_percent, p_value

TRADE_OFFS = (
    (CLEAN_ACCURACY, "Robust against clean accuracy", "Clean accuracy, %"),
    (TIME_PER_EPOCH, "Robust accuracy against training time", "Seconds per epoch"),
    (PRS_RATIO, "Robust accuracy against the PRS ratio", "PRS ratio"),
)
_WORST = "Worst-case accuracy, %"


@dataclass
class _Cloud:
    """The points of one network, in the order of entries."""

    places: list[tuple[Summary, Summary]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def trade_off_charts(board: Board, families: Mapping[str, str] | None = None) -> list[Chart]:
    """Worst-case accuracy against what it costs and against the PRS ratio, where two entries or more have both.

    Args:
        families: defense → its family, which gives points their color.
    """
    charts = []
    for metric, title, x_label in TRADE_OFFS:
        points = _points([(each, each.scores) for each in board.entries], metric, families or {})
        x = [value for mark in points for value in mark.x]
        if len(x) < 2:
            continue
        caption = "One point for each entry; bars are 95 % intervals"
        caption += ", for times the quartiles over epochs." if metric == TIME_PER_EPOCH else "."
        lines: list[Line] = []
        if metric == CLEAN_ACCURACY:
            sure = [(each, each.scores) for each in board.entries if not each.in_doubt]
            lines, said = front(_points(sure, metric, families or {}))
            caption += said
        if any(entry.in_doubt for entry in board.entries):
            caption += " In parentheses: in doubt" + (
                ", and on no front." if metric == CLEAN_ACCURACY else "."
            )
        if metric == PRS_RATIO:
            networks = [
                (entry.page, own.value, worst.value)
                for entry in board.entries
                for result in entry.results
                if (own := result.record.metrics.get(metric))
                and (worst := result.record.metrics.get(WORST_CASE))
            ]
            lines, said = _trend(networks, 1, x)
            caption += said
        marks: list[Points | Line] = [*points, *lines]
        log = metric == TIME_PER_EPOCH and min(x) > 0
        charts.append(make_chart("trade-off", metric, title, caption, x_label, _WORST, marks, log_x=log))
    return charts


def geometry_charts(board: GeometryBoard, families: Mapping[str, str]) -> dict[str, list[Chart]]:
    """By topic, each quantity against the worst case, where three networks or more have both."""
    charts: dict[str, list[Chart]] = {}
    for quantity in board.columns:
        found = pairs(board, quantity.metric)
        if len(found) < 3:
            continue
        points = _points([(row.entry, row.scores) for row in board.rows], quantity.metric, families)
        x = [value for mark in points for value in mark.x]
        unit = next(row.scores[quantity.metric].unit for row, _, _ in found)
        lines, said = _trend([(_key(row), a, b) for row, a, b in found], 1, x)
        label = quantity.title if unit in ("fraction", "AUC", "cosine") else f"{quantity.title}, {unit}"
        caption = f"{quantity.meaning}{said}"
        title = f"{quantity.title} and worst case"
        charts.setdefault(quantity.topic, []).append(
            make_chart("geometry", quantity.metric, title, caption, label, _WORST, [*points, *lines])
        )
    return charts


def trend(board: GeometryBoard, metric: str) -> Fit | None:
    """The regression of the worst case, in points, on a quantity; None for fewer than three networks."""
    found = pairs(board, metric)
    if len(found) < 3:
        return None
    return regress(
        [a for _, a, _ in found],
        [100 * b for _, _, b in found],
        [_key(row) for row, _, _ in found],
        name="it",
        each="network",
    )


def slope_words(fit: Fit, before: str = "") -> str:
    """A slope with its interval and p-value over trainings, in points for each unit of x, and a word before it."""
    if fit.slope is None or fit.interval is None:
        return fit.reason or "no line"
    low, high = fit.interval
    ends = [within(value, low, high) for value in (fit.slope, low, high)]
    p = fit.p_value if fit.run_p_value is None else fit.run_p_value
    said = f"{before}{ends[0]} ({ends[1]} to {ends[2]}), {p_value(p)}" if p is not None else fit.reason
    return said + ("" if fit.run_p_value is not None else ", as if trainings were independent")


def _key(row: Row) -> str:
    return row.entry.page


def _trend(
    networks: Sequence[tuple[str, float | None, float | None]], scale: float, x: Sequence[float]
) -> tuple[list[Line], str]:
    """The regression line over networks, clustered by entry, and what to say of it."""
    known = [(who, a, b) for who, a, b in networks if is_drawable(a) and is_drawable(b)]
    fit = regress(
        [scale * a for _, a, _ in known],
        [100 * b for _, _, b in known],
        [who for who, _, _ in known],
        name="it",
        each="network",
    )
    if fit.slope is None or fit.intercept is None or fit.interval is None:
        return [], f" No line: {fit.reason}." if fit.reason else ""
    ends = _percentages(fit.slope, fit.intercept, min(x), max(x))
    heights = [min(max(fit.intercept + fit.slope * end, 0.0), 100.0) for end in ends]
    line = Line(name="Least-squares line", x=ends, y=heights)
    said = f"{fit.n} networks of {fit.runs} entries: {slope_words(fit, 'slope ')}"
    return [line], f" Line over {said}; the error is cluster-robust over entries."


def _percentages(slope: float, intercept: float, low: float, high: float) -> list[float]:
    """The ends of the part of a line whose heights are percentages."""
    if slope:
        first, last = sorted((level - intercept) / slope for level in (0, 100))
        low, high = max(low, first), min(high, last)
    return [low, high]


def _points(
    entries: Sequence[tuple[Entry, Mapping[str, Summary]]], metric: str, families: Mapping[str, str]
) -> list[Points]:
    """The entries that have both scores, a mark for each network."""
    clouds: dict[str, _Cloud] = {}
    for entry, scores in entries:
        x, y = scores.get(metric), scores.get(WORST_CASE)
        if x is None or y is None or not is_drawable(x.mean) or not is_drawable(y.mean):
            continue
        cloud = clouds.setdefault(entry.model[:LONGEST_LABEL], _Cloud())
        cloud.places.append((x, y))
        name = entry.defense.name[:LONGEST_LABEL]
        cloud.labels.append(f"({name})" if entry.in_doubt else name)
        cloud.groups.append(family_of(entry, families)[:LONGEST_LABEL])
        cloud.links.append(f"../entries/{entry.page}.html")
    return [
        Points(
            name=network,
            labels=cloud.labels,
            groups=cloud.groups,
            links=cloud.links,
            **_ends("x", [x for x, _ in cloud.places], metric),
            **_ends("y", [y for _, y in cloud.places], WORST_CASE),
        )
        for network, cloud in sorted(clouds.items())
    ]


def _ends(letter: str, scores: Sequence[Summary], metric: str) -> dict[str, list[float | None]]:
    """Values and ends of intervals in the unit of their axis; an interval that cannot be drawn is left out."""
    names = {"x": ("x_low", "x_high"), "y": ("low", "high")}[letter]
    scale = 100 if is_percent(metric, scores[0].unit) else 1
    bounded = [
        (s.low, s.high) if is_drawable(s.low) and is_drawable(s.high) else (None, None) for s in scores
    ]
    times: Callable[[float | None], float | None] = lambda value: None if value is None else scale * value  # noqa: E731
    return {
        letter: [times(score.mean) for score in scores],
        names[0]: [times(low) for low, _ in bounded],
        names[1]: [times(high) for _, high in bounded],
    }
