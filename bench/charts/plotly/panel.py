"""One panel of a chart in plotly's words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Literal

from bench.charts.chart import Axis, Bars, Heatmap, Histogram, Line, Mark, Numbers, Panel, Points, Rule, Tiles
from bench.charts.extent import label_places, roomy_ends
from bench.charts.palette import DIVERGING_STOPS, SEQUENTIAL, color_ends, map_colors, named_categories, style
from bench.charts.plotly.text import in_template, safe
from bench.charts.table import category_name
from bench.charts.tiling import NAMED_POINTS, is_log, many_lines, tile_columns, tile_ratio, tiles_of

_DASHES = ("dot", "dash", "dashdot")
_SIDES = {-1: "left", 0: "center", 1: "right"}

Json = dict[str, Any]


class PlotlyPanel:
    """One panel on its way into plotly's lists.

    Attributes:
        suffix: of its axes' names in the layout, empty for the first panel.
        color_axis: the name of its color bar's axis, None without one.
        named: name and color of the categories of its map.
        heights: of the stacked bars so far, by category.
    """

    def __init__(
        self, panel: Panel, at: int, numbers: dict[str, int], data: list[Json], layout: Json
    ) -> None:
        self.panel, self.numbers, self.data, self.layout = panel, numbers, data, layout
        self.suffix = "" if at == 0 else str(at + 1)
        self.axes = {"xaxis": f"x{self.suffix}", "yaxis": f"y{self.suffix}"}
        bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
        self.categories = list(dict.fromkeys(name for mark in bars for name in mark.categories))
        self.color_axis: str | None = None
        self.named: list[tuple[str, str]] = []
        self.heights = dict.fromkeys(self.categories, 0.0)
        self.rules = 0

    def draw(self) -> Json:
        """Add every mark, the axes and the title; gives what the script needs to know of the panel."""
        layout, tiles = self.layout, tiles_of(self.panel)
        layout[f"xaxis{self.suffix}"] = self._axis(self.panel.x, "x")
        layout[f"yaxis{self.suffix}"] = self._axis(self.panel.y, "y")
        if self.panel.square:
            layout[f"yaxis{self.suffix}"] |= {"scaleanchor": self.axes["xaxis"], "constrain": "domain"}
            layout[f"xaxis{self.suffix}"]["constrain"] = "domain"
        if self.panel.title:
            self.write(safe(self.panel.title), 0.5, 1.0, shift=6, size=14, within=True)
        for mark in self.panel.marks:
            self._mark(mark)
        height = None
        if tiles:
            across = tile_columns(len(tiles.captions))
            height = math.ceil(len(tiles.captions) / across) * (tile_ratio(tiles) + 0.25) / across
        across, up = (
            min(max(map(len, labels), default=0), 32)
            for labels in (self.categories or self.panel.x.tick_labels, self.panel.y.tick_labels)
        )
        return {
            "axes": self.suffix,
            "coloraxis": self.color_axis,
            "ratio": height,
            "across": tile_columns(len(tiles.captions)) if tiles else None,
            "letters": max(map(len, tiles.captions)) if tiles else None,
            "square": self.panel.square,
            "categories": self.named,
            "labels": [safe(axis.label) for axis in (self.panel.x, self.panel.y)],
            # Pixels for the labels of the axes.
            "left": 0 if tiles else 62 + 6 * max(0, up - 4),
            "below": 16 if tiles else 66 + 5 * max(0, across - 6),
        }

    def _mark(self, mark: Mark) -> None:
        match mark:
            case Line():
                self._line(mark)
            case Points():
                self._points(mark)
            case Bars():
                self._bars(mark)
            case Histogram():
                self._histogram(mark)
            case Heatmap():
                add_heatmap(self, mark)
            case Tiles():
                add_tiles(self, mark)
            case Rule():
                self._rule(mark)

    def add(self, mark: Mark, **trace: Any) -> None:
        """Put a trace on this panel's axes."""
        legend = (
            {} if isinstance(mark, Heatmap | Tiles) or not mark.name else {"legendgroup": safe(mark.name)}
        )
        self.data.append({"name": safe(getattr(mark, "name", "")), **legend, **self.axes, **trace})

    def _line(self, mark: Line) -> None:
        look = style(self.numbers[mark.name])
        y = self._above(mark.y, "y")
        ends = list(zip_longest(mark.low, mark.high)) if mark.low and mark.high else []
        if ends:
            low, high = (self._above(values, "y") for values in (mark.low, mark.high))
            xs, ys = _band(mark.x, low, high, mark.step)
            self.add(
                mark,
                type="scatter",
                mode="none",
                x=xs,
                y=ys,
                fill="toself",
                hoverinfo="skip",
                showlegend=False,
                meta={"color": look.color, "alpha": 0.2},
            )
        seen = [value is not None for value in y]
        lonely = any(
            here and not before and not after
            for before, here, after in zip([False, *seen], seen, [*seen[1:], False], strict=False)
        )
        self.add(
            mark,
            type="scatter",
            mode="lines+markers" if mark.markers or lonely else "lines",
            x=self._above(mark.x, "x"),
            y=y,
            line={
                "dash": look.dash,
                "width": 1.3 if many_lines(self.panel) else 2,
                "shape": "hv" if mark.step else "linear",
            },
            marker={"symbol": look.symbol, "size": 7},
            meta={"color": look.color},
            **self._hover(mark.name, interval=ends),
        )

    def _points(self, mark: Points) -> None:
        look, many = style(self.numbers[mark.name]), len(mark.x) > 200
        named = 0 < len(mark.labels) <= NAMED_POINTS
        sides = label_places(self.panel, mark) if named else []
        over = any(isinstance(other, Heatmap) for other in self.panel.marks)
        self.add(
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
                "symbol": look.symbol,
                "size": 11 if over else 5 if many else 8,
                "line": {"width": 1.5 if over else 0.4, "color": "white"},
            },
            meta={"color": look.color},
            **self._hover(mark.name, labels=mark.labels),
        )

    def _bars(self, mark: Bars) -> None:
        look = style(self.numbers[mark.name])
        ends = list(zip_longest(mark.low, mark.high)) if mark.low and mark.high else []
        errors = (
            [
                (None, None) if value is None or low is None or high is None else (value - low, high - value)
                for value, (low, high) in zip(mark.values, ends, strict=True)
            ]
            if ends
            else []
        )
        bars = {
            "type": "data",
            "symmetric": False,
            "arrayminus": [down for down, _ in errors],
            "array": [up for _, up in errors],
        }
        self.add(
            mark,
            type="bar",
            x=[self.categories.index(name) for name in mark.categories],
            y=mark.values,
            marker={"pattern": {"shape": look.pattern, "fillmode": "overlay", "fgcolor": "white", "size": 7}},
            textposition="none",
            meta={"color": look.color},
            **({"error_y": bars} if ends else {}),
            **(self._on_others(mark) if mark.stacked else {}),
            **self._hover(
                mark.name, labels=mark.categories, interval=ends, x=False, y="base" if mark.stacked else "y"
            ),
        )

    def _on_others(self, mark: Bars) -> Json:
        """Where stacked bars begin, and the one place that they share."""
        base = [self.heights[name] for name in mark.categories]
        for name, value in zip(mark.categories, mark.values, strict=True):
            self.heights[name] += value or 0.0
        return {"base": base, "offsetgroup": "stack", "customdata": [[value] for value in mark.values]}

    def _histogram(self, mark: Histogram) -> None:
        look = style(self.numbers[mark.name])
        middles = [(left + right) / 2 for left, right in zip(mark.edges, mark.edges[1:], strict=False)]
        between = [
            f"{left:.4g} to {right:.4g}" for left, right in zip(mark.edges, mark.edges[1:], strict=False)
        ]
        self.add(
            mark,
            type="scatter",
            mode="lines",
            x=[edge for edge in mark.edges for _ in (0, 1)],
            y=[0.0, *(value for value in mark.values for _ in (0, 1)), 0.0],
            line={"dash": look.dash, "width": 1.5},
            fill="toself",
            hoverinfo="skip",
            meta={"color": look.color, "alpha": 0.3},
        )
        self.add(
            mark,
            type="scatter",
            mode="markers",
            x=middles,
            y=mark.values,
            marker={"opacity": 0, "size": 12},
            showlegend=False,
            meta={"color": look.color},
            **self._hover(mark.name, labels=between, x=False),
        )

    def _rule(self, mark: Rule) -> None:
        x, y = self.axes["xaxis"], self.axes["yaxis"]
        line = {"dash": _DASHES[self.rules % len(_DASHES)], "width": 1.5}
        self.rules += 1
        group: Json = {"type": "line", "line": line, "name": safe(mark.name)}
        if mark.name:
            group["legendgroup"] = safe(mark.name)
        if mark.x is not None:
            place = {"xref": x, "x0": mark.x, "x1": mark.x, "yref": f"{y} domain", "y0": 0, "y1": 1}
            self.layout["shapes"].append({**group, **place})
        if mark.y is not None:
            place = {"yref": y, "y0": mark.y, "y1": mark.y, "xref": f"{x} domain", "x0": 0, "x1": 1}
            self.layout["shapes"].append({**group, **place})

    def _hover(
        self,
        name: str,
        *,
        labels: Sequence[str] = (),
        interval: Sequence[Any] = (),
        x: bool = True,
        y: Literal["y", "base"] = "y",
    ) -> Json:
        """What appears at a point: its name and label, then the axes with their units, then the interval."""
        lines = [f"<b>{in_template(name)}</b>"] if name else []
        lines += ["%{text}"] if labels else []
        lines += [f"{in_template(self.panel.x.label) or 'x'}: %{{x:.4g}}"] if x else []
        # At a bar that does not stand on zero, plotly's y is where it ends.
        value = "customdata[0]" if y == "base" else "y"
        lines += [f"{in_template(self.panel.y.label) or 'y'}: %{{{value}:.4g}}"]
        lines += ["from %{customdata[0]:.4g} to %{customdata[1]:.4g}"] if interval else []
        hover: Json = {"hovertemplate": "<br>".join(lines) + "<extra></extra>"}
        if labels:
            hover["text"] = [safe(label) for label in labels]
        if interval:
            hover["customdata"] = [list(ends) for ends in interval]
        return hover

    def _above(self, values: Sequence[float | None], letter: Literal["x", "y"]) -> Numbers:
        log = is_log(self.panel, letter)
        return [None if value is None or (log and value <= 0) else value for value in values]

    def _axis(self, axis: Axis, letter: Literal["x", "y"]) -> Json:
        log = is_log(self.panel, letter)
        other = {"x": "y", "y": "x"}[letter]
        drawn: Json = {"anchor": self.axes[f"{other}axis"], "title": {"text": safe(axis.label)}}
        drawn |= {"type": "log" if log else "linear", "zeroline": False}
        ends = roomy_ends(self.panel, letter)
        if ends != (None, None):
            drawn["range"] = [end if end is None or not log else math.log10(end) for end in ends]
        ticks, labels = axis.ticks, axis.tick_labels
        if self.categories and letter == "x":
            ticks, labels = [float(at) for at in range(len(self.categories))], self.categories
        if ticks:
            drawn["tickvals"] = ticks
            if labels:
                drawn["ticktext"] = [
                    safe(label if len(label) <= 32 else label[:31] + "…") for label in labels
                ]
        return drawn

    def write(
        self, text: str, x: float, y: float, *, size: int, shift: int = 0, within: bool = False
    ) -> None:
        """Put text above a point; `within` counts in shares of the panel."""
        of = " domain" if within else ""
        note = {"text": text, "x": x, "y": y, "showarrow": False, "xanchor": "center", "yanchor": "bottom"}
        refs = {"xref": f"{self.axes['xaxis']}{of}", "yref": f"{self.axes['yaxis']}{of}"}
        name = {"name": "title"} if within else {}
        self.layout["annotations"].append({**note, **name, **refs, "font": {"size": size}, "yshift": shift})


def _band(x: list[float], low: Numbers, high: Numbers, step: bool) -> tuple[Numbers, Numbers]:
    """Closed outlines around every run of points that has both ends, one after the other with gaps between."""
    xs: Numbers = []
    ys: Numbers = []
    run: list[tuple[float, float, float]] = []
    for place, bottom, top in [*zip(x, low, high, strict=True), (math.nan, None, None)]:
        if bottom is not None and top is not None:
            if step and run:
                run.append((place, run[-1][1], run[-1][2]))
            run.append((place, bottom, top))
        elif run:
            xs += [point[0] for point in run] + [point[0] for point in reversed(run)] + [None]
            ys += [point[2] for point in run] + [point[1] for point in reversed(run)] + [None]
            run = []
    return xs[:-1], ys[:-1]


_DIVERGING = [(at / (len(DIVERGING_STOPS) - 1), color) for at, color in enumerate(DIVERGING_STOPS)]
_GRAY = [(0, "black"), (1, "white")]


def add_heatmap(panel: PlotlyPanel, mark: Heatmap) -> None:
    """A map with its color bar and its contour; pointing at a cell tells its place and value."""
    labels = [in_template(panel.panel.x.label) or "x", in_template(panel.panel.y.label) or "y"]
    where = f"{labels[0]}: %{{x:.4g}}<br>{labels[1]}: %{{y:.4g}}<br>"
    name = f"coloraxis{panel.suffix}"
    shared = {"type": "heatmap", "x": mark.x, "y": mark.y, "coloraxis": name, "hoverongaps": False}
    values = [value for row in mark.z for value in row if value is not None]
    if mark.scale == "categorical":
        _categories(panel, mark, shared, where)
    else:
        low, high = color_ends(mark, min(values, default=0.0), max(values, default=1.0))
        panel.layout[name] = {
            "cmin": low,
            "cmax": high,
            "colorscale": _DIVERGING if mark.scale == "diverging" else SEQUENTIAL.capitalize(),
            "colorbar": _color_bar(mark.unit),
        }
        unit = in_template(mark.unit) or "value"
        panel.add(mark, **shared, z=mark.z, hovertemplate=f"{where}{unit}: %{{z:.4g}}<extra></extra>")
        panel.color_axis = name
    if mark.contour is not None and values and min(values) < mark.contour < max(values):
        _contour(panel, mark)


def _categories(panel: PlotlyPanel, mark: Heatmap, shared: Json, where: str) -> None:
    colors = map_colors(mark)
    places = [[None if z is None else round(z) % len(colors) for z in row] for row in mark.z]
    texts = [[safe(category_name(mark, z)) or ("" if z is None else f"{z:g}") for z in row] for row in mark.z]
    name = str(shared["coloraxis"])
    panel.layout[name] = {
        "cmin": -0.5,
        "cmax": len(colors) - 0.5,
        "colorscale": _steps(colors),
        "showscale": False,
    }
    panel.named = [(safe(name), color) for name, color in named_categories(mark).items()]
    unit = in_template(mark.unit) or "here"
    template = f"{where}{unit}: %{{text}}<extra></extra>"
    panel.add(mark, **shared, z=places, text=texts, hovertemplate=template)


def _contour(panel: PlotlyPanel, mark: Heatmap) -> None:
    map_at = len(panel.data) - 1
    for color, width in (("white", 4), ("black", 1.6)):
        panel.add(
            mark,
            type="contour",
            x=mark.x,
            y=mark.y,
            # The script takes the values from the map below, so that the page holds them once.
            meta={"values_of": map_at},
            contours={"start": mark.contour, "end": mark.contour, "size": 1, "coloring": "none"},
            line={"color": color, "width": width},
            showscale=False,
            showlegend=False,
            hoverinfo="skip",
        )


def add_tiles(panel: PlotlyPanel, mark: Tiles) -> None:
    """Pictures in a grid with their captions, and a color bar where they share their colors."""
    across = tile_columns(len(mark.captions)) or 1
    down = tile_ratio(mark) + 0.25 if mark.captions else 1.0
    ends = math.ceil(len(mark.captions) / across) * down
    hidden = {"visible": False, "fixedrange": False}
    panel.layout[f"xaxis{panel.suffix}"] = {
        **hidden,
        "range": [-0.02, across - 0.06],
        "constrain": "domain",
    }
    panel.layout[f"yaxis{panel.suffix}"] = {
        **hidden,
        "range": [ends, 0],
        "scaleanchor": panel.axes["xaxis"],
        "constrain": "domain",
    }
    pictures: list[list[list[Any]]] = [*mark.values]
    for at, (caption, picture) in enumerate(zip(mark.captions, pictures, strict=True)):
        left, top = at % across, at // across * down + 0.2
        size = 0.92 / len(picture[0])
        place = {"x0": left + size / 2, "dx": size, "y0": top + size / 2, "dy": size}
        title = f"{in_template(caption)}<br>"
        if isinstance(picture[0][0], list):
            colors = [[[_byte(c) for c in pixel] for pixel in row] for row in picture]
            template = f"{title}red, green, blue: %{{z}}<extra></extra>"
            panel.add(mark, type="image", z=colors, hovertemplate=template, **place)
        else:
            _picture(panel, mark, picture, place, title)
        panel.write(safe(caption), left + 0.46, top - 0.02, size=11)


def _picture(panel: PlotlyPanel, mark: Tiles, picture: list[list[float]], place: Json, title: str) -> None:
    values = [value for row in picture for value in row]
    colors = _DIVERGING if mark.scale == "diverging" else _GRAY
    low, high = color_ends(mark, min(values), max(values))
    scale: Json = {"zmin": low, "zmax": high, "colorscale": colors, "showscale": False}
    if mark.low is not None:
        name = panel.color_axis = f"coloraxis{panel.suffix}"
        panel.layout[name] = {"cmin": low, "cmax": high, "colorscale": colors, "colorbar": _color_bar("")}
        scale = {"coloraxis": name}
    panel.add(
        mark, type="heatmap", z=picture, hovertemplate=f"{title}%{{z:.4g}}<extra></extra>", **scale, **place
    )


def _steps(colors: list[str]) -> list[tuple[float, str]]:
    n = len(colors)
    return [stop for at, color in enumerate(colors) for stop in ((at / n, color), ((at + 1) / n, color))]


def _color_bar(unit: str) -> Json:
    return {"title": {"text": safe(unit), "side": "right"}, "thickness": 12, "outlinewidth": 0}


def _byte(share: float) -> int:
    return round(255 * min(max(share, 0.0), 1.0))
