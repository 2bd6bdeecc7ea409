"""Lines, points, bars, histograms and rules as plotly's traces and shapes."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Literal

from bench.charts.chart import Bars, Heatmap, Histogram, Line, Numbers, Points, Rule
from bench.charts.extent import label_places
from bench.charts.outlines import bands, pieces
from bench.charts.palette import style
from bench.charts.plotly.canvas import Canvas, Json
from bench.charts.plotly.escape import in_template, safe
from bench.charts.tiling import NAMED_POINTS, is_log, many_lines

_DASHES = ("dot", "dash", "dashdot")
_SIDES = {-1: "left", 0: "center", 1: "right"}


def add_line(canvas: Canvas, mark: Line) -> None:
    """A line with its band."""
    shape = style(canvas.numbers[mark.name])
    x, y = _above(canvas, mark.x, "x"), _above(canvas, mark.y, "y")
    ends = list(zip_longest(mark.low, mark.high)) if mark.low and mark.high else []
    if ends:
        low, high = (_above(canvas, values, "y") for values in (mark.low, mark.high))
        outlines = bands(mark.x, low, high, mark.step)
        canvas.add(
            mark,
            type="scatter",
            mode="none",
            x=_with_gaps([[across for across, _ in outline] for outline in outlines]),
            y=_with_gaps([[up for _, up in outline] for outline in outlines]),
            fill="toself",
            hoverinfo="skip",
            showlegend=False,
            meta={"color": shape.color, "alpha": 0.2},
        )
    # A value between two gaps would be no line at all.
    lonely = any(len(piece) == 1 for piece in pieces(mark.x, y))
    canvas.add(
        mark,
        type="scatter",
        mode="lines+markers" if mark.markers or lonely else "lines",
        x=x,
        y=y,
        line={
            "dash": shape.dash,
            "width": 1.3 if many_lines(canvas.panel) else 2,
            "shape": "hv" if mark.step else "linear",
        },
        marker={"symbol": shape.symbol, "size": 7},
        meta={"color": shape.color},
        **_hover(canvas, ", ".join(filter(None, (mark.name, mark.detail))), interval=ends),
    )


def add_points(canvas: Canvas, mark: Points) -> None:
    """Points with their intervals, and with their labels where these are few."""
    shape, many = style(canvas.numbers[mark.name]), len(mark.x) > 200
    named = 0 < len(mark.labels) <= NAMED_POINTS
    sides = label_places(canvas.panel, mark) if named else []
    over = any(isinstance(other, Heatmap) for other in canvas.panel.marks)
    canvas.add(
        mark,
        type="scatter",
        mode="markers+text" if named else "markers",
        textposition=[f"{'top' if up > 0 else 'bottom'} {_SIDES[across]}" for across, up in sides]
        or "top right",
        cliponaxis=not named,
        textfont={"shadow": ", ".join(["0 0 2px white"] * 5), "color": "black"} if over else {},
        x=mark.x,
        y=mark.y,
        marker={
            "symbol": shape.symbol,
            "size": 11 if over else 5 if many else 8,
            "line": {"width": 1.5 if over else 0.4, "color": "white"},
        },
        meta={"color": shape.color},
        **({"error_x": _error_bars(mark.x, mark.x_low, mark.x_high)} if mark.x_low and mark.x_high else {}),
        **({"error_y": _error_bars(mark.y, mark.low, mark.high)} if mark.low and mark.high else {}),
        **_hover(canvas, mark.name, labels=mark.labels),
    )


def add_bars(canvas: Canvas, mark: Bars) -> None:
    """Bars with their intervals."""
    shape = style(canvas.numbers[mark.name])
    ends = list(zip_longest(mark.low, mark.high)) if mark.low and mark.high else []
    canvas.add(
        mark,
        type="bar",
        x=[canvas.categories.index(name) for name in mark.categories],
        y=mark.values,
        marker={"pattern": {"shape": shape.pattern, "fillmode": "overlay", "fgcolor": "white", "size": 7}},
        textposition="none",
        meta={"color": shape.color},
        **({"error_y": _error_bars(mark.values, mark.low, mark.high)} if ends else {}),
        **(_on_others(canvas, mark) if mark.stacked else {}),
        **_hover(
            canvas,
            mark.name,
            labels=mark.categories,
            interval=ends,
            x=False,
            y="base" if mark.stacked else "y",
        ),
    )


def _on_others(canvas: Canvas, mark: Bars) -> Json:
    """The bases of stacked bars, and the place that they share."""
    base = [canvas.heights[name] for name in mark.categories]
    for name, value in zip(mark.categories, mark.values, strict=True):
        canvas.heights[name] += value or 0.0
    return {"base": base, "offsetgroup": "stack", "customdata": [[value] for value in mark.values]}


def add_histogram(canvas: Canvas, mark: Histogram) -> None:
    """Stairs over the bins, with invisible points in the middle of each bin to hover over."""
    shape = style(canvas.numbers[mark.name])
    middles = [(left + right) / 2 for left, right in zip(mark.edges, mark.edges[1:], strict=False)]
    between = [f"{left:.4g} to {right:.4g}" for left, right in zip(mark.edges, mark.edges[1:], strict=False)]
    canvas.add(
        mark,
        type="scatter",
        mode="lines",
        x=[edge for edge in mark.edges for _ in (0, 1)],
        y=[0.0, *(value for value in mark.values for _ in (0, 1)), 0.0],
        line={"dash": shape.dash, "width": 1.5},
        fill="toself",
        hoverinfo="skip",
        meta={"color": shape.color, "alpha": 0.3},
    )
    canvas.add(
        mark,
        type="scatter",
        mode="markers",
        x=middles,
        y=mark.values,
        marker={"opacity": 0, "size": 12},
        showlegend=False,
        meta={"color": shape.color},
        **_hover(canvas, mark.name, labels=between, x=False),
    )


def add_rule(canvas: Canvas, mark: Rule) -> None:
    """A line across the panel."""
    x, y = canvas.axes["xaxis"], canvas.axes["yaxis"]
    line = {"dash": _DASHES[canvas.rules % len(_DASHES)], "width": 1.5}
    canvas.rules += 1
    group: Json = {"type": "line", "line": line, "name": safe(mark.name)}
    if mark.name:
        group["legendgroup"] = safe(mark.name)
    if mark.x is not None:
        place = {"xref": x, "x0": mark.x, "x1": mark.x, "yref": f"{y} domain", "y0": 0, "y1": 1}
        canvas.layout["shapes"].append({**group, **place})
    if mark.y is not None:
        place = {"yref": y, "y0": mark.y, "y1": mark.y, "xref": f"{x} domain", "x0": 0, "x1": 1}
        canvas.layout["shapes"].append({**group, **place})


def _hover(
    canvas: Canvas,
    name: str,
    *,
    labels: Sequence[str] = (),
    interval: Sequence[Any] = (),
    x: bool = True,
    y: Literal["y", "base"] = "y",
) -> Json:
    """The tooltip of a point: its name and label, then the axes with their units, then the interval."""
    lines = [f"<b>{in_template(name)}</b>"] if name else []
    lines += ["%{text}"] if labels else []
    lines += [f"{in_template(canvas.panel.x.label) or 'x'}: %{{x:.4g}}"] if x else []
    # At a bar that does not stand on zero, plotly's y is where it ends.
    value = "customdata[0]" if y == "base" else "y"
    lines += [f"{in_template(canvas.panel.y.label) or 'y'}: %{{{value}:.4g}}"]
    lines += ["from %{customdata[0]:.4g} to %{customdata[1]:.4g}"] if interval else []
    hover: Json = {"hovertemplate": "<br>".join(lines) + "<extra></extra>"}
    if labels:
        hover["text"] = [safe(label) for label in labels]
    if interval:
        hover["customdata"] = [list(ends) for ends in interval]
    return hover


def _error_bars(values: Sequence[float | None], low: Numbers, high: Numbers) -> Json:
    """Intervals as distances from the values."""
    errors = [
        (None, None) if value is None or below is None or above is None else (value - below, above - value)
        for value, below, above in zip(values, low, high, strict=True)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "arrayminus": [down for down, _ in errors],
        "array": [up for _, up in errors],
    }


def _with_gaps(runs: Sequence[Numbers]) -> Numbers:
    """Several runs of coordinates as one list with gaps between them."""
    return [value for run in runs for value in [*run, None]][:-1]


def _above(canvas: Canvas, values: Sequence[float | None], letter: Literal["x", "y"]) -> Numbers:
    """The values, with a gap for each that a logarithmic axis cannot show."""
    log = is_log(canvas.panel, letter)
    return [None if value is None or (log and value <= 0) else value for value in values]
